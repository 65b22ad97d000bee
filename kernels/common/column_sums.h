/* How blocks of GPU threads divide a matrix of which columns are channels, and how they sum its columns:
 * always the same additions in the same order, whatever the GPU. A thread has one column, or a pack of them
 * (packs.h): "columns" below are those of threads. Rows are dealt to blocks in runs, within a block to its
 * rows of threads in turns; what the rows of threads have is added in a tree. Then the same once more: what
 * the runs have is dealt to the rows of threads of one block. */
#ifndef DLTRAIN_KERNELS_COMMON_COLUMN_SUMS_H
#define DLTRAIN_KERNELS_COMMON_COLUMN_SUMS_H

#include "kernels/common/packs.h"

enum { DL_SUM_THREADS = 256, DL_SUM_MAX_WIDTH = 32 };

/* Blocks that fill the largest GPU; a run so long that writing and reading its sum, in float64, costs less
 * than an eighth of reading it. */
enum { DL_SUM_MAX_BLOCKS = 1024, DL_SUM_LEAST_ROWS = 128 };

/* Where sums of runs are added: columns side by side of a block, 64 bytes of float64. */
enum { DL_SUM_RUNS_WIDTH = 8 };

/* Rows of a thread where nothing is summed. */
enum { DL_MAP_ROWS = 8 };

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

/* Number of runs that n_rows of so many channels are dealt in, elements of that size. */
DL_SHARED int64_t dl_sum_runs(int64_t n_rows, int64_t channels, size_t element_bytes) {
    const int64_t strips = dl_sum_strips(channels / dl_pack_of_channels(channels, element_bytes)),
                  runs = (n_rows + DL_SUM_LEAST_ROWS - 1) / DL_SUM_LEAST_ROWS,
                  most = (DL_SUM_MAX_BLOCKS + strips - 1) / (strips < 1 ? 1 : strips);
    return runs < 1 || most < 1 ? 1 : runs > most ? most : runs;
}

/* The room that their sums take. */
DL_SHARED size_t dl_sum_bytes(int64_t n_rows, int64_t channels, size_t element_bytes) {
    return (size_t)(dl_sum_runs(n_rows, channels, element_bytes) * channels) * sizeof(double);
}

/* First row of run i of so many; that of run `runs` is the end. */
DL_SHARED int64_t dl_sum_run_begin(int64_t n_rows, int64_t runs, int64_t i) {
    return n_rows / runs * i + (i < n_rows % runs ? i : n_rows % runs);
}

/* Runs where nothing is summed: a thread has a few rows, for which it reads what belongs to its column once.
 */
DL_SHARED int64_t dl_map_runs(int64_t n_rows, int64_t columns) {
    const int64_t rows = (int64_t)dl_sum_height(dl_sum_width(columns)) * DL_MAP_ROWS;
    return (n_rows + rows - 1) / rows;
}

/* In the tree over a block's rows of threads, with `half` of them left: whom thread row y adds, -1: nobody.
 */
DL_SHARED int dl_sum_partner(int y, int half) {
    return y < half ? y + half : -1;
}

#endif
