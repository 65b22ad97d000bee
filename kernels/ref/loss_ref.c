#include "kernels/common/loss.h"

#include "kernels/ref/ref.h"

#include <math.h>

/* The largest of a row and the sum of exp(x - largest): all that softmax needs. NaN anywhere makes the sum
 * NaN. */
typedef struct row_sums {
    double largest, sum;
} row_sums;

static row_sums sums_of(int64_t n, const float *x) {
    row_sums sums = {-INFINITY, 0};
    for (int64_t k = 0; k < n; k++) {
        sums.largest = (double)x[k] > sums.largest ? (double)x[k] : sums.largest;
    }
    for (int64_t k = 0; k < n; k++) {
        sums.sum += exp((double)x[k] - sums.largest);
    }
    return sums;
}

static float softmax_at(const row_sums *sums, float x) {
    return (float)(exp((double)x - sums->largest) / sums->sum);
}

void dl_softmax_forward_ref(const dl_op *op, void *const *slots) {
    const int64_t *dim = op->desc.slot[0].shape.dim;
    for (int64_t n = 0; n < dim[0]; n++) {
        const float *x = (const float *)slots[0] + n * dim[1];
        float *y = (float *)slots[1] + n * dim[1];
        const row_sums sums = sums_of(dim[1], x);
        for (int64_t k = 0; k < dim[1]; k++) {
            y[k] = softmax_at(&sums, x[k]);
        }
    }
}

void dl_softmax_backward_ref(const dl_op *op, void *const *slots) {
    const int64_t *dim = op->desc.slot[0].shape.dim;
    for (int64_t n = 0; n < dim[0]; n++) {
        const float *y = (const float *)slots[0] + n * dim[1], *dy = (const float *)slots[1] + n * dim[1];
        float *dx = (float *)slots[2] + n * dim[1];
        double along = 0;
        for (int64_t k = 0; k < dim[1]; k++) {
            along += (double)y[k] * (double)dy[k];
        }
        for (int64_t k = 0; k < dim[1]; k++) {
            dx[k] = (float)((double)y[k] * ((double)dy[k] - along));
        }
    }
}

void dl_cross_entropy_forward_ref(const dl_op *op, void *const *slots) {
    const int64_t *dim = op->desc.slot[0].shape.dim;
    const float *p = slots[0];
    const int32_t *labels = slots[1];
    float *loss = slots[2];
    for (int64_t n = 0; n < dim[0]; n++) {
        const bool valid = labels[n] >= 0 && labels[n] < dim[1];
        loss[n] = valid ? dl_cross_entropy(p[n * dim[1] + labels[n]]) : NAN;
    }
}

void dl_cross_entropy_backward_ref(const dl_op *op, void *const *slots) {
    const int64_t *dim = op->desc.slot[0].shape.dim;
    const float *p = slots[0];
    const int32_t *labels = slots[1];
    float *dp = slots[2];
    const float scale = (float)op->desc.attr.u.loss.scale;
    for (int64_t n = 0; n < dim[0]; n++) {
        const bool valid = labels[n] >= 0 && labels[n] < dim[1];
        for (int64_t k = 0; k < dim[1]; k++) {
            const int64_t i = n * dim[1] + k;
            dp[i] = !valid ? NAN : k == labels[n] ? dl_cross_entropy_backward(p[i], scale) : 0.0f;
        }
    }
}

/* One row of the fused kind; dx and p may be NULL. */
static void softmax_cross_entropy_row(int64_t n, const float *x, int32_t label, double scale, float *loss,
                                      float *dx, float *p) {
    const row_sums sums = sums_of(n, x);
    const bool valid = label >= 0 && label < n;
    *loss = valid ? (float)(log(sums.sum) + sums.largest - (double)x[label]) : NAN;
    for (int64_t k = 0; k < n; k++) {
        const double probability = exp((double)x[k] - sums.largest) / sums.sum;
        if (p != NULL) {
            p[k] = (float)probability;
        }
        if (dx != NULL) {
            dx[k] = valid ? (float)(scale * (probability - (k == label ? 1.0 : 0.0))) : NAN;
        }
    }
}

void dl_softmax_cross_entropy_ref(const dl_op *op, void *const *slots) {
    const int64_t *dim = op->desc.slot[0].shape.dim;
    const float *x = slots[0];
    const int32_t *labels = slots[1];
    float *loss = slots[2], *dx = slots[3], *p = slots[4];
    for (int64_t n = 0; n < dim[0]; n++) {
        const int64_t row = n * dim[1];
        softmax_cross_entropy_row(dim[1], x + row, labels[n], op->desc.attr.u.loss.scale, loss + n,
                                  dx == NULL ? NULL : dx + row, p == NULL ? NULL : p + row);
    }
}

void dl_accuracy_ref(const dl_op *op, void *const *slots) {
    const int64_t *dim = op->desc.slot[0].shape.dim;
    const int32_t *labels = slots[1];
    float *correct = slots[2];
    for (int64_t n = 0; n < dim[0]; n++) {
        const float *x = (const float *)slots[0] + n * dim[1];
        int64_t best = 0;
        bool has_nan = false;
        for (int64_t k = 0; k < dim[1]; k++) {
            has_nan = has_nan || isnan(x[k]);
            best = x[k] > x[best] ? k : best;
        }
        correct[n] = !has_nan && best == labels[n] ? 1.0f : 0.0f;
    }
}
