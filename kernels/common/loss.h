/* Cross-entropy of one probability; natural logarithm. NaN goes through. */
#ifndef DLTRAIN_KERNELS_COMMON_LOSS_H
#define DLTRAIN_KERNELS_COMMON_LOSS_H

#include "kernels/common/pointwise.h"

#include <float.h>
#include <math.h>

/* Keeps the logarithm and the quotient finite when a probability has underflowed. */
DL_SHARED float dl_probability_clamped(float p) {
    return p < FLT_MIN ? FLT_MIN : p;
}

DL_SHARED float dl_cross_entropy(float p) {
    return -logf(dl_probability_clamped(p));
}

DL_SHARED float dl_cross_entropy_backward(float p, float scale) {
    return -scale / dl_probability_clamped(p);
}

#endif
