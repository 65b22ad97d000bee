/* Batch normalization of one channel: from sums to what is multiplied and added. */
#ifndef DLTRAIN_KERNELS_COMMON_BATCH_NORM_H
#define DLTRAIN_KERNELS_COMMON_BATCH_NORM_H

#include "kernels/common/pointwise.h"

#include <math.h>
#include <stdint.h>

/* Rows of slot `stat`. */
enum {
    DL_STAT_MEAN,
    DL_STAT_INVERSE_DEVIATION,
    DL_STAT_SCALE,
    DL_STAT_SHIFT,
    DL_STAT_INVERSE_COUNT,
    DL_N_STATS
};

typedef struct dl_channel_moments {
    double mean, variance;
} dl_channel_moments;

/* Mean and mean square from it of `count` values; 0 of no values. */
DL_SHARED dl_channel_moments dl_batch_norm_channel(double sum, double square, double count) {
    const double mean = count > 0.0 ? sum / count : 0.0;
    const double variance = count > 0.0 ? square / count - mean * mean : 0.0;
    return (dl_channel_moments){mean, variance < 0.0 ? 0.0 : variance}; /* NaN stays */
}

/* Writes the column of one channel; rows are `stride` floats apart. */
DL_SHARED void dl_batch_norm_fold(dl_channel_moments m, double epsilon, double gamma, double beta,
                                  double inverse_count, float *stat, int64_t stride) {
    const double inverse_deviation = 1.0 / sqrt(m.variance + epsilon);
    stat[DL_STAT_MEAN * stride] = (float)m.mean;
    stat[DL_STAT_INVERSE_DEVIATION * stride] = (float)inverse_deviation;
    stat[DL_STAT_SCALE * stride] = (float)(gamma * inverse_deviation);
    stat[DL_STAT_SHIFT * stride] = (float)(beta - gamma * inverse_deviation * m.mean);
    stat[DL_STAT_INVERSE_COUNT * stride] = (float)inverse_count;
}

#endif
