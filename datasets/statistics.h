/* What the values of a data set look like. */
#ifndef DLTRAIN_DATASETS_STATISTICS_H
#define DLTRAIN_DATASETS_STATISTICS_H

#include "datasets/dataset.h"

enum { DL_MAX_CHANNELS = 64 };

/* Of finite values; all zero when there are none. std divides by n. mean and std are not finite where sums of
 * squares are beyond float64. */
typedef struct dl_value_statistics {
    int64_t n, n_not_finite;
    double min, max, mean, std;
} dl_value_statistics;

/* Channels of a field: the last dimension of a sample, or 1 when there is none or it has more than
 * DL_MAX_CHANNELS. */
int64_t dl_field_channels(const dl_field *field);

/* Over all samples (and steps) of a field, by channel, into out [dl_field_channels]. */
DL_NODISCARD dl_status dl_field_statistics(dl_dataset *dataset, int field, dl_value_statistics *out);

/* How often each class, or token of a text, appears: count [n_classes]. */
DL_NODISCARD dl_status dl_count_classes(dl_dataset *dataset, int64_t *count);

/* -sum p ln p over the counts: nats. */
double dl_entropy(const int64_t *count, int64_t n);

/* Lengths of a ragged x at the quantiles 0, 1/4, 1/2, 3/4, 1: the smallest length that at least this share of
 * the samples does not exceed. */
DL_NODISCARD dl_status dl_length_quantiles(const dl_dataset *dataset, int64_t out[5]);

#endif
