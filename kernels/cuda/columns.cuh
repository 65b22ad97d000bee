/* For .cu files: blocks over the columns of a matrix, and sums down them in a fixed order
 * (kernels/common/column_sums.h). Blocks and threads are numbered in one dimension: columns side by side
 * first, then runs of rows, then groups of runs. */
#ifndef DLTRAIN_KERNELS_CUDA_COLUMNS_CUH
#define DLTRAIN_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/common/column_sums.h"

/* Where a thread is: its column, its row of threads within the block, the run and group of its block. */
struct dl_strip {
    int64_t column, run, group;
    int width, y, height;
};

static inline unsigned dl_strip_blocks(int64_t columns, int64_t n_runs, int64_t n_groups) {
    return (unsigned)(dl_sum_strips(columns) * n_runs * n_groups);
}

static __device__ __forceinline__ dl_strip dl_strip_at(int64_t columns, int64_t n_runs, int width) {
    const int64_t strips = (columns + width - 1) / width, rest = (int64_t)blockIdx.x / strips;
    dl_strip s;
    s.column = (int64_t)blockIdx.x % strips * width + threadIdx.x % width;
    s.run = rest % n_runs;
    s.group = rest / n_runs;
    s.width = width;
    s.y = (int)threadIdx.x / width;
    s.height = dl_sum_height(width);
    return s;
}

static __device__ __forceinline__ dl_strip dl_strip_of(int64_t columns, int64_t n_runs) {
    return dl_strip_at(columns, n_runs, dl_sum_width(columns));
}

/* The sum over a block's rows of threads, in its first row. All threads of the block call it. */
static __device__ __forceinline__ double dl_sum_block(const dl_strip &s, double mine) {
    __shared__ double part[DL_SUM_THREADS];
    const int at = (int)threadIdx.x;
    part[at] = mine;
    for (int half = s.height / 2; half > 0; half /= 2) {
        const int partner = dl_sum_partner(s.y, half);
        __syncthreads();
        if (partner >= 0) {
            part[at] += part[partner * s.width + at % s.width];
        }
    }
    const double sum = part[at];
    __syncthreads(); /* the next call writes it again */
    return sum;
}

/* Blocks of DL_SUM_THREADS, in which dl_sum_of_runs adds what n_groups times some runs have of columns. */
static inline unsigned dl_runs_blocks(int64_t columns, int64_t n_groups) {
    return (unsigned)((columns + DL_SUM_RUNS_WIDTH - 1) / DL_SUM_RUNS_WIDTH * n_groups);
}

/* The sum of runs[group, run, column] over runs; whose it is comes to *where: the thread in row 0. All
 * threads of the block call it. */
static __device__ __forceinline__ double dl_sum_of_runs(int64_t columns, int64_t n_runs, const double *runs,
                                                        dl_strip *where) {
    const dl_strip s = dl_strip_at(columns, 1, DL_SUM_RUNS_WIDTH);
    double sum = 0.0;
    for (int64_t run = s.y; run < n_runs && s.column < columns; run += s.height) {
        sum += runs[(s.group * n_runs + run) * columns + s.column];
    }
    *where = s;
    return dl_sum_block(s, sum);
}

#endif
