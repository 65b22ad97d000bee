/* Layouts and algorithms of training programs: chosen once, followed by every program of the plan.
 *
 * Convolutions and poolings run either all on plain [N, H, W, C] tensors or all on the layout their device
 * offers beside it, with reorders where such a chain begins and ends; each operation takes the fastest of its
 * algorithms, a recurrent layer one for all its passes. The choice is made by measurement on rank 0,
 * broadcast, and kept between runs (choice_cache.h). Evaluation and reproducible training never depend on a
 * measurement: they are plain and take algorithm 0. */
#ifndef DLTRAIN_PROGRAM_CHOOSE_H
#define DLTRAIN_PROGRAM_CHOOSE_H

#include "program/plan.h"

enum { DL_N_CHOICE_KINDS = 3 }; /* forward, backward data, backward weights */

/* What was chosen for a layer. */
typedef struct dl_layer_choice {
    int8_t blocked;                         /* its operations run in the device's own layout */
    int8_t algorithm[2][DL_N_CHOICE_KINDS]; /* by `blocked` and kind */
    int8_t recurrent;                       /* algorithm of an LSTM's passes */
} dl_layer_choice;

struct dl_choices {
    bool made;
    int n_layers;
    dl_layer_choice *layer;
    char *text; /* where they were found (rank 0): as dl_plan_choices gives them */
};

void dl_choices_destroy(dl_choices **choices);

/* Seconds of one run of an operation of this desc (best of a few, on zeroed buffers, with fewer samples where
 * it is long); INFINITY when the device has no good implementation. *algorithm: the fastest; with `direct`
 * none that computes by way of a transform. Algorithms that fail are left out; an error is that all do, or
 * that the device does not go on. (measure.c) */
DL_NODISCARD dl_status dl_measure_operation(dl_device *device, const dl_op_desc *desc, bool direct,
                                            double *seconds, int *algorithm);

/* Seconds of one run of a prepared operation, on zeroed buffers of the device taken for it. (measure.c) */
DL_NODISCARD dl_status dl_measure_prepared(dl_device *device, const dl_op *op, double *seconds);

/* After an algorithm was tried, with this outcome: can others be? Whoever is told false returns the outcome,
 * whose error is still this thread's. (measure.c) */
bool dl_measure_goes_on(dl_device *device, dl_status outcome);

/* Entries of `slots` below: an operation's, and its workspace behind them. */
enum { DL_MEASURE_SLOTS = DL_OP_MAX_SLOTS + 1 };

/* Takes the device's memory for the slots of a prepared operation that are present and still NULL, and for
 * its workspace: slots as in dl_op_functions.run. Release also what a failed call left; of what another
 * operation has, set NULL before. (measure.c) */
DL_NODISCARD dl_status dl_measure_take(dl_device *device, const dl_op *op, void **slots);
void dl_measure_release(dl_device *device, const dl_op *op, void **slots);

/* Seconds of one run of a prepared operation in these slots: the least of a few. (measure.c) */
DL_NODISCARD dl_status dl_measure_runs(const dl_op *op, void *const *slots, double *seconds);

#endif
