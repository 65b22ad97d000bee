/* Tokens and sequences. */
#include "kernels/common/sequence.h"
#include "kernels/cpu/loops/isa.h"
#include "kernels/ops/sizes.h"

#include <math.h>
#include <string.h>

/* Items are tokens. */
void DL_ISA(embedding_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                               dl_range items) {
    const int64_t width = loop->row, vocabulary = dl_embedding_sizes_of(desc).vocabulary;
    const int32_t *x = slots[0];
    for (int64_t i = items.begin; i < items.end; i++) {
        float *y = (float *)slots[2] + i * width;
        if (x[i] >= 0 && x[i] < vocabulary) {
            memcpy(y, (const float *)slots[1] + x[i] * width, (size_t)width * sizeof *y);
            continue;
        }
        for (int64_t d = 0; d < width; d++) {
            y[d] = NAN;
        }
    }
}

/* Items are columns: each thread adds all tokens to its columns, in their order. */
void DL_ISA(embedding_backward_weights)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                        dl_range items) {
    const dl_embedding_sizes s = dl_embedding_sizes_of(desc);
    const int64_t width = loop->row, n = items.end - items.begin;
    const int32_t *x = slots[0];
    float *dw = (float *)slots[2] + items.begin;
    for (int64_t v = 0; v < s.vocabulary; v++) {
        memset(dw + v * width, 0, (size_t)n * sizeof *dw);
    }
    for (int64_t i = 0; i < s.tokens; i++) {
        if (x[i] < 0 || x[i] >= s.vocabulary) {
            continue;
        }
        const float *dy = (const float *)slots[1] + i * width + items.begin;
        float *row = dw + x[i] * width;
#pragma omp simd
        for (int64_t d = 0; d < n; d++) {
            row[d] += dy[d];
        }
    }
}

void DL_ISA(sum_rows)(const float *x, int64_t row, const int32_t *places, int64_t n, float *sum) {
    memcpy(sum, x + places[0] * row, (size_t)row * sizeof *sum);
    for (int64_t i = 1; i < n; i++) {
        const float *from = x + places[i] * row;
#pragma omp simd
        for (int64_t j = 0; j < row; j++) {
            sum[j] += from[j];
        }
    }
}

/* Forwards and backwards are one thing: slots x (dy), lengths, y (dx). */
void DL_ISA(reverse_by_length)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                               dl_range items) {
    (void)loop;
    const dl_sequence_sizes s = dl_sequence_sizes_of(desc);
    for (int64_t n = items.begin; n < items.end; n++) {
        const int64_t length = dl_length_of(slots[1], n, s.t);
        const float *x = (const float *)slots[0] + n * s.t * s.features;
        float *y = (float *)slots[2] + n * s.t * s.features;
        for (int64_t t = 0; t < s.t; t++) {
            memcpy(y + t * s.features, x + dl_reversed_position(t, length) * s.features,
                   (size_t)s.features * sizeof *y);
        }
    }
}

void DL_ISA(take_last)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    (void)loop;
    const dl_sequence_sizes s = dl_sequence_sizes_of(desc);
    for (int64_t n = items.begin; n < items.end; n++) {
        const int64_t last = n * s.t + dl_length_of(slots[1], n, s.t) - 1;
        memcpy((float *)slots[2] + n * s.features, (const float *)slots[0] + last * s.features,
               (size_t)s.features * sizeof(float));
    }
}

void DL_ISA(take_last_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                dl_range items) {
    (void)loop;
    const dl_sequence_sizes s = dl_sequence_sizes_of(desc);
    const size_t row = (size_t)s.features * sizeof(float);
    for (int64_t n = items.begin; n < items.end; n++) {
        const int64_t last = dl_length_of(slots[1], n, s.t) - 1;
        float *dx = (float *)slots[2] + n * s.t * s.features;
        memset(dx, 0, (size_t)s.t * row);
        memcpy(dx + last * s.features, (const float *)slots[0] + n * s.features, row);
    }
}
