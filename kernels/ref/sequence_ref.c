#include "kernels/common/sequence.h"

#include "kernels/ops/sizes.h"
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

void dl_embedding_forward_ref(const dl_op *op, void *const *slots) {
    const dl_embedding_sizes s = dl_embedding_sizes_of(&op->desc);
    const int32_t *x = slots[0];
    const float *w = slots[1];
    float *y = slots[2];
    for (int64_t i = 0; i < s.tokens; i++) {
        const bool known = x[i] >= 0 && x[i] < s.vocabulary;
        for (int64_t d = 0; d < s.width; d++) {
            y[i * s.width + d] = known ? w[x[i] * s.width + d] : NAN;
        }
    }
}

void dl_embedding_backward_weights_ref(const dl_op *op, void *const *slots) {
    const dl_embedding_sizes s = dl_embedding_sizes_of(&op->desc);
    const int32_t *x = slots[0];
    const float *dy = slots[1];
    float *dw = slots[2];
    for (int64_t v = 0; v < s.vocabulary; v++) {
        for (int64_t d = 0; d < s.width; d++) {
            double sum = 0;
            for (int64_t i = 0; i < s.tokens; i++) {
                sum += x[i] == v ? (double)dy[i * s.width + d] : 0.0;
            }
            dw[v * s.width + d] = (float)sum;
        }
    }
}

/* Reversing is its own gradient: slots x (dy), lengths, y (dx). */
static void reverse(const dl_op *op, void *const *slots) {
    const dl_sequence_sizes s = dl_sequence_sizes_of(&op->desc);
    for (int64_t n = 0; n < s.n; n++) {
        const int64_t length = dl_length_of(slots[1], n, s.t);
        const float *x = (const float *)slots[0] + n * s.t * s.features;
        float *y = (float *)slots[2] + n * s.t * s.features;
        for (int64_t t = 0; t < s.t; t++) {
            memcpy(y + t * s.features, x + dl_reversed_position(t, length) * s.features,
                   (size_t)s.features * sizeof *y);
        }
    }
}

void dl_reverse_by_length_ref(const dl_op *op, void *const *slots) {
    reverse(op, slots);
}

void dl_reverse_by_length_backward_ref(const dl_op *op, void *const *slots) {
    reverse(op, slots);
}

void dl_take_last_ref(const dl_op *op, void *const *slots) {
    const dl_sequence_sizes s = dl_sequence_sizes_of(&op->desc);
    for (int64_t n = 0; n < s.n; n++) {
        const int64_t last = n * s.t + dl_length_of(slots[1], n, s.t) - 1;
        memcpy((float *)slots[2] + n * s.features, (const float *)slots[0] + last * s.features,
               (size_t)s.features * sizeof(float));
    }
}

void dl_take_last_backward_ref(const dl_op *op, void *const *slots) {
    const dl_sequence_sizes s = dl_sequence_sizes_of(&op->desc);
    memset(slots[2], 0, (size_t)(s.n * s.t * s.features) * sizeof(float));
    for (int64_t n = 0; n < s.n; n++) {
        const int64_t last = n * s.t + dl_length_of(slots[1], n, s.t) - 1;
        memcpy((float *)slots[2] + last * s.features, (const float *)slots[0] + n * s.features,
               (size_t)s.features * sizeof(float));
    }
}
