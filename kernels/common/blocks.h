/* Small blocks in device memory that instructions share. Both C and CUDA C include this. */
#ifndef DLTRAIN_KERNELS_COMMON_BLOCKS_H
#define DLTRAIN_KERNELS_COMMON_BLOCKS_H

#include <stdint.h>

/* What the host gives a step before it starts; loaded on the copy lane. */
typedef struct dl_step_block {
    int64_t step;  /* from 1 */
    int64_t t;     /* optimizer steps including this one: Adam's bias correction */
    double weight; /* samples (unmasked tokens) of this rank in this step */
    double learning_rate;
    int32_t control[8]; /* this rank's requests: stop, save, ... (DL_CONTROL_...) */
    int64_t unseen;     /* not 0: handed over before the host knew how the step before ended */
} dl_step_block;

/* Sums over the global batch, in double. Reduced by sum over the data axis. */
enum {
    DL_TOTAL_WEIGHT, /* samples (unmasked tokens) */
    DL_TOTAL_LOSS,
    DL_TOTAL_METRIC, /* first metric; others follow */
    DL_N_TOTALS = 8
};

/* The control word: reduced by maximum over all ranks every step. Zero means no. */
enum {
    DL_CONTROL_NONFINITE, /* a gradient or the loss is NaN or Inf */
    DL_CONTROL_STOP,      /* a signal asked to stop; the value is its number */
    DL_CONTROL_SAVE,      /* rank 0: it is time for a checkpoint */
    DL_CONTROL_PART,      /* how far the rank is with the checkpoint under way (train/saver.h) */
    DL_CONTROL_BAD_DATA,
    DL_CONTROL_ERROR,
    DL_CONTROL_VOID, /* an unseen step before changed nothing: nor does this one, which the host makes anew */
    DL_N_CONTROLS = 8
};

/* The norm of the mean gradient before it is clipped, and what clipping multiplies it by. */
enum { DL_NORM_VALUE, DL_NORM_FACTOR, DL_N_NORMS };

/* The loss scale: a state of training. */
enum {
    DL_SCALE_VALUE,      /* what the loss's gradient is multiplied by */
    DL_SCALE_GOOD_STEPS, /* since it changed */
    DL_N_SCALES
};

/* Squares are summed by blocks of so many elements, each by one thread in one order: the sum does not depend
 * on the number of threads or ranks. */
enum { DL_SQUARES_BLOCK = 4096 };

#endif
