/* For .cu files: blocks over the columns of a matrix, and pairs of sums down them in a fixed order
 * (kernels/common/ column_sums.h). Blocks and threads are numbered in one dimension: columns side by side
 * first, then runs of rows, then groups of runs. */
#ifndef DLTRAIN_KERNELS_CUDA_COLUMNS_CUH
#define DLTRAIN_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/common/batch_norm_image.h"
#include "kernels/common/column_sums.h"

/* Where a thread is: its column, its row of threads within the block, the run and group of its block. */
struct dl_strip {
    int64_t column, run, group;
    int width, y, height;
};

static inline unsigned dl_strip_blocks(int64_t columns, int64_t n_runs, int64_t n_groups) {
    return (unsigned)(dl_sum_strips(columns) * n_runs * n_groups);
}

static __device__ __forceinline__ dl_strip dl_strip_of(int64_t columns, int64_t n_runs) {
    const int width = dl_sum_width(columns);
    const int64_t strips = dl_sum_strips(columns), rest = (int64_t)blockIdx.x / strips;
    dl_strip s;
    s.column = (int64_t)blockIdx.x % strips * width + threadIdx.x % width;
    s.run = rest % n_runs;
    s.group = rest / n_runs;
    s.width = width;
    s.y = (int)threadIdx.x / width;
    s.height = dl_sum_height(width);
    return s;
}

/* The sum over a block's rows of threads, in its first row. Every thread of the block calls it, once. */
static __device__ __forceinline__ dl_channel_sums dl_sum_block(const dl_strip &s, dl_channel_sums mine) {
    __shared__ double first[DL_SUM_THREADS], second[DL_SUM_THREADS];
    const int at = (int)threadIdx.x;
    first[at] = mine.first;
    second[at] = mine.second;
    for (int half = s.height / 2; half > 0; half /= 2) {
        const int partner = dl_sum_partner(s.y, half);
        __syncthreads();
        if (partner >= 0) {
            const int other = partner * s.width + at % s.width;
            first[at] += first[other];
            second[at] += second[other];
        }
    }
    return {first[at], second[at]};
}

#endif
