/* How blocks of GPU threads divide a matrix of which columns are channels, and how they sum its columns:
 * always the same additions in the same order, whatever the GPU. Rows are dealt to blocks in runs, within a
 * block to its rows of threads in turns; what the rows of threads have is added in a tree, what the blocks
 * have in their order. */
#ifndef DLTRAIN_KERNELS_COMMON_COLUMN_SUMS_H
#define DLTRAIN_KERNELS_COMMON_COLUMN_SUMS_H

#include "kernels/common/pointwise.h"

#include <stdint.h>

enum { DL_SUM_THREADS = 256, DL_SUM_MAX_WIDTH = 32, DL_SUM_MAX_RUNS = 256, DL_SUM_LEAST_ROWS = 64 };

/* Threads of a block side by side: a warp, whose values lie side by side too, or the power of two above fewer
 * columns. */
DL_SHARED int dl_sum_width(int64_t columns) {
    int width = 1;
    while (width < DL_SUM_MAX_WIDTH && width < columns) {
        width *= 2;
    }
    return width;
}

/* Rows of threads of a block of that width: a power of two. */
DL_SHARED int dl_sum_height(int width) {
    return DL_SUM_THREADS / width;
}

/* Blocks side by side. */
DL_SHARED int64_t dl_sum_strips(int64_t columns) {
    const int width = dl_sum_width(columns);
    return (columns + width - 1) / width;
}

/* Number of runs that n_rows are dealt in. */
DL_SHARED int64_t dl_sum_runs(int64_t n_rows) {
    const int64_t runs = (n_rows + DL_SUM_LEAST_ROWS - 1) / DL_SUM_LEAST_ROWS, most = DL_SUM_MAX_RUNS;
    return runs < 1 ? 1 : runs > most ? most : runs;
}

/* First row of run i of so many; that of run `runs` is the end. */
DL_SHARED int64_t dl_sum_run_begin(int64_t n_rows, int64_t runs, int64_t i) {
    return n_rows / runs * i + (i < n_rows % runs ? i : n_rows % runs);
}

/* In the tree over a block's rows of threads, with `half` of them left: whom thread row y adds, -1: nobody.
 */
DL_SHARED int dl_sum_partner(int y, int half) {
    return y < half ? y + half : -1;
}

#endif
