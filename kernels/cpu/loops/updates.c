/* Optimizer steps and the check for NaN and Inf. The arithmetic of an element is kernels/common/update.h. */
#include "kernels/common/update.h"

#include "kernels/cpu/loops/isa.h"

#include <string.h>

/* Step, totals and control word stand behind the tensors. */
void DL_ISA(sgd_update)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    (void)loop;
    if (!dl_step_is_ok(slots[5])) {
        return;
    }
    const dl_sgd_step step =
        dl_sgd_step_of(&desc->attr, slots[3], slots[4], desc->slot[6].present ? slots[6] : NULL);
    float *w = slots[0];
    const float *g = slots[1];
    float *v = desc->slot[2].present ? slots[2] : NULL;
    if (v == NULL) {
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            w[i] = dl_sgd_element(&step, w[i], g[i], NULL);
        }
        return;
    }
#pragma omp simd
    for (int64_t i = items.begin; i < items.end; i++) {
        float momentum = v[i];
        w[i] = dl_sgd_element(&step, w[i], g[i], &momentum);
        v[i] = momentum;
    }
}

void DL_ISA(adam_update)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                         dl_range items) {
    (void)loop;
    if (!dl_step_is_ok(slots[6])) {
        return;
    }
    const dl_adam_step step =
        dl_adam_step_of(&desc->attr, slots[4], slots[5], desc->slot[7].present ? slots[7] : NULL);
    float *w = slots[0];
    const float *g = slots[1];
    float *m = slots[2];
    float *v = slots[3];
#pragma omp simd
    for (int64_t i = items.begin; i < items.end; i++) {
        float first = m[i];
        float second = v[i];
        w[i] = dl_adam_element(&step, w[i], g[i], &first, &second);
        m[i] = first;
        v[i] = second;
    }
}

/* The forms of rmsprop are this loop with constants for `centered` and `moves`: no branch is left in it. */
static inline __attribute__((always_inline)) void rmsprop(const dl_rmsprop_step *step, void *const *slots,
                                                          bool centered, bool moves, dl_range items) {
    float *w = slots[0];
    const float *g = slots[1];
    float *s = slots[2];
    float *m = centered ? slots[3] : slots[2]; /* of no use otherwise */
    float *v = moves ? slots[4] : slots[2];
#pragma omp simd
    for (int64_t i = items.begin; i < items.end; i++) {
        float square = s[i];
        float mean = centered ? m[i] : 0.0F;
        float momentum = moves ? v[i] : 0.0F;
        w[i] =
            dl_rmsprop_element(step, w[i], g[i], &square, centered ? &mean : NULL, moves ? &momentum : NULL);
        s[i] = square;
        if (centered) {
            m[i] = mean;
        }
        if (moves) {
            v[i] = momentum;
        }
    }
}

void DL_ISA(rmsprop_update)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                            dl_range items) {
    (void)loop;
    if (!dl_step_is_ok(slots[7])) {
        return;
    }
    const dl_rmsprop_step step =
        dl_rmsprop_step_of(&desc->attr, slots[5], slots[6], desc->slot[8].present ? slots[8] : NULL);
    const bool centered = desc->slot[3].present;
    const bool moves = desc->slot[4].present;
    if (centered && moves) {
        rmsprop(&step, slots, true, true, items);
    } else if (centered) {
        rmsprop(&step, slots, true, false, items);
    } else if (moves) {
        rmsprop(&step, slots, false, true, items);
    } else {
        rmsprop(&step, slots, false, false, items);
    }
}

/* Moving means; other commits are small and left to ref. */
void DL_ISA(commit)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    (void)loop;
    if (!dl_step_is_ok(slots[2])) {
        return;
    }
    const dl_average_step step = dl_average_step_of(&desc->attr, slots[3]);
    float *state = slots[0];
    const float *value = slots[1];
#pragma omp simd
    for (int64_t i = items.begin; i < items.end; i++) {
        state[i] = dl_average_element(&step, state[i], value[i]);
    }
}

/* Items are blocks. Eight sums side by side, added in one order: the bits do not depend on the vectors'
 * width. */
void DL_ISA(sum_squares)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                         dl_range items) {
    (void)loop;
    enum { SUMS = 8 };
    const float *x = slots[0];
    double *sums = slots[1];
    int32_t *control = slots[2];
    const int64_t n = dl_shape_elements(&desc->slot[0].shape);
    for (int64_t block = items.begin; block < items.end; block++) {
        const int64_t begin = block * DL_SQUARES_BLOCK;
        const int64_t end = begin + DL_SQUARES_BLOCK < n ? begin + DL_SQUARES_BLOCK : n;
        double sum[SUMS] = {0};
        int64_t i = begin;
        for (; i + SUMS <= end; i += SUMS) {
            for (int j = 0; j < SUMS; j++) {
                sum[j] += (double)x[i + j] * (double)x[i + j];
            }
        }
        for (; i < end; i++) {
            sum[i % SUMS] += (double)x[i] * (double)x[i];
        }
        sums[block] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        if (!(sums[block] < INFINITY)) {
            __atomic_store_n(&control[DL_CONTROL_NONFINITE], 1, __ATOMIC_RELAXED);
        }
    }
}

/* An exponent of all ones; threads may find one at the same time. */
void DL_ISA(check_finite)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                          dl_range items) {
    (void)desc;
    (void)loop;
    const uint32_t exponent = 0x7F800000U;
    const float *x = slots[0];
    int32_t *control = slots[1];
    uint32_t found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = items.begin; i < items.end; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &x[i], sizeof bits);
        found |= (bits & exponent) == exponent ? 1U : 0U;
    }
    if (found != 0) {
        __atomic_store_n(&control[DL_CONTROL_NONFINITE], 1, __ATOMIC_RELAXED);
    }
}
