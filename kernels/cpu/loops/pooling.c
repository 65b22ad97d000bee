/* Maximum pooling over images with the channels innermost. The saved index of an output is the place of its
 * maximum in the window: row times window width plus column. */
#include "kernels/cpu/loops/isa.h"
#include "kernels/cpu/loops/lanes.h"
#include "kernels/cpu/loops/windows.h"

enum { LANES = DL_CPU_LANES };

/* LANES channels of one output. The first NaN wins over numbers. */
static inline void maximum_of_lanes(const dl_cpu_pooling *z, const dl_window_cells *at, const float *x,
                                    float *y, uint8_t *index) {
    dl_lanes best = dl_lanes_load(x + dl_window_cell(z, at, at->r_begin, at->s_begin));
    dl_lanes_int place = (dl_lanes_int){0} + (int32_t)(at->r_begin * z->s + at->s_begin);
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            const dl_lanes cell = dl_lanes_load(x + dl_window_cell(z, at, r, s));
            dl_lanes_keep_larger(cell, (int32_t)(r * z->s + s), &best, &place);
        }
    }
    dl_lanes_store(y, best);
    if (index != NULL) {
        dl_lanes_store_bytes(index, place);
    }
}

static void maximum_of_channel(const dl_cpu_pooling *z, const dl_window_cells *at, const float *x, float *y,
                               uint8_t *index) {
    float best = x[dl_window_cell(z, at, at->r_begin, at->s_begin)];
    int64_t place = at->r_begin * z->s + at->s_begin;
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            const float value = x[dl_window_cell(z, at, r, s)];
            if (value > best || (value != value && best == best)) {
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

/* Inlined with constant window sizes where they are common. */
static inline __attribute__((always_inline)) void forward_image(const dl_cpu_pooling *z, const float *x,
                                                                float *y, uint8_t *index, bool whole) {
    for (int64_t p = 0; p < z->p; p++) {
        for (int64_t q = 0; q < z->q; q++) {
            const dl_window_cells at = dl_window_at(z, p, q, whole);
            const int64_t out = (p * z->q + q) * z->c;
            int64_t c = 0;
            for (; c + LANES <= z->c; c += LANES) {
                maximum_of_lanes(z, &at, x + c, y + out + c, index != NULL ? index + out + c : NULL);
            }
            for (; c < z->c; c++) {
                maximum_of_channel(z, &at, x + c, y + out + c, index != NULL ? index + out + c : NULL);
            }
        }
    }
}

static inline __attribute__((always_inline)) void forward_images(const dl_cpu_pooling *z, void *const *slots,
                                                                 uint8_t *index, dl_range items, bool whole) {
    const int64_t in = z->h * z->w * z->c;
    const int64_t out = z->p * z->q * z->c;
    for (int64_t n = items.begin; n < items.end; n++) {
        forward_image(z, (const float *)slots[0] + n * in, (float *)slots[1] + n * out,
                      index != NULL ? index + n * out : NULL, whole);
    }
}

void DL_ISA(max_pooling2d_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                   dl_range items) {
    dl_cpu_pooling z = loop->pooling;
    uint8_t *index = desc->slot[2].present ? slots[2] : NULL;
    if (!dl_no_window_leaves(&z)) {
        forward_images(&z, slots, index, items, false);
    } else if (z.r == 2 && z.s == 2 && z.c == LANES) {
        z.r = 2; /* constants for the compiler */
        z.s = 2;
        z.c = LANES;
        forward_images(&z, slots, index, items, true);
    } else if (z.r == 2 && z.s == 2) {
        z.r = 2;
        z.s = 2;
        forward_images(&z, slots, index, items, true);
    } else {
        forward_images(&z, slots, index, items, true);
    }
}

/* Gradients of one image. */
typedef struct image {
    const float *dy, *y; /* y NULL: no activation to go back through */
    const uint8_t *index;
    float *dx;
} image;

/* LANES channels of one output; `add` when windows overlap, so that cells get several contributions. */
static inline void spread_lanes(const dl_cpu_pooling *z, const dl_window_cells *at, const image *m,
                                int64_t out, int64_t c, bool add) {
    const dl_lanes_int place = dl_lanes_load_bytes(m->index + out + c);
    dl_lanes g = dl_lanes_load(m->dy + out + c);
    if (m->y != NULL) {
        g = dl_lanes_where(dl_lanes_load(m->y + out + c) > (dl_lanes){0}, g);
    }
    for (int64_t r = at->r_begin; r < at->r_end; r++) {
        for (int64_t s = at->s_begin; s < at->s_end; s++) {
            float *cell = m->dx + dl_window_cell(z, at, r, s) + c;
            const dl_lanes won = dl_lanes_where(place == (dl_lanes_int){0} + (int32_t)(r * z->s + s), g);
            dl_lanes_store(cell, add ? dl_lanes_load(cell) + won : won);
        }
    }
}

/* The cells were cleared before. */
static void spread_channel(const dl_cpu_pooling *z, const dl_window_cells *at, const image *m, int64_t out,
                           int64_t c) {
    const int64_t place = m->index[out + c];
    const bool passes = m->y == NULL || m->y[out + c] > 0;
    m->dx[dl_window_cell(z, at, place / z->s, place % z->s) + c] += passes ? m->dy[out + c] : 0;
}

static inline __attribute__((always_inline)) void backward_image(const dl_cpu_pooling *z, const image *m,
                                                                 bool whole, bool add) {
    for (int64_t p = 0; p < z->p; p++) {
        for (int64_t q = 0; q < z->q; q++) {
            const dl_window_cells at = dl_window_at(z, p, q, whole);
            const int64_t out = (p * z->q + q) * z->c;
            int64_t c = 0;
            for (; c + LANES <= z->c; c += LANES) {
                spread_lanes(z, &at, m, out, c, add);
            }
            for (; c < z->c; c++) {
                spread_channel(z, &at, m, out, c);
            }
        }
    }
}

/* Whether every cell is in exactly one window, so that nothing has to be cleared. */
static bool windows_tile(const dl_cpu_pooling *z) {
    return z->stride[0] == z->r && z->stride[1] == z->s && z->p * z->r - z->padding[0] >= z->h &&
           z->q * z->s - z->padding[1] >= z->w && z->c % LANES == 0;
}

static inline __attribute__((always_inline)) void backward_images(const dl_cpu_pooling *z, void *const *slots,
                                                                  bool masks, dl_range items, bool whole,
                                                                  bool add) {
    const int64_t in = z->h * z->w * z->c;
    const int64_t out = z->p * z->q * z->c;
    const bool clear = !windows_tile(z);
    for (int64_t n = items.begin; n < items.end; n++) {
        const image m = {
            .dy = (const float *)slots[0] + n * out,
            .index = (const uint8_t *)slots[1] + n * out,
            .y = masks ? (const float *)slots[2] + n * out : NULL,
            .dx = (float *)slots[3] + n * in,
        };
        if (clear) {
            memset(m.dx, 0, (size_t)in * sizeof *m.dx);
        }
        backward_image(z, &m, whole, add);
    }
}

void DL_ISA(max_pooling2d_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                    dl_range items) {
    dl_cpu_pooling z = loop->pooling;
    const bool masks = desc->attr.activation == DL_ACT_RELU;
    const bool overlap = z.stride[0] < z.r || z.stride[1] < z.s;
    if (overlap || !dl_no_window_leaves(&z)) {
        backward_images(&z, slots, masks, items, false, overlap);
    } else if (z.r == 2 && z.s == 2 && z.c == LANES) {
        z.r = 2; /* constants for the compiler */
        z.s = 2;
        z.c = LANES;
        backward_images(&z, slots, masks, items, true, false);
    } else if (z.r == 2 && z.s == 2) {
        z.r = 2;
        z.s = 2;
        backward_images(&z, slots, masks, items, true, false);
    } else {
        backward_images(&z, slots, masks, items, true, false);
    }
}
