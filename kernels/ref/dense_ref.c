#include "kernels/common/activation.h"
#include "kernels/ops/sizes.h"
#include "kernels/ref/ref.h"

/* sum over i of a[i stride_a] b[i stride_b] */
static double dot(int64_t n, const float *a, int64_t stride_a, const float *b, int64_t stride_b) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)a[i * stride_a] * (double)b[i * stride_b];
    }
    return sum;
}

void dl_dense_forward_ref(const dl_op *op, void *const *slots) {
    const dl_dense_sizes z = dl_dense_sizes_of(&op->desc);
    const float *x = slots[0], *w = slots[1], *b = slots[2];
    float *y = slots[3];
    for (int64_t n = 0; n < z.n; n++) {
        for (int64_t o = 0; o < z.outputs; o++) {
            const double sum = dot(z.inputs, x + n * z.inputs, 1, w + o * z.inputs, 1);
            const double biased = b == NULL ? sum : sum + (double)b[o];
            y[n * z.outputs + o] = dl_activate(op->desc.attr.activation, (float)biased);
        }
    }
}

void dl_dense_backward_data_ref(const dl_op *op, void *const *slots) {
    const dl_dense_sizes z = dl_dense_sizes_of(&op->desc);
    const float *dy = slots[0], *w = slots[1];
    float *dx = slots[2];
    for (int64_t n = 0; n < z.n; n++) {
        for (int64_t i = 0; i < z.inputs; i++) {
            dx[n * z.inputs + i] = (float)dot(z.outputs, dy + n * z.outputs, 1, w + i, z.inputs);
        }
    }
}

void dl_dense_backward_weights_ref(const dl_op *op, void *const *slots) {
    const dl_dense_sizes z = dl_dense_sizes_of(&op->desc);
    const float *x = slots[0], *dy = slots[1];
    float *dw = slots[2], *db = slots[3];
    for (int64_t o = 0; o < z.outputs; o++) {
        for (int64_t i = 0; i < z.inputs; i++) {
            dw[o * z.inputs + i] = (float)dot(z.n, dy + o, z.outputs, x + i, z.inputs);
        }
        double sum = 0;
        for (int64_t n = 0; n < z.n && db != NULL; n++) {
            sum += (double)dy[n * z.outputs + o];
        }
        if (db != NULL) {
            db[o] = (float)sum;
        }
    }
}
