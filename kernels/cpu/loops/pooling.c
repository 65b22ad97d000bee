/* Maximum pooling over images with the channels innermost. The saved index of an output is the place of its
 * maximum in the window: row times window width plus column. */
#include "kernels/cpu/loops/isa.h"

#include <string.h>

enum { LANES = DL_CPU_LANES };

/* The cells of a window that lie inside the image. */
typedef struct window {
    int64_t top, left; /* of the whole window, may be negative */
    int64_t r_begin, r_end, s_begin, s_end;
} window;

static window window_at(const dl_cpu_pooling *z, int64_t p, int64_t q) {
    window at = {.top = p * z->stride[0] - z->padding[0], .left = q * z->stride[1] - z->padding[1]};
    at.r_begin = at.top < 0 ? -at.top : 0;
    at.s_begin = at.left < 0 ? -at.left : 0;
    at.r_end = at.top + z->r > z->h ? z->h - at.top : z->r;
    at.s_end = at.left + z->s > z->w ? z->w - at.left : z->s;
    return at;
}

static int64_t cell_offset(const dl_cpu_pooling *z, const window *at, int64_t r, int64_t s) {
    return ((at->top + r) * z->w + at->left + s) * z->c;
}

/* LANES channels of one output; x points at the image's first of them. A NaN wins and stays. */
static inline void maximum_of_lanes(const dl_cpu_pooling *z, const window *at, const float *x, float *y,
                                    uint8_t *index) {
    float best[LANES];
    int32_t place[LANES];
    const int32_t first = (int32_t)(at->r_begin * z->s + at->s_begin);
    memcpy(best, x + cell_offset(z, at, at->r_begin, at->s_begin), sizeof best);
    for (int j = 0; j < LANES; j++) {
        place[j] = first;
    }
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            const float *cell = x + cell_offset(z, at, r, s);
            const int32_t code = (int32_t)(r * z->s + s);
#pragma omp simd
            for (int j = 0; j < LANES; j++) {
                const int better = (cell[j] > best[j]) | (cell[j] != cell[j]);
                best[j] = better ? cell[j] : best[j];
                place[j] = better ? code : place[j];
            }
        }
    }
    memcpy(y, best, sizeof best);
    if (index != NULL) {
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
            index[j] = (uint8_t)place[j];
        }
    }
}

static void maximum_of_channel(const dl_cpu_pooling *z, const window *at, const float *x, float *y,
                               uint8_t *index) {
    float best = x[cell_offset(z, at, at->r_begin, at->s_begin)];
    int64_t place = at->r_begin * z->s + at->s_begin;
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            const float value = x[cell_offset(z, at, r, s)];
            if (value > best || value != value) {
                best = value;
                place = r * z->s + s;
            }
        }
    }
    *y = best;
    if (index != NULL) {
        *index = (uint8_t)place;
    }
}

static void forward_image(const dl_cpu_pooling *z, const float *x, float *y, uint8_t *index) {
    for (int64_t p = 0; p < z->p; p++) {
        for (int64_t q = 0; q < z->q; q++) {
            const window at = window_at(z, p, q);
            const int64_t out = (p * z->q + q) * z->c;
            uint8_t *place = index != NULL ? index + out : NULL;
            int64_t c = 0;
            for (; c + LANES <= z->c; c += LANES) {
                maximum_of_lanes(z, &at, x + c, y + out + c, place != NULL ? place + c : NULL);
            }
            for (; c < z->c; c++) {
                maximum_of_channel(z, &at, x + c, y + out + c, place != NULL ? place + c : NULL);
            }
        }
    }
}

void DL_ISA(max_pooling2d_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                   dl_range items) {
    const dl_cpu_pooling *z = &loop->pooling;
    const int64_t in = z->h * z->w * z->c;
    const int64_t out = z->p * z->q * z->c;
    uint8_t *index = desc->slot[2].present ? slots[2] : NULL;
    for (int64_t n = items.begin; n < items.end; n++) {
        forward_image(z, (const float *)slots[0] + n * in, (float *)slots[1] + n * out,
                      index != NULL ? index + n * out : NULL);
    }
}

/* Gradients of one image. */
typedef struct image {
    const float *dy, *y; /* y NULL: no activation to go back through */
    const uint8_t *index;
    float *dx;
} image;

/* `add` when windows overlap: cells then get several contributions. */
static inline void spread_lanes(const dl_cpu_pooling *z, const window *at, const image *m, int64_t out,
                                int64_t c, bool add) {
    float g[LANES];
    int32_t place[LANES];
#pragma omp simd
    for (int j = 0; j < LANES; j++) {
        g[j] = m->dy[out + c + j];
        place[j] = m->index[out + c + j];
    }
    if (m->y != NULL) {
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
            g[j] = m->y[out + c + j] > 0 ? g[j] : 0;
        }
    }
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            float *cell = m->dx + cell_offset(z, at, r, s) + c;
            const int32_t code = (int32_t)(r * z->s + s);
            if (add) {
#pragma omp simd
                for (int j = 0; j < LANES; j++) {
                    cell[j] += place[j] == code ? g[j] : 0;
                }
            } else {
#pragma omp simd
                for (int j = 0; j < LANES; j++) {
                    cell[j] = place[j] == code ? g[j] : 0;
                }
            }
        }
    }
}

/* The cells were cleared before. */
static void spread_channel(const dl_cpu_pooling *z, const window *at, const image *m, int64_t out,
                           int64_t c) {
    const int64_t place = m->index[out + c];
    const bool passes = m->y == NULL || m->y[out + c] > 0;
    m->dx[cell_offset(z, at, place / z->s, place % z->s) + c] += passes ? m->dy[out + c] : 0;
}

static void backward_image(const dl_cpu_pooling *z, const image *m) {
    const bool overlap = z->stride[0] < z->r || z->stride[1] < z->s;
    const bool covers = z->stride[0] == z->r && z->stride[1] == z->s && z->p * z->r - z->padding[0] >= z->h &&
                        z->q * z->s - z->padding[1] >= z->w;
    if (overlap || !covers || z->c % LANES != 0) {
        memset(m->dx, 0, (size_t)(z->h * z->w * z->c) * sizeof *m->dx);
    }
    for (int64_t p = 0; p < z->p; p++) {
        for (int64_t q = 0; q < z->q; q++) {
            const window at = window_at(z, p, q);
            const int64_t out = (p * z->q + q) * z->c;
            int64_t c = 0;
            for (; c + LANES <= z->c; c += LANES) {
                spread_lanes(z, &at, m, out, c, overlap);
            }
            for (; c < z->c; c++) {
                spread_channel(z, &at, m, out, c);
            }
        }
    }
}

void DL_ISA(max_pooling2d_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                    dl_range items) {
    const dl_cpu_pooling *z = &loop->pooling;
    const int64_t in = z->h * z->w * z->c;
    const int64_t out = z->p * z->q * z->c;
    const bool masks = desc->attr.activation == DL_ACT_RELU;
    for (int64_t n = items.begin; n < items.end; n++) {
        const image m = {
            .dy = (const float *)slots[0] + n * out,
            .index = (const uint8_t *)slots[1] + n * out,
            .y = masks ? (const float *)slots[2] + n * out : NULL,
            .dx = (float *)slots[3] + n * in,
        };
        backward_image(z, &m);
    }
}
