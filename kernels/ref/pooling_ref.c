#include "kernels/common/activation.h"
#include "kernels/common/pooling_windows.h"
#include "kernels/ops/sizes.h"
#include "kernels/ref/index_ref.h"
#include "kernels/ref/ref.h"

void dl_max_pooling2d_forward_ref(const dl_op *op, void *const *slots) {
    const dl_pooling2d_sizes z = dl_pooling2d_sizes_of(&op->desc);
    const dl_pool_attr *pool = &op->desc.attr.u.pool;
    const float *x = slots[0];
    float *y = slots[1];
    uint8_t *index = slots[2];
    int32_t *wide = slots[2];
    for (int64_t i = 0; i < z.n * z.p * z.q * z.c; i++) {
        const dl_cell o = dl_cell_of(i, z.p, z.q, z.c);
        const int64_t cell = dl_window_winner(&z, pool, x, o);
        y[i] = x[dl_window_cell(&z, pool, o, cell / z.s, cell % z.s)];
        if (index != NULL && dl_index_is_wide(&op->desc)) {
            wide[i] = (int32_t)cell;
        } else if (index != NULL) {
            index[i] = (uint8_t)cell;
        }
    }
}

/* All gradients that cell (h, v) of one channel won: the sum over the windows that hold it. */
static double won_by_cell(const dl_op_desc *desc, const dl_pooling2d_sizes *z, void *const *slots, int64_t n,
                          int64_t h, int64_t v, int64_t c) {
    const dl_pool_attr *pool = &desc->attr.u.pool;
    const float *dy = slots[0], *y = slots[2];
    const uint8_t *index = slots[1];
    const int32_t *wide = slots[1];
    double sum = 0;
    for (int64_t cell = 0; cell < z->r * z->s; cell++) {
        const int64_t top = h + pool->padding[0] - cell / z->s, left = v + pool->padding[2] - cell % z->s;
        const int64_t p = top / pool->stride[0], q = left / pool->stride[1];
        if (top < 0 || left < 0 || top % pool->stride[0] != 0 || left % pool->stride[1] != 0 || p >= z->p ||
            q >= z->q) {
            continue;
        }
        const int64_t i = ((n * z->p + p) * z->q + q) * z->c + c;
        if ((dl_index_is_wide(desc) ? wide[i] : (int32_t)index[i]) == cell) {
            sum += y == NULL ? (double)dy[i] : (double)dl_relu_backward(y[i], dy[i]);
        }
    }
    return sum;
}

void dl_max_pooling2d_backward_ref(const dl_op *op, void *const *slots) {
    const dl_pooling2d_sizes z = dl_pooling2d_sizes_of(&op->desc);
    float *dx = slots[3];
    for (int64_t i = 0; i < z.n * z.h * z.w * z.c; i++) {
        dx[i] = (float)won_by_cell(&op->desc, &z, slots, i / (z.c * z.w * z.h), i / (z.c * z.w) % z.h,
                                   i / z.c % z.w, i % z.c);
    }
}

void dl_average_pooling2d_forward_ref(const dl_op *op, void *const *slots) {
    const dl_pooling2d_sizes z = dl_pooling2d_sizes_of(&op->desc);
    const dl_pool_attr *pool = &op->desc.attr.u.pool;
    const float *x = slots[0];
    float *y = slots[1];
    for (int64_t i = 0; i < z.n * z.p * z.q * z.c; i++) {
        const dl_cell o = dl_cell_of(i, z.p, z.q, z.c);
        double sum = 0;
        for (int64_t cell = 0; cell < z.r * z.s; cell++) {
            const int64_t at = dl_window_cell(&z, pool, o, cell / z.s, cell % z.s);
            sum += at >= 0 ? (double)x[at] : 0;
        }
        y[i] = (float)(sum / (double)dl_window_cells(&z, pool, o));
    }
}

/* Gradient of cell (h, v) of one channel: from every window that holds it. */
static double spread_to_cell(const dl_pooling2d_sizes *z, const dl_pool_attr *pool, const float *dy,
                             int64_t n, int64_t h, int64_t v, int64_t c) {
    double sum = 0;
    for (int64_t p = 0; p < z->p; p++) {
        for (int64_t q = 0; q < z->q; q++) {
            const int64_t r = h - (p * pool->stride[0] - pool->padding[0]);
            const int64_t s = v - (q * pool->stride[1] - pool->padding[2]);
            if (r >= 0 && r < z->r && s >= 0 && s < z->s) {
                const dl_cell o = {n, p, q, c};
                sum +=
                    (double)dy[((n * z->p + p) * z->q + q) * z->c + c] / (double)dl_window_cells(z, pool, o);
            }
        }
    }
    return sum;
}

void dl_average_pooling2d_backward_ref(const dl_op *op, void *const *slots) {
    const dl_pooling2d_sizes z = dl_pooling2d_sizes_of(&op->desc);
    float *dx = slots[1];
    for (int64_t i = 0; i < z.n * z.h * z.w * z.c; i++) {
        dx[i] = (float)spread_to_cell(&z, &op->desc.attr.u.pool, slots[0], i / (z.c * z.w * z.h),
                                      i / (z.c * z.w) % z.h, i / z.c % z.w, i % z.c);
    }
}
