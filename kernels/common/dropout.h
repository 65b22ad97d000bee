/* The mask of dropout: a pure function of (seed, layer, step, sample, element), the same on all backends,
 * ranks and batch splits, and made again in the backward pass instead of being kept.
 *
 * Four consecutive elements of a sample share one Philox call, counter (step, id 2^32 + element / 4): an
 * element's number does not depend on how many others follow, so a longer padding changes no mask. An element
 * is kept if and only if its number / 2^32 >= rate.
 */
#ifndef DLTRAIN_KERNELS_COMMON_DROPOUT_H
#define DLTRAIN_KERNELS_COMMON_DROPOUT_H

#include "base/rng.h"
#include "kernels/common/pointwise.h"
#include "kernels/op.h"

#include <math.h>

typedef struct dl_dropout {
    uint64_t seed, threshold; /* kept: number >= threshold */
    uint32_t purpose;
    float scale; /* 1 / (1 - rate) */
} dl_dropout;

DL_SHARED dl_dropout dl_dropout_of(const dl_dropout_attr *attr) {
    dl_dropout dropout;
    dropout.seed = attr->seed;
    dropout.threshold = (uint64_t)ceil(attr->rate * 0x1p32);
    dropout.purpose = attr->purpose;
    dropout.scale = (float)(1.0 / (1.0 - attr->rate));
    return dropout;
}

/* The counter's second half for the four elements from 4 `four` on. */
DL_SHARED uint64_t dl_dropout_counter(int64_t id, int64_t four) {
    return ((uint64_t)id << 32) + (uint64_t)four;
}

DL_SHARED float dl_dropout_element(const dl_dropout *dropout, uint32_t number, float x) {
    return number >= dropout->threshold ? x * dropout->scale : 0.0f;
}

/* One sample of n elements; y may be x. */
static inline void dl_dropout_sample(const dl_dropout *dropout, int64_t step, int64_t id, int64_t n,
                                     const float *x, float *y) {
    for (int64_t first = 0; first < n; first += 4) {
        uint32_t number[4];
        dl_rng_4x32(dropout->seed, dropout->purpose, (uint64_t)step, dl_dropout_counter(id, first / 4),
                    number);
        for (int64_t i = first; i < n && i < first + 4; i++) {
            y[i] = dl_dropout_element(dropout, number[i - first], x[i]);
        }
    }
}

#endif
