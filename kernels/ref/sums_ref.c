#include "kernels/common/blocks.h"
#include "kernels/common/reduction.h"
#include "kernels/ref/ref.h"

#include <math.h>

void dl_sum_samples_ref(const dl_op *op, void *const *slots) {
    const dl_tensor_desc *x = &op->desc.slot[0];
    const int64_t n = dl_shape_elements(&x->shape);
    double *total = slots[1], sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double value =
            x->dtype == DL_F64 ? ((const double *)slots[0])[i] : (double)((const float *)slots[0])[i];
        sum += dl_sample_to_sum(op->desc.attr.u.sum.on_grid, value);
    }
    *total = op->desc.attr.accumulate ? *total + sum : sum;
}

void dl_add_ref(const dl_op *op, void *const *slots) {
    const float *a = slots[0], *b = slots[1];
    float *y = slots[2];
    const int64_t n = dl_shape_elements(&op->desc.slot[2].shape);
    for (int64_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

/* The sum of x[0], x[n], ..., x[(k-1) n], k a power of two, rounded at every node: the bits are part of what
 * the kind means, so nothing is more precise than the tensors. */
static float tree_f32(const float *x, int64_t k, int64_t n) {
    return k == 1 ? *x : tree_f32(x, k / 2, n) + tree_f32(x + k / 2 * n, k / 2, n);
}

static double tree_f64(const double *x, int64_t k, int64_t n) {
    return k == 1 ? *x : tree_f64(x, k / 2, n) + tree_f64(x + k / 2 * n, k / 2, n);
}

void dl_tree_sum_ref(const dl_op *op, void *const *slots) {
    const dl_shape *shape = &op->desc.slot[0].shape;
    const int64_t k = shape->dim[0], n = dl_shape_stride(shape, 1);
    for (int64_t i = 0; i < n; i++) {
        if (op->desc.slot[0].dtype == DL_F32) {
            ((float *)slots[1])[i] = tree_f32((const float *)slots[0] + i, k, n);
        } else {
            ((double *)slots[1])[i] = tree_f64((const double *)slots[0] + i, k, n);
        }
    }
}

void dl_check_finite_ref(const dl_op *op, void *const *slots) {
    const float *x = slots[0];
    int32_t *control = slots[1];
    const int64_t n = dl_shape_elements(&op->desc.slot[0].shape);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            control[DL_CONTROL_NONFINITE] = 1;
            return;
        }
    }
}

void dl_sum_squares_ref(const dl_op *op, void *const *slots) {
    const float *x = slots[0];
    double *sums = slots[1];
    int32_t *control = slots[2];
    const int64_t n = dl_shape_elements(&op->desc.slot[0].shape);
    for (int64_t begin = 0; begin < n; begin += DL_SQUARES_BLOCK) {
        double sum = 0;
        for (int64_t i = begin; i < n && i < begin + DL_SQUARES_BLOCK; i++) {
            sum += (double)x[i] * (double)x[i];
        }
        sums[begin / DL_SQUARES_BLOCK] = sum;
        if (!isfinite(sum)) { /* squares of floats do not overflow a double */
            control[DL_CONTROL_NONFINITE] = 1;
        }
    }
}
