/* Between float32 and 16-bit floats. */
#include "kernels/common/half.h"
#include "kernels/cpu/loops/isa.h"

static void widen(dl_dtype dtype, const uint16_t *x, float *y, dl_range items) {
    if (dtype == DL_BF16) {
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            y[i] = dl_float_of_bf16(x[i]);
        }
        return;
    }
#pragma omp simd
    for (int64_t i = items.begin; i < items.end; i++) {
        y[i] = dl_float_of_f16(x[i]);
    }
}

static void narrow(dl_dtype dtype, const float *x, uint16_t *y, dl_range items) {
    if (dtype == DL_BF16) {
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            y[i] = dl_bf16_of(x[i]);
        }
        return;
    }
#pragma omp simd
    for (int64_t i = items.begin; i < items.end; i++) {
        y[i] = dl_f16_of(x[i]);
    }
}

void DL_ISA(cast)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    (void)loop;
    const dl_dtype from = desc->slot[0].dtype, to = desc->slot[1].dtype;
    if (from == DL_F32 && to != DL_F32) {
        narrow(to, slots[0], slots[1], items);
    } else if (to == DL_F32 && from != DL_F32) {
        widen(from, slots[0], slots[1], items);
    } else if (from == to) {
        const size_t each = dl_dtype_bytes(from), begin = each * (size_t)items.begin;
        memcpy((char *)slots[1] + begin, (const char *)slots[0] + begin,
               each * (size_t)(items.end - items.begin));
    } else {
        for (int64_t i = items.begin; i < items.end; i++) {
            ((uint16_t *)slots[1])[i] =
                dl_half_of(to, dl_float_of_half(from, ((const uint16_t *)slots[0])[i]));
        }
    }
}
