/* The parts of the cross-check. Internal to src/program. */
#ifndef DLTRAIN_PROGRAM_CROSSCHECK_PARTS_H
#define DLTRAIN_PROGRAM_CROSSCHECK_PARTS_H

#include "program/crosscheck.h"

/* One operation (or one part of an instruction that runs in parts) on both devices. */
typedef struct dl_pair {
    const dl_op *op;                    /* of the first device; NULL: a part without samples */
    void *address[DL_OP_MAX_SLOTS + 1]; /* of its slots */
    dl_op *other;
    dl_op *positive; /* on the other device, of absolute values: the scale; NULL: judged by the result */
    void *in[DL_OP_MAX_SLOTS]; /* plain, on the host: what the operation reads; NULL: nothing, or its own */
    void *saved[DL_OP_MAX_SLOTS]; /* outputs on the other device that its gradient kind reads */
} dl_pair;

/* What belongs to one instruction. */
typedef struct dl_twin {
    int n;
    dl_pair *pair; /* [n]: 1, or one for each part */
} dl_twin;

/* Does the operation read slot i from others, or what it adds to? What it saved itself is not asked for. */
bool dl_pair_reads(const dl_pair *pair, int i);

/* Does it write slot i for others to see? */
bool dl_pair_writes(const dl_pair *pair, int i);

/* The plain values of slot i as the first device has them, into host memory of dl_tensor_plain_bytes. */
DL_NODISCARD dl_status dl_fetch_slot(const dl_crosscheck *crosscheck, const dl_pair *pair, int i, void *out);

/* The same for what the other device is to read: in place of a copy of a parameter the parameter itself, in
 * the copy's type; the perturbed one is perturbed. */
DL_NODISCARD dl_status dl_fetch_input(const dl_crosscheck *crosscheck, const dl_instruction *instruction,
                                      const dl_pair *pair, int i, void *out);

/* Runs `op` on the other device: inputs from `in`, what is saved from and into where the pairs keep it, all
 * other outputs plain into out[i] on the host where that is not NULL. */
DL_NODISCARD dl_status dl_run_other(dl_crosscheck *crosscheck, const dl_instruction *instruction, int part,
                                    const dl_op *op, void *const *in, void *const *out);

/* Compares slot i: `scale` are the sums of the terms' magnitudes, NULL where the result is the scale. u is at
 * least product_roundoff where the kind counts FLOPs: where it multiplies matrices or convolves. */
DL_NODISCARD dl_status dl_compare_slot(const dl_op_desc *desc, int i, const void *got, const void *expected,
                                       const void *scale, double product_roundoff, dl_comparison *out);

/* Makes the floats of slot i absolute, negated where the formula subtracts them. */
void dl_make_positive(const dl_op_desc *desc, int i, void *values);

#endif
