/* Which cells a pooling window holds, and which windows hold a cell: images [N, H, W, C] in, [N, P, Q, C]
 * out. */
#ifndef DLTRAIN_KERNELS_COMMON_POOLING_WINDOWS_H
#define DLTRAIN_KERNELS_COMMON_POOLING_WINDOWS_H

#include "kernels/common/pointwise.h"
#include "kernels/op.h"
#include "kernels/ops/sizes.h"

/* An element of an image tensor: sample, row, column, channel. */
typedef struct dl_cell {
    int64_t n, h, w, c;
} dl_cell;

DL_SHARED dl_cell dl_cell_of(int64_t i, int64_t rows, int64_t columns, int64_t channels) {
    dl_cell cell;
    cell.c = i % channels;
    cell.w = i / channels % columns;
    cell.h = i / (channels * columns) % rows;
    cell.n = i / (channels * columns * rows);
    return cell;
}

DL_SHARED int64_t dl_cell_index(dl_cell cell, int64_t rows, int64_t columns, int64_t channels) {
    return ((cell.n * rows + cell.h) * columns + cell.w) * channels + cell.c;
}

/* Position in x of cell (r, s) of the window of output o (o.h, o.w: its place among the outputs), or -1 in
 * the padding.
 */
DL_SHARED int64_t dl_window_cell(const dl_pooling2d_sizes *z, const dl_pool_attr *pool, dl_cell o, int64_t r,
                                 int64_t s) {
    dl_cell cell = o;
    cell.h = o.h * pool->stride[0] - pool->padding[0] + r;
    cell.w = o.w * pool->stride[1] - pool->padding[2] + s;
    return cell.h >= 0 && cell.h < z->h && cell.w >= 0 && cell.w < z->w
               ? dl_cell_index(cell, z->h, z->w, z->c)
               : -1;
}

/* Does max pooling take x, met after `largest`? The first of equals; the first NaN wins over numbers, as in
 * PyTorch. */
DL_SHARED bool dl_is_larger(float x, float largest) {
    return x > largest || (x != x && largest == largest);
}

/* Number of the cell that max pooling takes. */
DL_SHARED int64_t dl_window_winner(const dl_pooling2d_sizes *z, const dl_pool_attr *pool, const float *x,
                                   dl_cell o) {
    int64_t best = -1;
    float largest = 0;
    for (int64_t cell = 0; cell < z->r * z->s; cell++) {
        const int64_t at = dl_window_cell(z, pool, o, cell / z->s, cell % z->s);
        if (at >= 0 && (best < 0 || dl_is_larger(x[at], largest))) {
            best = cell;
            largest = x[at];
        }
    }
    return best;
}

/* How many of `size` cells the window at `position` holds, in one dimension. */
DL_SHARED int64_t dl_window_inside(int64_t position, int64_t window, int64_t stride, int64_t before,
                                   int64_t size) {
    const int64_t first = position * stride - before, end = first + window;
    return (end < size ? end : size) - (first > 0 ? first : 0);
}

/* Cells of an output's window that are in the image. */
DL_SHARED int64_t dl_window_cells(const dl_pooling2d_sizes *z, const dl_pool_attr *pool, dl_cell o) {
    return dl_window_inside(o.h, z->r, pool->stride[0], pool->padding[0], z->h) *
           dl_window_inside(o.w, z->s, pool->stride[1], pool->padding[2], z->w);
}

/* The windows that hold cell `at`, in one dimension: positions first .. end - 1 of `positions`. */
typedef struct dl_window_range {
    int64_t first, end;
} dl_window_range;

DL_SHARED dl_window_range dl_windows_over(int64_t at, int64_t window, int64_t stride, int64_t before,
                                          int64_t positions) {
    const int64_t from_left = at + before,
                  behind = from_left - window; /* the last cell that is too far left */
    dl_window_range range;
    range.first = behind < 0 ? 0 : behind / stride + 1;
    range.end = from_left / stride + 1;
    range.end = range.end < positions ? range.end : positions;
    return range;
}

#endif
