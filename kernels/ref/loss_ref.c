#include "kernels/common/loss.h"

#include "kernels/ops/sizes.h"
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
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    for (int64_t n = 0; n < rows.n; n++) {
        const float *x = (const float *)slots[0] + n * rows.k;
        float *y = (float *)slots[1] + n * rows.k;
        const row_sums sums = sums_of(rows.k, x);
        for (int64_t k = 0; k < rows.k; k++) {
            y[k] = softmax_at(&sums, x[k]);
        }
    }
}

void dl_softmax_backward_ref(const dl_op *op, void *const *slots) {
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    for (int64_t n = 0; n < rows.n; n++) {
        const float *y = (const float *)slots[0] + n * rows.k, *dy = (const float *)slots[1] + n * rows.k;
        float *dx = (float *)slots[2] + n * rows.k;
        double along = 0;
        for (int64_t k = 0; k < rows.k; k++) {
            along += (double)y[k] * (double)dy[k];
        }
        for (int64_t k = 0; k < rows.k; k++) {
            dx[k] = (float)((double)y[k] * ((double)dy[k] - along));
        }
    }
}

/* What row n of a loss or metric gives, in the precision of its slot. */
static void put_row(const dl_op *op, int slot, void *values, int64_t n, double value) {
    if (op->desc.slot[slot].dtype == DL_F64) {
        ((double *)values)[n] = value;
    } else {
        ((float *)values)[n] = (float)value;
    }
}

/* -sum of t log p over the classes; most of them have no share in the target. */
static double cross_entropy_row(int64_t n, const float *p, int32_t label, double smoothing) {
    double loss = (1.0 - smoothing) * dl_cross_entropy(p[label]);
    for (int64_t k = 0; k < n && smoothing > 0; k++) {
        loss += smoothing / (double)n * dl_cross_entropy(p[k]);
    }
    return loss;
}

void dl_cross_entropy_forward_ref(const dl_op *op, void *const *slots) {
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    const float *p = slots[0];
    const int32_t *labels = slots[1];
    for (int64_t n = 0; n < rows.n; n++) {
        double loss = labels[n] < 0 ? 0.0 : NAN;
        if (labels[n] >= 0 && labels[n] < rows.k) {
            loss = cross_entropy_row(rows.k, p + n * rows.k, labels[n], op->desc.attr.u.loss.smoothing);
        }
        put_row(op, 2, slots[2], n, loss);
    }
}

/* One row of dp; a row without a label has none, one with an impossible label is NaN, which stops the step.
 */
static void cross_entropy_backward_row(int64_t n, const float *p, int32_t label, const dl_loss_attr *attr,
                                       float *dp) {
    for (int64_t k = 0; k < n; k++) {
        const double target = dl_smoothed_target(k == label, attr->smoothing, n);
        const float nothing = label < 0 ? 0.0f : NAN;
        dp[k] = label < 0 || label >= n ? nothing
                : target > 0            ? dl_cross_entropy_backward(p[k], (float)(attr->scale * target))
                                        : 0.0f;
    }
}

void dl_cross_entropy_backward_ref(const dl_op *op, void *const *slots) {
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    const float *p = slots[0];
    const int32_t *labels = slots[1];
    float *dp = slots[2];
    const dl_loss_attr attr = dl_scaled_loss(&op->desc.attr.u.loss, slots[3]);
    for (int64_t n = 0; n < rows.n; n++) {
        cross_entropy_backward_row(rows.k, p + n * rows.k, labels[n], &attr, dp + n * rows.k);
    }
}

/* -sum of t log p, from the scores themselves: log p = x - largest - log(sum). */
static double softmax_loss(int64_t n, const float *x, int32_t label, double smoothing, const row_sums *sums) {
    double expected = (1.0 - smoothing) * (double)x[label];
    for (int64_t k = 0; k < n && smoothing > 0; k++) {
        expected += smoothing / (double)n * (double)x[k];
    }
    return log(sums->sum) + sums->largest - expected;
}

/* One row of the fused kind; dx and p may be NULL, dx may be x. Returns the loss. */
static double softmax_cross_entropy_row(int64_t n, const float *x, int32_t label, const dl_loss_attr *attr,
                                        float *dx, float *p) {
    const row_sums sums = sums_of(n, x);
    const bool valid = label >= 0 && label < n;
    const double otherwise = label < 0 ? 0.0 : NAN;
    const double loss = valid ? softmax_loss(n, x, label, attr->smoothing, &sums) : otherwise;
    for (int64_t k = 0; k < n; k++) {
        const double probability = exp((double)x[k] - sums.largest) / sums.sum;
        if (p != NULL) {
            p[k] = (float)probability;
        }
        if (dx != NULL) {
            const double target = dl_smoothed_target(k == label, attr->smoothing, n);
            dx[k] = (float)(valid ? attr->scale * (probability - target) : otherwise);
        }
    }
    return loss;
}

void dl_softmax_cross_entropy_ref(const dl_op *op, void *const *slots) {
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    const float *x = slots[0];
    const int32_t *labels = slots[1];
    float *dx = slots[3], *p = slots[4];
    const dl_loss_attr attr = dl_scaled_loss(&op->desc.attr.u.loss, slots[5]);
    for (int64_t n = 0; n < rows.n; n++) {
        const int64_t row = n * rows.k;
        const double loss = softmax_cross_entropy_row(
            rows.k, x + row, labels[n], &attr, dx == NULL ? NULL : dx + row, p == NULL ? NULL : p + row);
        put_row(op, 2, slots[2], n, loss);
    }
}

/* How many of the row stand before its element `label`: larger ones, and equal ones to the left. NaN: all. */
static int64_t rank_of(int64_t n, const float *x, int32_t label) {
    int64_t before = 0;
    for (int64_t k = 0; k < n; k++) {
        if (isnan(x[k])) {
            return n;
        }
        before += x[k] > x[label] || (x[k] == x[label] && k < label);
    }
    return before;
}

void dl_accuracy_ref(const dl_op *op, void *const *slots) {
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    const float *x = slots[0];
    const int32_t *labels = slots[1];
    for (int64_t n = 0; n < rows.n; n++) {
        const bool valid = labels[n] >= 0 && labels[n] < rows.k;
        const int64_t rank = valid ? rank_of(rows.k, x + n * rows.k, labels[n]) : rows.k;
        put_row(op, 2, slots[2], n, rank < rows.k && rank < op->desc.attr.u.accuracy.k ? 1.0 : 0.0);
    }
}

void dl_error_forward_ref(const dl_op *op, void *const *slots) {
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    const float *x = slots[0], *target = slots[1];
    for (int64_t n = 0; n < rows.n; n++) {
        double sum = 0;
        for (int64_t i = n * rows.k; i < (n + 1) * rows.k; i++) {
            sum += dl_deviation((double)x[i] - (double)target[i], op->desc.attr.u.loss.absolute);
        }
        put_row(op, 2, slots[2], n, sum / (double)rows.k);
    }
}

void dl_error_backward_ref(const dl_op *op, void *const *slots) {
    const dl_row_sizes rows = dl_row_sizes_of(&op->desc);
    const dl_loss_attr attr = dl_scaled_loss(&op->desc.attr.u.loss, slots[3]);
    const float *x = slots[0], *target = slots[1];
    float *dx = slots[2];
    const double scale = attr.scale / (double)rows.k;
    for (int64_t i = 0; i < rows.n * rows.k; i++) {
        dx[i] = (float)(scale * dl_deviation_backward((double)x[i] - (double)target[i], attr.absolute));
    }
}
