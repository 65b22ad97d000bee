/* Between the files of lowering: one operation on its way from an emitted to a prepared instruction. */
#ifndef DLTRAIN_PROGRAM_LOWER_H
#define DLTRAIN_PROGRAM_LOWER_H

#include "program/compile.h"

typedef struct dl_lowering {
    dl_instruction instruction;
    const dl_op_info *info;
    bool is_parameter_gradient[DL_OP_MAX_SLOTS];
    bool sums_gradients;           /* it writes parameter gradients */
    int unpacked[DL_OP_MAX_SLOTS]; /* row of a gradient that a whole operation writes in its own layout, -1 */
    int statistic;                 /* slot number of sums that are wanted over all ranks amid the step, -1 */
    int exchange[DL_MAX_BLOCKS];   /* then: where they are exchanged, by tree block */
    dl_range pieces;               /* of this micro-batch, when it runs in parts */
    int at;                        /* its number in the new list */
    bool appended;                 /* the program owns its prepared operations */
} dl_lowering;

/* The prepared operation, or that of a part that has samples; NULL when none has. */
const dl_op *dl_lowering_op(const dl_instruction *instruction);

/* Sums over samples (lower_sums.c). Before the instruction is appended: where it writes its parameter
 * gradients and statistics, which for parts is one result for each. */
DL_NODISCARD dl_status dl_bind_sums(dl_compile *c, dl_lowering *l);
/* Behind it: parts are added in the fixed tree, gradients move to their arenas, statistics to their exchange.
 */
DL_NODISCARD dl_status dl_collect_sums(dl_compile *c, const dl_lowering *l);
/* Zeros for the gradients this operation writes, from block `first_block` on, that nobody has written. */
DL_NODISCARD dl_status dl_zero_other_blocks(dl_compile *c, const dl_lowering *l, const int *rows,
                                            int first_block);
/* The same for all gradients, where a rank has no samples or a parameter no use. */
DL_NODISCARD dl_status dl_zero_missing_gradients(dl_compile *c);

#endif
