#include "kernels/common/activation.h"
#include "kernels/ops/sizes.h"
#include "kernels/ref/ref.h"

/* Addresses of one element. */
static int64_t image_at(int64_t n, int64_t h, int64_t w, int64_t c, int64_t H, int64_t W, int64_t C) {
    return ((n * H + h) * W + w) * C + c;
}

static int64_t weight_at(const dl_conv2d_sizes *z, int64_t k, int64_t c, int64_t r, int64_t s) {
    return ((k * z->c_group + c) * z->r + r) * z->s + s;
}

/* The window of output (p, q) at filter k, times the filter. */
static double window_sum(const dl_conv2d_sizes *z, const dl_conv_attr *conv, const float *x, const float *w,
                         int64_t n, int64_t p, int64_t q, int64_t k) {
    const int64_t first_channel = k / z->k_group * z->c_group;
    double sum = 0;
    for (int64_t r = 0; r < z->r; r++) {
        const int64_t h = p * conv->stride[0] - conv->padding[0] + r;
        for (int64_t s = 0; s < z->s && h >= 0 && h < z->h; s++) {
            const int64_t v = q * conv->stride[1] - conv->padding[2] + s;
            for (int64_t c = 0; c < z->c_group && v >= 0 && v < z->w; c++) {
                sum += (double)x[image_at(n, h, v, first_channel + c, z->h, z->w, z->c)] *
                       (double)w[weight_at(z, k, c, r, s)];
            }
        }
    }
    return sum;
}

void dl_conv2d_forward_ref(const dl_op *op, void *const *slots) {
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(&op->desc);
    const float *x = slots[0], *w = slots[1], *b = slots[2];
    float *y = slots[3];
    for (int64_t n = 0; n < z.n; n++) {
        for (int64_t p = 0; p < z.p; p++) {
            for (int64_t q = 0; q < z.q; q++) {
                for (int64_t k = 0; k < z.k; k++) {
                    const double sum = window_sum(&z, &op->desc.attr.u.conv, x, w, n, p, q, k);
                    const double biased = b == NULL ? sum : sum + (double)b[k];
                    y[image_at(n, p, q, k, z.p, z.q, z.k)] =
                        dl_activate(op->desc.attr.activation, (float)biased);
                }
            }
        }
    }
}

/* Row or column of the output whose window has image position `at` at its cell `cell`, or -1. */
static int64_t window_of(int64_t at, int64_t cell, int64_t before, int64_t stride, int64_t n_windows) {
    const int64_t start = at + before - cell;
    return start >= 0 && start % stride == 0 && start / stride < n_windows ? start / stride : -1;
}

/* All outputs that saw image cell (h, v) at channel c, times the weight they saw it with. */
static double cell_sum(const dl_conv2d_sizes *z, const dl_conv_attr *conv, const float *dy, const float *w,
                       int64_t n, int64_t h, int64_t v, int64_t c) {
    const int64_t first_filter = c / z->c_group * z->k_group;
    double sum = 0;
    for (int64_t r = 0; r < z->r; r++) {
        const int64_t p = window_of(h, r, conv->padding[0], conv->stride[0], z->p);
        for (int64_t s = 0; s < z->s && p >= 0; s++) {
            const int64_t q = window_of(v, s, conv->padding[2], conv->stride[1], z->q);
            for (int64_t k = first_filter; k < first_filter + z->k_group && q >= 0; k++) {
                sum += (double)dy[image_at(n, p, q, k, z->p, z->q, z->k)] *
                       (double)w[weight_at(z, k, c % z->c_group, r, s)];
            }
        }
    }
    return sum;
}

void dl_conv2d_backward_data_ref(const dl_op *op, void *const *slots) {
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(&op->desc);
    const float *dy = slots[0], *w = slots[1];
    float *dx = slots[2];
    for (int64_t n = 0; n < z.n; n++) {
        for (int64_t h = 0; h < z.h; h++) {
            for (int64_t v = 0; v < z.w; v++) {
                for (int64_t c = 0; c < z.c; c++) {
                    dx[image_at(n, h, v, c, z.h, z.w, z.c)] =
                        (float)cell_sum(&z, &op->desc.attr.u.conv, dy, w, n, h, v, c);
                }
            }
        }
    }
}

/* The gradient of weight (k, c, r, s): over all outputs, dy times the cell that the weight saw. */
static double weight_sum(const dl_conv2d_sizes *z, const dl_conv_attr *conv, const float *x, const float *dy,
                         int64_t k, int64_t c, int64_t r, int64_t s) {
    const int64_t channel = k / z->k_group * z->c_group + c;
    double sum = 0;
    for (int64_t n = 0; n < z->n; n++) {
        for (int64_t p = 0; p < z->p; p++) {
            const int64_t h = p * conv->stride[0] - conv->padding[0] + r;
            for (int64_t q = 0; q < z->q && h >= 0 && h < z->h; q++) {
                const int64_t v = q * conv->stride[1] - conv->padding[2] + s;
                if (v >= 0 && v < z->w) {
                    sum += (double)dy[image_at(n, p, q, k, z->p, z->q, z->k)] *
                           (double)x[image_at(n, h, v, channel, z->h, z->w, z->c)];
                }
            }
        }
    }
    return sum;
}

static void bias_gradient(const dl_conv2d_sizes *z, const float *dy, float *db) {
    for (int64_t k = 0; k < z->k; k++) {
        double sum = 0;
        for (int64_t i = 0; i < z->n * z->p * z->q; i++) {
            sum += (double)dy[i * z->k + k];
        }
        db[k] = (float)sum;
    }
}

void dl_conv2d_backward_weights_ref(const dl_op *op, void *const *slots) {
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(&op->desc);
    const float *x = slots[0], *dy = slots[1];
    float *dw = slots[2];
    for (int64_t k = 0; k < z.k; k++) {
        for (int64_t c = 0; c < z.c_group; c++) {
            for (int64_t r = 0; r < z.r; r++) {
                for (int64_t s = 0; s < z.s; s++) {
                    dw[weight_at(&z, k, c, r, s)] =
                        (float)weight_sum(&z, &op->desc.attr.u.conv, x, dy, k, c, r, s);
                }
            }
        }
    }
    if (slots[3] != NULL) {
        bias_gradient(&z, dy, slots[3]);
    }
}
