/* Losses of one element; natural logarithm. NaN goes through. */
#ifndef DLTRAIN_KERNELS_COMMON_LOSS_H
#define DLTRAIN_KERNELS_COMMON_LOSS_H

#include "kernels/common/blocks.h"
#include "kernels/common/pointwise.h"
#include "kernels/op.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Keeps the logarithm and the quotient finite when a probability has underflowed. */
DL_SHARED float dl_probability_clamped(float p) {
    return p < FLT_MIN ? FLT_MIN : p;
}

DL_SHARED double dl_cross_entropy(float p) {
    return -log((double)dl_probability_clamped(p));
}

DL_SHARED float dl_cross_entropy_backward(float p, float scale) {
    return -scale / dl_probability_clamped(p);
}

/* The share of class k in the target of a row: (1 - smoothing) at the label and smoothing / K everywhere
 * (Szegedy et al., 2016; torch.nn.CrossEntropyLoss and Keras have the same). */
DL_SHARED double dl_smoothed_target(bool at_label, double smoothing, int64_t n_classes) {
    return (at_label ? 1.0 - smoothing : 0.0) + smoothing / (double)n_classes;
}

/* The attributes with the loss scale (NULL: none) in the factor of gradients. */
DL_SHARED dl_loss_attr dl_scaled_loss(const dl_loss_attr *attr, const double *scale) {
    dl_loss_attr scaled = *attr;
    scaled.scale *= scale != NULL ? scale[DL_SCALE_VALUE] : 1.0;
    return scaled;
}

/* Error of a regression's output, squared or absolute, and its derivative; |0| has slope 0. */
DL_SHARED double dl_deviation(double difference, bool absolute) {
    return absolute ? fabs(difference) : difference * difference;
}

DL_SHARED double dl_deviation_backward(double difference, bool absolute) {
    return absolute ? (difference > 0 ? 1.0 : difference < 0 ? -1.0 : difference) : 2.0 * difference;
}

#endif
