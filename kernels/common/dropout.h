/* The mask of dropout: a pure function of (seed, layer, step, sample, element), the same on all backends,
 * ranks and batch splits, and made again in the backward pass instead of being kept.
 *
 * Four consecutive elements of a sample share one Philox call, counter (step, id 2^32 + element / 4): an
 * element's number does not depend on how many others follow, so a longer padding changes no mask; nor on
 * which of them this rank has, where ranks share rows. An element is kept if and only if its number / 2^32 >=
 * rate.
 */
#ifndef DLTRAIN_KERNELS_COMMON_DROPOUT_H
#define DLTRAIN_KERNELS_COMMON_DROPOUT_H

#include "kernels/common/philox.h"
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

/* Elements first .. first + n of a sample; y may be x. */
typedef void dl_dropout_run_fn(const dl_dropout *dropout, int64_t step, int64_t id, int64_t first, int64_t n,
                               const float *x, float *y);

/* Where element `at` of n elements, rows of `row`, stands in the whole sample: rows may be shared by ranks.
 */
DL_SHARED int64_t dl_dropout_place(const dl_dropout_attr *attr, int64_t at, int64_t row) {
    return attr->whole_row == 0 ? at : at / row * attr->whole_row + attr->row_begin + at % row;
}

/* One element of sample `id`, by itself. */
DL_SHARED float dl_dropout_one(const dl_dropout *dropout, int64_t step, int64_t id, int64_t place, float x) {
    uint32_t number[4];
    dl_philox_4x32(dropout->seed, dropout->purpose, (uint64_t)step, dl_dropout_counter(id, place / 4),
                   number);
    return dl_dropout_element(dropout, number[place % 4], x);
}

static inline void dl_dropout_run(const dl_dropout *dropout, int64_t step, int64_t id, int64_t first,
                                  int64_t n, const float *x, float *y) {
    uint32_t number[4] = {0};
    for (int64_t i = first; i < first + n; i++) {
        if (i == first || i % 4 == 0) {
            dl_philox_4x32(dropout->seed, dropout->purpose, (uint64_t)step, dl_dropout_counter(id, i / 4),
                           number);
        }
        y[i - first] = dl_dropout_element(dropout, number[i % 4], x[i - first]);
    }
}

/* One sample of rows x row elements by `run`, as a whole or row by row where ranks share them. */
static inline void dl_dropout_sample(const dl_dropout_attr *attr, dl_dropout_run_fn *run,
                                     const dl_dropout *dropout, int64_t step, int64_t id, int64_t n,
                                     int64_t row, const float *x, float *y) {
    if (attr->whole_row == 0) {
        run(dropout, step, id, 0, n, x, y);
        return;
    }
    for (int64_t r = 0; r < n / row; r++) {
        run(dropout, step, id, r * attr->whole_row + attr->row_begin, row, x + r * row, y + r * row);
    }
}

#endif
