/* The conformance suite: every operation kind on a backend, measured against ref.
 *
 * A case is one operation with shapes and attributes (cases_*.c). Cases of gradient kinds are made from the
 * cases of their forward kinds by slot names. For each case, each algorithm and each choice of layouts the
 * suite runs the operation in guarded memory and checks values, guards, inputs and repetition; for chosen
 * cases it checks rows bit by bit at many batch sizes and gradients by central differences. Then all of it
 * but the gradients again on 16-bit floats (half.c). */
#ifndef DLTRAIN_TESTS_CONFORMANCE_H
#define DLTRAIN_TESTS_CONFORMANCE_H

#include "kernels/backend.h"

/* How a case's float inputs are made. */
typedef enum dlc_fill {
    DLC_UNIFORM,     /* in [-1, 1) */
    DLC_AWAY,        /* 0.25 to 1 with either sign: away from a kink at zero */
    DLC_DISTINCT,    /* different multiples of 2^-10 in random order */
    DLC_TIES,        /* few values, all below zero */
    DLC_PROBABILITY, /* 0.2 to 1 */
    DLC_LARGE,       /* in [-80, 80): naive exponentials overflow */
    DLC_NAN_LAST,    /* uniform, the last element NaN */
    DLC_INF_FIRST,   /* uniform, the first element infinite */
} dlc_fill;

enum {
    DLC_ROWS = 1,         /* also rows bit by bit at many batch sizes */
    DLC_KINKS = 2,        /* not differentiable where it is, or not the slope: no central differences */
    DLC_FORBIDDEN = 4,    /* the control word forbids the step */
    DLC_FORWARD_ONLY = 8, /* without what gradients need */
    DLC_MASKED = 16,      /* every third row has no label */
    DLC_STRANGERS = 32,   /* some tokens are in no vocabulary: below 0, or its size */
    DLC_FEW_TOKENS = 64,  /* of the vocabulary only every seventh */
    DLC_FAILED = 128      /* the control word of the step before forbade it */
};

typedef struct dlc_case {
    const char *name;
    int flags;
    dlc_fill fill;
    dl_op_desc desc; /* layouts plain */
} dlc_case;

/* A growing list of cases; each family of cases_*.c adds its own (cases.def). */
typedef struct dlc_list {
    dlc_case *at;
    int64_t n, capacity;
} dlc_list;

/* A new case with kind and name set, to be filled in at once; ends the program when memory is short. */
dlc_case *dlc_add(dlc_list *list, dl_op_kind kind, const char *name, int flags, dlc_fill fill);

/* Gives slot `name` of a case its dtype and shape. */
void dlc_slot(dlc_case *test, const char *name, dl_dtype dtype, dl_shape shape);

#define DLC_FAMILY(name) void dlc_cases_##name(dlc_list *list);
#include "cases.def"
#undef DLC_FAMILY

/* Plain values of all slots on the host; NULL where absent. */
typedef struct dlc_values {
    void *slot[DL_OP_MAX_SLOTS];
    size_t n_bytes[DL_OP_MAX_SLOTS];
} dlc_values;

DL_NODISCARD dl_status dlc_values_create(const dl_op_desc *desc, dlc_values *out);
void dlc_values_destroy(dlc_values *values);

/* One operation with its inputs; for a gradient kind also the forward operation that it belongs to. */
typedef struct dlc_problem {
    const char *name;
    dl_op_desc desc;
    dlc_values in; /* inputs, and initial values of what is added to */
    bool has_forward;
    dl_op_desc forward;
    dlc_values forward_in; /* all slots, outputs as ref computes them */
} dlc_problem;

/* Which operation of a case: the case's own kind, or one of its gradient kinds. */
typedef struct dlc_which {
    int gradient;    /* -1: the kind itself; else the number in dl_op_info.gradients */
    bool fuses_relu; /* the gradient kind with relu's backward pass fused */
} dlc_which;

/* Makes the problem; n_samples < 0 keeps the case's own number. `ref` is an open ref device. */
DL_NODISCARD dl_status dlc_problem_create(dl_device *ref, const dlc_case *test, dlc_which which,
                                          int64_t n_samples, dlc_problem *out);
/* The samples begin .. begin + n of a problem. */
DL_NODISCARD dl_status dlc_problem_slice(const dlc_problem *problem, int64_t begin, int64_t n,
                                         dlc_problem *out);
void dlc_problem_destroy(dlc_problem *problem);

/* The gradient kind (its number) that writes an input of this one: the gradient of an input of the forward
 * kind; -1: there is none. *slot: the input. */
int dlc_source_gradient(const dl_op_desc *desc, dl_op_kind forward_kind, int *slot);

/* How to run it. Variants: 0 all plain, 1 the backend chooses, 2 + j the j-th layout of dl_device_layouts. */
typedef struct dlc_way {
    int variant, algorithm;
    bool once; /* only for the values: neither again nor in place */
} dlc_way;

/* Sets the layouts of a variant; false when this desc has no such variant. */
bool dlc_apply_variant(dl_device *device, dl_op_desc *desc, int variant);

/* What running showed beside the values. */
typedef struct dlc_findings {
    char implementation[DL_LAYOUT_NAME_BYTES];
    bool batch_invariant, rounds_sums;
    const char *broken; /* what was broken, NULL when nothing */
    char slot[32];      /* where */
} dlc_findings;

/* Prepares and runs the problem, twice and where slots allow it in place unless way.once. Outputs (plain) go
 * to *out, which the caller created for the desc. */
DL_NODISCARD dl_status dlc_execute(dl_device *device, const dlc_problem *problem, dlc_way way,
                                   dlc_values *out, dlc_findings *findings);

/* Whether slot i of a desc is an output with values to compare. */
bool dlc_is_result(const dl_op_desc *desc, int i);

/* ||a - b|| / ||b|| over floats, infinite when NaN stands where it must not; 0 or infinity for other dtypes.
 */
double dlc_difference(const dl_tensor_desc *tensor, const void *a, const void *b);

/* The largest allowed difference in a result; rounds_sums as in dl_op. */
double dlc_tolerance(const dl_op_desc *desc, int slot, bool rounds_sums);

/* One run of the suite. */
typedef struct dlc_suite {
    dl_device *device, *ref;
    int passed, failed, skipped;
    int value_checks[DL_N_OP_KINDS], gradient_checks[DL_N_OP_KINDS];
    int refused[DL_N_OP_KINDS]; /* cases that the backend does not take, and nobody for it */
    bool verbose;
} dlc_suite;

/* Does the backend take the problem, and what it needs of its forward kind? A backend with a fallback takes
 * all. One that does not is skipped, and counted. */
bool dlc_is_taken(dlc_suite *suite, const dlc_problem *problem);

/* Counts a check; prints "FAIL ..." with the reason when it did not hold. */
void dlc_pass(dlc_suite *suite);
void dlc_fail(dlc_suite *suite, const char *what, const char *format, ...) DL_PRINTF(3, 4);

void dlc_check_values(dlc_suite *suite, const dlc_case *test, dlc_which which);
void dlc_check_rows(dlc_suite *suite, const dlc_case *test, dlc_which which);
void dlc_check_gradients(dlc_suite *suite, const dlc_case *test);
/* Gradients of batch normalization, of all its kinds together. */
void dlc_check_batch_norm(dlc_suite *suite);

/* "conv2d_forward/one sample [plain, algorithm 0]" into out. */
enum { DLC_LABEL_BYTES = 192 };
const char *dlc_label(const dlc_problem *problem, dlc_way way, char *out);

#endif
