/* Batch normalization of one value of an image, in float32, and what is summed of it. Forward and backward
 * round x scale + shift alike: relu lets the gradient through exactly where its output is positive. */
#ifndef DLTRAIN_KERNELS_COMMON_BATCH_NORM_IMAGE_H
#define DLTRAIN_KERNELS_COMMON_BATCH_NORM_IMAGE_H

#include "kernels/common/activation.h"
#include "kernels/common/batch_norm.h"

/* A channel's column of slot `stat`. */
typedef struct dl_channel_stat {
    float mean, inverse_deviation, scale, shift, inverse_count;
} dl_channel_stat;

/* Two sums of a channel. */
typedef struct dl_channel_sums {
    double first, second;
} dl_channel_sums;

DL_SHARED dl_channel_stat dl_channel_stat_at(const float *stat, int64_t channels, int64_t group,
                                             int64_t channel) {
    const float *at = stat + group * DL_N_STATS * channels + channel;
    dl_channel_stat s;
    s.mean = at[DL_STAT_MEAN * channels];
    s.inverse_deviation = at[DL_STAT_INVERSE_DEVIATION * channels];
    s.scale = at[DL_STAT_SCALE * channels];
    s.shift = at[DL_STAT_SHIFT * channels];
    s.inverse_count = at[DL_STAT_INVERSE_COUNT * channels];
    return s;
}

DL_SHARED float dl_channel_affine(dl_channel_stat s, float x) {
    return fmaf(x, s.scale, s.shift);
}

DL_SHARED float dl_channel_normalized(dl_channel_stat s, float x) {
    return (x - s.mean) * s.inverse_deviation;
}

/* residual: 0 where there is none. */
DL_SHARED float dl_channel_forward(dl_channel_stat s, dl_activation activation, float x, float residual) {
    return dl_activate(activation, dl_channel_affine(s, x) + residual);
}

/* dy where the fused activation lets it through. */
DL_SHARED float dl_channel_passed(dl_channel_stat s, dl_activation activation, float x, float dy) {
    return activation == DL_ACT_RELU && !(dl_channel_affine(s, x) > 0.0f) ? 0.0f : dy;
}

/* mean: the two sums of dstat over the number of values. */
DL_SHARED float dl_channel_backward(dl_channel_stat s, dl_activation activation, float x, float dy,
                                    float mean, float mean_along) {
    const float d = dl_channel_passed(s, activation, x, dy);
    return s.scale * (d - mean - dl_channel_normalized(s, x) * mean_along);
}

/* Adds to sum of x, sum of x^2. */
DL_SHARED void dl_channel_add_moments(float x, dl_channel_sums *sums) {
    sums->first += (double)x;
    sums->second += (double)x * (double)x;
}

/* Adds to sum of dy, sum of dy times the normalized x. */
DL_SHARED void dl_channel_add_gradients(dl_channel_stat s, dl_activation activation, float x, float dy,
                                        dl_channel_sums *sums) {
    const double d = (double)dl_channel_passed(s, activation, x, dy);
    sums->first += d;
    sums->second += d * (double)dl_channel_normalized(s, x);
}

#endif
