/* Average pooling over images with the channels innermost. Padding does not count. */
#include "kernels/cpu/loops/isa.h"
#include "kernels/cpu/loops/windows.h"

#include <string.h>

static inline float share_of(const dl_window_cells *at) {
    return 1.0F / (float)((at->r_end - at->r_begin) * (at->s_end - at->s_begin));
}

/* All channels of one output. */
static void average(const dl_cpu_pooling *z, const dl_window_cells *at, const float *x, float *y) {
    const float share = share_of(at);
    for (int64_t c = 0; c < z->c; c++) {
        y[c] = 0.0F;
    }
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            const float *cell = x + dl_window_cell(z, at, r, s);
#pragma omp simd
            for (int64_t c = 0; c < z->c; c++) {
                y[c] += cell[c];
            }
        }
    }
#pragma omp simd
    for (int64_t c = 0; c < z->c; c++) {
        y[c] *= share;
    }
}

/* Adds one output's gradient to the cells of its window. */
static void spread(const dl_cpu_pooling *z, const dl_window_cells *at, const float *dy, float *dx) {
    const float share = share_of(at);
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            float *cell = dx + dl_window_cell(z, at, r, s);
#pragma omp simd
            for (int64_t c = 0; c < z->c; c++) {
                cell[c] += dy[c] * share;
            }
        }
    }
}

void DL_ISA(average_pooling2d_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                       dl_range images) {
    (void)desc;
    const dl_cpu_pooling *z = &loop->pooling;
    for (int64_t n = images.begin; n < images.end; n++) {
        const float *x = (const float *)slots[0] + n * z->h * z->w * z->c;
        float *y = (float *)slots[1] + n * z->p * z->q * z->c;
        for (int64_t i = 0; i < z->p * z->q; i++) {
            const dl_window_cells at = dl_window_at(z, i / z->q, i % z->q, false);
            average(z, &at, x, y + i * z->c);
        }
    }
}

void DL_ISA(average_pooling2d_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                        dl_range images) {
    (void)desc;
    const dl_cpu_pooling *z = &loop->pooling;
    for (int64_t n = images.begin; n < images.end; n++) {
        const float *dy = (const float *)slots[0] + n * z->p * z->q * z->c;
        float *dx = (float *)slots[1] + n * z->h * z->w * z->c;
        memset(dx, 0, (size_t)(z->h * z->w * z->c) * sizeof *dx);
        for (int64_t i = 0; i < z->p * z->q; i++) {
            const dl_window_cells at = dl_window_at(z, i / z->q, i % z->q, false);
            spread(z, &at, dy + i * z->c, dx);
        }
    }
}
