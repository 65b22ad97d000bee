/* Element by element. */
#include "kernels/common/activation.h"
#include "kernels/cpu/loops/exponential.h"
#include "kernels/cpu/loops/isa.h"

void DL_ISA(activation_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                dl_range items) {
    (void)loop;
    const float *x = slots[0];
    float *y = slots[1];
    switch (desc->attr.activation) {
    case DL_ACT_RELU:
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            y[i] = dl_relu(x[i]);
        }
        break;
    case DL_ACT_TANH:
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            y[i] = dl_fast_tanh(x[i]);
        }
        break;
    default:
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            y[i] = dl_fast_sigmoid(x[i]);
        }
        break;
    }
}

void DL_ISA(activation_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                 dl_range items) {
    (void)loop;
    const float *y = slots[0];
    const float *dy = slots[1];
    float *dx = slots[2];
    switch (desc->attr.activation) {
    case DL_ACT_RELU:
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            dx[i] = dl_relu_backward(y[i], dy[i]);
        }
        break;
    case DL_ACT_TANH:
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            dx[i] = dl_tanh_backward(y[i], dy[i]);
        }
        break;
    default:
#pragma omp simd
        for (int64_t i = items.begin; i < items.end; i++) {
            dx[i] = dl_sigmoid_backward(y[i], dy[i]);
        }
        break;
    }
}

void DL_ISA(add)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    (void)desc;
    (void)loop;
    const float *a = slots[0];
    const float *b = slots[1];
    float *y = slots[2];
#pragma omp simd
    for (int64_t i = items.begin; i < items.end; i++) {
        y[i] = a[i] + b[i];
    }
}

void DL_ISA(fill_zero)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    (void)desc;
    char *y = slots[0];
    memset(y + (size_t)items.begin * loop->item_bytes, 0,
           (size_t)(items.end - items.begin) * loop->item_bytes);
}

void DL_ISA(copy)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    (void)desc;
    const size_t at = (size_t)items.begin * loop->item_bytes;
    memcpy((char *)slots[1] + at, (const char *)slots[0] + at,
           (size_t)(items.end - items.begin) * loop->item_bytes);
}

/* The same additions as the oracle, several elements side by side: the bits are the same. */
void DL_ISA(tree_sum)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    const float *x = slots[0];
    float *y = slots[1];
    const int64_t n_pieces = desc->slot[0].shape.dim[0];
    for (int64_t i = items.begin; i < items.end; i += DL_CPU_LANES) {
        const int64_t n = items.end - i < DL_CPU_LANES ? items.end - i : DL_CPU_LANES;
        float sum[DL_CPU_LANES][DL_CPU_LANES] = {{0}};
        for (int64_t k = 0; k < n_pieces; k++) {
            memcpy(sum[k], x + k * loop->row + i, (size_t)n * sizeof *x);
        }
        for (int64_t width = n_pieces / 2; width >= 1; width /= 2) {
            for (int64_t k = 0; k < width; k++) {
#pragma omp simd
                for (int64_t j = 0; j < DL_CPU_LANES; j++) {
                    sum[k][j] = sum[2 * k][j] + sum[2 * k + 1][j];
                }
            }
        }
        memcpy(y + i, sum[0], (size_t)n * sizeof *y);
    }
}

static void normalize_u8(const uint8_t *x, float *y, const float *scale, const float *shift, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)x[i] * scale[i] + shift[i];
    }
}

static void normalize_f32(const float *x, float *y, const float *scale, const float *shift, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * scale[i] + shift[i];
    }
}

/* Items begin at multiples of the tables' period. */
void DL_ISA(normalize_images)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                              dl_range items) {
    float *y = slots[1];
    for (int64_t i = items.begin; i < items.end; i += loop->period) {
        const int64_t n = items.end - i < loop->period ? items.end - i : loop->period;
        if (desc->slot[0].dtype == DL_U8) {
            normalize_u8((const uint8_t *)slots[0] + i, y + i, loop->scale, loop->shift, n);
        } else {
            normalize_f32((const float *)slots[0] + i, y + i, loop->scale, loop->shift, n);
        }
    }
}
