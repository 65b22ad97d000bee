/* Dynamic loss scaling (Micikevicius et al., arXiv:1710.03740, section 3.2): the loss's gradient is
 * multiplied by a scale that keeps small gradients above what float16 flushes to zero, and updates divide by
 * it. Where a gradient overflows the step changes nothing and the scale is halved; after many good steps it
 * is doubled. */
#ifndef DLTRAIN_KERNELS_COMMON_LOSS_SCALE_H
#define DLTRAIN_KERNELS_COMMON_LOSS_SCALE_H

#include "kernels/common/blocks.h"
#include "kernels/common/pointwise.h"

#define DL_LOSS_SCALE_START 65536.0
#define DL_LOSS_SCALE_GOOD_STEPS 2000.0
/* What is left where not even a scale of 1 was small enough: then it is not the scale that overflows. */
#define DL_LOSS_SCALE_LEAST 0.5
#define DL_LOSS_SCALE_MOST 0x1p+126 /* float32 holds it */

/* The scale behind a step with this control word. A step that failed otherwise says nothing about it. */
DL_SHARED void dl_next_loss_scale(double *scale, const int32_t *control) {
    if (control[DL_CONTROL_BAD_DATA] != 0 || control[DL_CONTROL_ERROR] != 0 ||
        control[DL_CONTROL_VOID] != 0) {
        return;
    }
    if (control[DL_CONTROL_NONFINITE] != 0) {
        const double half = 0.5 * scale[DL_SCALE_VALUE];
        scale[DL_SCALE_VALUE] = half > DL_LOSS_SCALE_LEAST ? half : DL_LOSS_SCALE_LEAST;
        scale[DL_SCALE_GOOD_STEPS] = 0.0;
        return;
    }
    scale[DL_SCALE_GOOD_STEPS] += 1.0;
    if (scale[DL_SCALE_GOOD_STEPS] >= DL_LOSS_SCALE_GOOD_STEPS) {
        const double twice = 2.0 * scale[DL_SCALE_VALUE];
        scale[DL_SCALE_VALUE] = twice <= DL_LOSS_SCALE_MOST ? twice : scale[DL_SCALE_VALUE];
        scale[DL_SCALE_GOOD_STEPS] = 0.0;
    }
}

#endif
