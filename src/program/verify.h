/* The parts of the checker. It takes a compiled program at its word: instructions, the storage, offset and
 * views of slots, the roles that kinds give their slots. It knows nothing of how the compiler came to them,
 * and does not look at the lifetimes that placement used. It looks at one run: the next one begins when all
 * lanes are done with this one. Internal to src/program. */
#ifndef DLTRAIN_PROGRAM_VERIFY_H
#define DLTRAIN_PROGRAM_VERIFY_H

#include "model/parameter.h"
#include "program/extents.h"

/* Where a slot is, and which value it means. Slots of one value: a slot and its views, but an output that
 * takes the place of an input begins a value of its own. */
typedef struct dl_location {
    size_t begin, end; /* bytes in its storage */
    int value;         /* slot that stands for the value */
} dl_location;

/* One range of bytes that an instruction touches. */
typedef struct dl_touch {
    int slot;   /* of the program */
    int number; /* of the kind; DL_OP_MAX_SLOTS: the workspace */
    size_t begin, end;
    bool reads, writes;
    const dl_op *op; /* that runs over it; NULL: not an operation */
} dl_touch;

enum { DL_MAX_TOUCHES = (DL_OP_MAX_SLOTS + 1) * DL_PIECES };

typedef struct dl_verifier {
    const dl_program *program;
    dl_location *location; /* [n_slots] */
    dl_extents extents[DL_N_STORAGES];
    bool reduced[DL_N_STORAGES]; /* what is in it must go through an exchange before it is used */
    int (*seen)[DL_N_LANES];     /* [n_instructions] the last instruction of each lane that is done before */
    int *maker;                  /* [n_events] instruction that records it, DL_NOBODY: none yet */
    int last[DL_N_LANES];        /* instruction of each lane */
} dl_verifier;

/* Raises DL_ERR_INTERNAL: "training program, instruction 7 (relu_forward), slot 'y': TEXT". slot < 0: none.
 */
DL_NODISCARD dl_status dl_verify_fault(const dl_program *program, int at, int slot, const char *format, ...)
    DL_PRINTF(4, 5);

/* Fills verifier->location; checks the slots that instructions name: views inside what they view, storages
 * placed by liveness inside what was placed, no two parameters in one place. */
DL_NODISCARD dl_status dl_verify_slots(dl_verifier *verifier);

/* What an instruction touches, part by part, into touches[DL_MAX_TOUCHES]. Checks that its slots do not
 * overlap but where the kind allows it, and that they are as large as the prepared operations want. */
DL_NODISCARD dl_status dl_verify_touches(const dl_verifier *verifier, int at, dl_touch *touches, int *n);

/* Works out what is done before instruction `at` starts: its lane up to here, what it waits for, and what was
 * done before those. Exchanges are on the comm lane, all of them. To be called for one instruction after
 * the other. */
DL_NODISCARD dl_status dl_verify_follow(dl_verifier *verifier, int at);

/* Instruction `earlier` (DL_NOBODY: none) touched bytes that `at` touches with this slot, one of them
 * writing: it must be done before. */
DL_NODISCARD dl_status dl_verify_order(const dl_verifier *verifier, int at, int slot, int earlier);

#endif
