/* For .cu files: pairs of sums down the columns of a matrix, in a fixed order (kernels/common/column_sums.h). */
#ifndef DLTRAIN_KERNELS_CUDA_COLUMNS_CUH
#define DLTRAIN_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/common/batch_norm_image.h"
#include "kernels/common/column_sums.h"

static inline dim3 dl_column_block(int64_t columns) {
    const int width = dl_sum_width(columns);
    return dim3((unsigned)width, (unsigned)dl_sum_height(width));
}

static inline dim3 dl_column_grid(int64_t columns, int64_t n_runs, int64_t n_groups) {
    return dim3((unsigned)dl_sum_strips(columns), (unsigned)n_runs, (unsigned)n_groups);
}

/* The column of this thread. */
static __device__ __forceinline__ int64_t dl_column() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* The sum over a block's rows of threads, in its first row. Every thread of the block calls it, once. */
static __device__ __forceinline__ dl_channel_sums dl_sum_block(dl_channel_sums mine) {
    __shared__ double first[DL_SUM_THREADS], second[DL_SUM_THREADS];
    const unsigned at = threadIdx.y * blockDim.x + threadIdx.x;
    first[at] = mine.first;
    second[at] = mine.second;
    for (int half = (int)blockDim.y / 2; half > 0; half /= 2) {
        const int partner = dl_sum_partner((int)threadIdx.y, half);
        __syncthreads();
        if (partner >= 0) {
            const unsigned other = (unsigned)partner * blockDim.x + threadIdx.x;
            first[at] += first[other];
            second[at] += second[other];
        }
    }
    return {first[at], second[at]};
}

#endif
