/* Two backends, one list: every operation of a program is run on its own device and on another one, from the
 * same plain inputs, and the results are compared. What the first device computes goes on, so that errors do
 * not add up: an instruction that departs is the one that is wrong.
 *
 * The other device is asked for plain layouts. A copy of a parameter that the first device has packed is, for
 * the other one, the parameter itself, and what a forward kind saves for its gradient kind each device keeps
 * for itself: neither can be compared, but whoever reads them is. Exchanges and loads are not compared.
 *
 * How far results may be apart says the kind (dl_op_rounding): 8 u sqrt(K) times the scale of an element. A
 * weight that is off by 1e-2 changes a sum of K products of random signs by 1e-2 / sqrt(K) of the sum of
 * their magnitudes, which is above the bound for float32 up to K = 20,000, on average; of the many elements
 * of a tensor the worst one counts. Not collective: for one rank. */
#ifndef DLTRAIN_PROGRAM_CROSSCHECK_H
#define DLTRAIN_PROGRAM_CROSSCHECK_H

#include "program/run.h"

/* The worst element that an instruction's results had, of all steps: by error over bound. */
typedef struct dl_comparison {
    bool compared;
    bool departs;    /* error above bound, in any step */
    int slot;        /* of the kind */
    int64_t element; /* of the plain tensor */
    double got, expected;
    double error;                                 /* |got - expected| / scale */
    double bound;                                 /* 8 u sqrt(K) */
    int64_t terms;                                /* K; 0: nothing is rounded */
    char implementation[2][DL_LAYOUT_NAME_BYTES]; /* of the first device and of the other one */
} dl_comparison;

/* A planted fault: the other device finds this parameter multiplied by 1 + by. */
typedef struct dl_perturbation {
    int parameter; /* row of the table, -1: none */
    double by;
} dl_perturbation;

typedef struct dl_crosscheck {
    dl_plan *plan;
    int number; /* of the program in the plan */
    dl_device *other;
    dl_perturbation perturbation;
    /* Unit roundoff of what products are rounded to before they are summed, where that is more than their
     * type's (2^-11 for tf32): the caller sets it. 0: nothing of the kind. */
    double product_roundoff;
    dl_comparison *comparison; /* [n_instructions] */
    int first;                 /* the first instruction found to depart, in the order of running; -1 */
    int64_t first_step;        /* and in which step, from 1 */
    int64_t steps;             /* run so far */
    struct dl_twin **twin;     /* [n_instructions]; made when the instruction is first reached */
} dl_crosscheck;

/* For a program of a finished plan for one rank; both must outlive the result, `other` too. */
DL_NODISCARD dl_status dl_crosscheck_create(dl_plan *plan, int program, dl_device *other,
                                            dl_perturbation perturbation, dl_crosscheck **out);
void dl_crosscheck_destroy(dl_crosscheck **crosscheck);

/* Runs the program once (as dl_execute) and compares. That something departs is no failure: see `first`. */
DL_NODISCARD dl_status dl_crosscheck_step(dl_crosscheck *crosscheck, const dl_host_batch *batch);

#endif
