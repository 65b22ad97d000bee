#include "datasets/statistics.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_AT_ONCE = 4096 };

int64_t dl_field_channels(const dl_field *field) {
    const dl_shape *shape = &field->sample_shape;
    const int64_t last = shape->n_dims > 0 ? shape->dim[shape->n_dims - 1] : 1;
    return last <= DL_MAX_CHANNELS ? last : 1;
}

static float half_value(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double size = exponent == 0    ? ldexp(mantissa, -24)
                        : exponent == 31 ? (mantissa != 0 ? NAN : INFINITY)
                                         : ldexp(mantissa + 1024, exponent - 25);
    return (float)(bits >> 15 != 0 ? -size : size);
}

static double value_at(const char *values, dl_dtype dtype, int64_t i) {
    double f64 = 0;
    float f32 = 0;
    uint16_t u16 = 0;
    int32_t i32 = 0;
    int64_t i64 = 0;
    switch (dtype) {
    case DL_U8:
        return (unsigned char)values[i];
    case DL_U16:
    case DL_F16:
        memcpy(&u16, values + 2 * i, sizeof u16);
        return dtype == DL_U16 ? u16 : (double)half_value(u16);
    case DL_BF16:
        memcpy((char *)&f32 + 2, values + 2 * i, 2); /* its bits are the upper half of a float32 */
        return (double)f32;
    case DL_F32:
        memcpy(&f32, values + 4 * i, sizeof f32);
        return (double)f32;
    case DL_I32:
        memcpy(&i32, values + 4 * i, sizeof i32);
        return i32;
    case DL_I64:
        memcpy(&i64, values + 8 * i, sizeof i64);
        return (double)i64;
    default:
        memcpy(&f64, values + 8 * i, sizeof f64);
        return f64;
    }
}

/* Welford's recurrence; std holds the sum of squares until the end. */
static void add_value(dl_value_statistics *s, double value) {
    if (!isfinite(value)) {
        s->n_not_finite++;
        return;
    }
    s->min = s->n == 0 || value < s->min ? value : s->min;
    s->max = s->n == 0 || value > s->max ? value : s->max;
    s->n++;
    const double difference = value - s->mean;
    s->mean += difference / (double)s->n;
    s->std += difference * (value - s->mean);
}

static dl_status add_samples(dl_dataset *dataset, int number, char *sample, dl_value_statistics *out) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    const dl_field *field = &info->field[number];
    const int64_t channels = dl_field_channels(field), row = dl_shape_elements(&field->sample_shape);
    for (int64_t i = 0; i < info->n_samples; i++) {
        const int64_t n = row * (field->kind == DL_FIELD_RAGGED ? dl_dataset_length(dataset, i) : 1);
        DL_RETURN_IF_ERROR(dl_dataset_read(dataset, i, number, sample));
        for (int64_t j = 0; j < n; j++) {
            add_value(&out[j % channels], value_at(sample, field->dtype, j));
        }
    }
    return DL_OK;
}

dl_status dl_field_statistics(dl_dataset *dataset, int field, dl_value_statistics *out) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    const dl_field *each = &info->field[field];
    const int64_t channels = dl_field_channels(each);
    char *sample = NULL;
    memset(out, 0, (size_t)channels * sizeof *out);
    DL_RETURN_IF_ERROR(
        dl_alloc(each->sample_bytes, each->kind == DL_FIELD_RAGGED ? (size_t)info->max_length : 1, &sample));
    const dl_status status = add_samples(dataset, field, sample, out);
    dl_free(&sample);
    for (int64_t c = 0; c < channels; c++) {
        out[c].std = out[c].n > 0 ? sqrt(out[c].std / (double)out[c].n) : 0;
    }
    return status;
}

static dl_status count_tokens(dl_dataset *dataset, int64_t *count) {
    const int64_t n = dl_dataset_info_of(dataset)->n_samples;
    int32_t token[TOKENS_AT_ONCE];
    for (int64_t first = 0; first < n; first += TOKENS_AT_ONCE) {
        const int64_t left = n - first, here = left < TOKENS_AT_ONCE ? left : TOKENS_AT_ONCE;
        DL_RETURN_IF_ERROR(dl_dataset_read_tokens(dataset, first, here, token));
        for (int64_t i = 0; i < here; i++) {
            count[token[i]]++;
        }
    }
    return DL_OK;
}

/* Field y: a class for each sample, or for each step; -1 is none. */
static dl_status count_labels(dl_dataset *dataset, int64_t *count) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    const bool of_steps = info->n_fields > 1 && info->field[1].kind == DL_FIELD_RAGGED;
    int32_t *label = NULL;
    dl_status status = dl_alloc(of_steps ? (size_t)info->max_length : 1, sizeof *label, &label);
    for (int64_t i = 0; i < info->n_samples && info->n_classes > 0 && status == DL_OK; i++) {
        const int64_t n = of_steps ? dl_dataset_length(dataset, i) : 1;
        status = dl_dataset_read(dataset, i, 1, label);
        for (int64_t j = 0; j < n && status == DL_OK; j++) {
            count[label[j] >= 0 ? label[j] : 0] += label[j] >= 0;
        }
    }
    dl_free(&label);
    return status;
}

dl_status dl_count_classes(dl_dataset *dataset, int64_t *count) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    memset(count, 0, (size_t)info->n_classes * sizeof *count);
    if (info->vocab_size > 0) {
        return count_tokens(dataset, count);
    }
    return count_labels(dataset, count);
}

double dl_entropy(const int64_t *count, int64_t n) {
    double total = 0, entropy = 0;
    for (int64_t i = 0; i < n; i++) {
        total += (double)count[i];
    }
    for (int64_t i = 0; i < n; i++) {
        entropy -= count[i] > 0 ? (double)count[i] / total * log((double)count[i] / total) : 0;
    }
    return entropy;
}

static int by_number(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

dl_status dl_length_quantiles(const dl_dataset *dataset, int64_t out[5]) {
    const int64_t n = dl_dataset_info_of(dataset)->n_samples;
    int64_t *length = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *length, &length));
    for (int64_t i = 0; i < n; i++) {
        length[i] = dl_dataset_length(dataset, i);
    }
    qsort(length, (size_t)n, sizeof *length, by_number);
    for (int64_t q = 0; q < 5; q++) {
        const int64_t rank = (n * q + 3) / 4; /* samples that must not be longer */
        out[q] = length[rank > 0 ? rank - 1 : 0];
    }
    dl_free(&length);
    return DL_OK;
}
