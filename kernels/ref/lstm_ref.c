#include "kernels/common/lstm.h"

#include "kernels/ops/sizes.h"
#include "kernels/ref/ref.h"

#include <string.h>

/* What comes before position t of sample n: row t - 1 of its sequence, `first` (row n) at the start, NULL for
 * zeros. */
static const float *row_before(dl_lstm_sizes s, const float *sequence, const float *first, int64_t n,
                               int64_t t) {
    if (t > 0) {
        return sequence + (n * s.t + t - 1) * s.h;
    }
    return first == NULL ? NULL : first + n * s.h;
}

/* z[j] + sum over k of h[k] w_hh[j,k]; h NULL: zeros. */
static float gate_sum(int64_t h_size, const float *z, const float *h, const float *w_hh, int64_t j) {
    double sum = (double)z[j];
    for (int64_t k = 0; k < h_size && h != NULL; k++) {
        sum += (double)h[k] * (double)w_hh[j * h_size + k];
    }
    return (float)sum;
}

/* One position of one sample. gates may be z: a unit's four sums are read before its gates are written. */
static void forward_row(int64_t h, const float *z, const float *w_hh, const float *h_before,
                        const float *c_before, float *gates, float *c, float *y) {
    for (int64_t k = 0; k < h; k++) {
        const dl_lstm_gates sums = {gate_sum(h, z, h_before, w_hh, k), gate_sum(h, z, h_before, w_hh, h + k),
                                    gate_sum(h, z, h_before, w_hh, 2 * h + k),
                                    gate_sum(h, z, h_before, w_hh, 3 * h + k)};
        const dl_lstm_gates a = dl_lstm_activate(sums);
        c[k] = dl_lstm_cell(a, c_before == NULL ? 0.0f : c_before[k]);
        y[k] = a.o * dl_tanh(c[k]);
        if (gates != NULL) {
            gates[k] = a.i;
            gates[h + k] = a.f;
            gates[2 * h + k] = a.g;
            gates[3 * h + k] = a.o;
        }
    }
}

void dl_lstm_forward_ref(const dl_op *op, void *const *slots) {
    const dl_lstm_sizes s = dl_lstm_sizes_of(&op->desc);
    const float *z = slots[0], *w_hh = slots[1], *h0 = slots[2], *c0 = slots[3];
    float *y = slots[4], *hn = slots[5], *cn = slots[6], *gates = slots[7], *cells = slots[8];
    for (int64_t n = 0; n < s.n; n++) {
        for (int64_t t = 0; t < s.t; t++) {
            const int64_t row = n * s.t + t;
            forward_row(s.h, z + row * 4 * s.h, w_hh, row_before(s, y, h0, n, t),
                        row_before(s, cells, c0, n, t), gates == NULL ? NULL : gates + row * 4 * s.h,
                        cells + row * s.h, y + row * s.h);
        }
        const int64_t last = (n + 1) * s.t - 1;
        if (hn != NULL) {
            memcpy(hn + n * s.h, y + last * s.h, (size_t)s.h * sizeof *hn);
        }
        if (cn != NULL) {
            memcpy(cn + n * s.h, cells + last * s.h, (size_t)s.h * sizeof *cn);
        }
    }
}

/* What unit k's output is given by the sums of the next position. */
static double from_next(int64_t h, const float *dz_next, const float *w_hh, int64_t k) {
    double sum = 0;
    for (int64_t j = 0; j < 4 * h && dz_next != NULL; j++) {
        sum += (double)dz_next[j] * (double)w_hh[j * h + k];
    }
    return sum;
}

void dl_lstm_backward_data_ref(const dl_op *op, void *const *slots) {
    const dl_lstm_sizes s = dl_lstm_sizes_of(&op->desc);
    const float *gates = slots[0], *cells = slots[1], *w_hh = slots[2], *c0 = slots[3], *dy = slots[4];
    float *dz = slots[5], *dc = slots[6]; /* the workspace: [h] */
    for (int64_t n = 0; n < s.n; n++) {
        memset(dc, 0, (size_t)s.h * sizeof *dc);
        for (int64_t t = s.t - 1; t >= 0; t--) {
            const int64_t row = n * s.t + t;
            const float *a = gates + row * 4 * s.h, *c_before = row_before(s, cells, c0, n, t);
            float *d = dz + row * 4 * s.h; /* may be a */
            for (int64_t k = 0; k < s.h; k++) {
                const float dh = (float)((double)dy[row * s.h + k] +
                                         from_next(s.h, t + 1 < s.t ? d + 4 * s.h : NULL, w_hh, k));
                const dl_lstm_gates activated = {a[k], a[s.h + k], a[2 * s.h + k], a[3 * s.h + k]};
                const dl_lstm_gates sums = dl_lstm_backward(activated, c_before == NULL ? 0.0f : c_before[k],
                                                            cells[row * s.h + k], dh, dc + k);
                d[k] = sums.i;
                d[s.h + k] = sums.f;
                d[2 * s.h + k] = sums.g;
                d[3 * s.h + k] = sums.o;
            }
        }
    }
}

void dl_lstm_backward_weights_ref(const dl_op *op, void *const *slots) {
    const dl_lstm_sizes s = dl_lstm_sizes_of(&op->desc);
    const float *y = slots[0], *h0 = slots[1], *dz = slots[2];
    float *dw = slots[3];
    for (int64_t j = 0; j < 4 * s.h; j++) {
        for (int64_t k = 0; k < s.h; k++) {
            double sum = 0;
            for (int64_t row = 0; row < s.n * s.t; row++) {
                const float *h = row_before(s, y, h0, row / s.t, row % s.t);
                sum += h == NULL ? 0.0 : (double)dz[row * 4 * s.h + j] * (double)h[k];
            }
            dw[j * s.h + k] = (float)sum;
        }
    }
}

size_t dl_lstm_backward_data_ref_workspace(const dl_op_desc *desc) {
    return (size_t)dl_lstm_sizes_of(desc).h * sizeof(float);
}
