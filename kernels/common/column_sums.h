/* How the columns of a matrix are summed by blocks of GPU threads: always the same additions in the same
 * order, whatever the GPU. Rows are dealt to blocks in runs, within a block to its rows of threads in turns;
 * what the rows of threads have is added in a tree, what the blocks have in their order. */
#ifndef DLTRAIN_KERNELS_COMMON_COLUMN_SUMS_H
#define DLTRAIN_KERNELS_COMMON_COLUMN_SUMS_H

#include "kernels/common/pointwise.h"

#include <stdint.h>

/* A block is DL_SUM_COLUMNS threads wide (a warp: what lies side by side is read at once), DL_SUM_ROWS high.
 */
enum { DL_SUM_COLUMNS = 32, DL_SUM_ROWS = 8, DL_SUM_MAX_RUNS = 256, DL_SUM_LEAST_ROWS = 64 };

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
