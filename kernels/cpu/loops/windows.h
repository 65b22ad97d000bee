/* Windows over images with the channels innermost, for maximum and average pooling. */
#ifndef DLTRAIN_KERNELS_CPU_LOOPS_WINDOWS_H
#define DLTRAIN_KERNELS_CPU_LOOPS_WINDOWS_H

#include "kernels/cpu/loops/loops.h"

/* The cells of a window that lie inside the image. */
typedef struct dl_window_cells {
    int64_t r_begin, r_end, s_begin, s_end;
    int64_t corner; /* offset of cell (0, 0), perhaps outside the image */
} dl_window_cells;

/* `whole`: no window of this operation leaves the image. */
static inline dl_window_cells dl_window_at(const dl_cpu_pooling *z, int64_t p, int64_t q, bool whole) {
    const int64_t top = p * z->stride[0] - z->padding[0];
    const int64_t left = q * z->stride[1] - z->padding[1];
    dl_window_cells at = {.r_end = z->r, .s_end = z->s, .corner = (top * z->w + left) * z->c};
    if (!whole) {
        at.r_begin = top < 0 ? -top : 0;
        at.s_begin = left < 0 ? -left : 0;
        at.r_end = top + z->r > z->h ? z->h - top : z->r;
        at.s_end = left + z->s > z->w ? z->w - left : z->s;
    }
    return at;
}

static inline int64_t dl_window_cell(const dl_cpu_pooling *z, const dl_window_cells *at, int64_t r,
                                     int64_t s) {
    return at->corner + (r * z->w + s) * z->c;
}

static inline bool dl_no_window_leaves(const dl_cpu_pooling *z) {
    return z->padding[0] == 0 && z->padding[1] == 0 && (z->p - 1) * z->stride[0] + z->r <= z->h &&
           (z->q - 1) * z->stride[1] + z->s <= z->w;
}

#endif
