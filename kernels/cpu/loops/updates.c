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
    const dl_sgd_step step = dl_sgd_step_of(&desc->attr.u.sgd, slots[3], slots[4]);
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
    const dl_adam_step step = dl_adam_step_of(&desc->attr.u.adam, slots[4], slots[5]);
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
