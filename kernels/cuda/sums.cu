/* Sums of fixed order (kernels/common/reduction.h): the same bits in every run. */
#include "kernels/common/update.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

enum { THREADS = DL_GRID_THREADS };

/* One block: the values are one for each row of a batch, a few thousand. */
static __global__ void sum_samples(int64_t n, const float *narrow, const double *wide, bool on_grid,
                                   bool accumulate, double *total) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
        sum += dl_sample_to_sum(on_grid, wide != NULL ? wide[i] : (double)narrow[i]);
    }
    sum = dl_block_sum<THREADS>(sum);
    if (threadIdx.x == 0) {
        *total = accumulate ? *total + sum : sum;
    }
}

cudaError_t dl_launch_sum_samples(int64_t n, const float *narrow, const double *wide, bool on_grid,
                                  bool accumulate, double *total, cudaStream_t stream) {
    DL_LAUNCH(sum_samples, 1, THREADS, stream, n, narrow, wide, on_grid, accumulate, total);
    return cudaPeekAtLastError();
}

static __global__ void tree_sum_f32(int64_t n, int64_t k, const float *x, float *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        y[i] = dl_tree_sum_f32(x + i, k, n);
    }
}

cudaError_t dl_launch_tree_sum_f32(int64_t n, int64_t k, const float *x, float *y, cudaStream_t stream) {
    return dl_launch(tree_sum_f32, n, stream, k, x, y);
}

static __global__ void tree_sum_f64(int64_t n, int64_t k, const double *x, double *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        y[i] = dl_tree_sum_f64(x + i, k, n);
    }
}

cudaError_t dl_launch_tree_sum_f64(int64_t n, int64_t k, const double *x, double *y, cudaStream_t stream) {
    return dl_launch(tree_sum_f64, n, stream, k, x, y);
}

/* Several threads may write the word; all of them write 1. */
static __global__ void check_finite(int64_t n, const float *x, int32_t *control) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        if (!isfinite(x[i])) {
            control[DL_CONTROL_NONFINITE] = 1;
        }
    }
}

cudaError_t dl_launch_check_finite(int64_t n, const float *x, int32_t *control, cudaStream_t stream) {
    return dl_launch(check_finite, n, stream, x, control);
}

/* A block of threads for each block of DL_SQUARES_BLOCK elements. */
static __global__ void sum_squares(int64_t n_sums, int64_t n, const float *x, double *sums,
                                   int32_t *control) {
    for (int64_t b = blockIdx.x; b < n_sums; b += gridDim.x) {
        const int64_t first = b * DL_SQUARES_BLOCK;
        const int64_t end = first + DL_SQUARES_BLOCK < n ? first + DL_SQUARES_BLOCK : n;
        double sum = 0;
        for (int64_t i = first + threadIdx.x; i < end; i += THREADS) {
            sum += (double)x[i] * (double)x[i];
        }
        sum = dl_block_sum<THREADS>(sum);
        if (threadIdx.x == 0) {
            sums[b] = sum;
            if (!isfinite(sum)) { /* squares of floats do not overflow a double */
                control[DL_CONTROL_NONFINITE] = 1;
            }
        }
    }
}

cudaError_t dl_launch_sum_squares(int64_t n, const float *x, double *sums, int32_t *control,
                                  cudaStream_t stream) {
    return dl_launch_rows<THREADS>(sum_squares, (n + DL_SQUARES_BLOCK - 1) / DL_SQUARES_BLOCK, stream, n, x,
                                   sums, control);
}

static __global__ void gradient_norm(int64_t n, dl_clip_attr clip, const double *sums, const double *totals,
                                     double *norm) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
        sum += sums[i];
    }
    sum = dl_block_sum<THREADS>(sum);
    if (threadIdx.x == 0) {
        norm[DL_NORM_VALUE] = sqrt(sum) * dl_mean_factor(clip.capacity, totals);
        norm[DL_NORM_FACTOR] = dl_clip_factor(norm[DL_NORM_VALUE], clip.limit);
    }
}

cudaError_t dl_launch_gradient_norm(int64_t n, const dl_clip_attr *clip, const double *sums,
                                    const double *totals, double *norm, cudaStream_t stream) {
    DL_LAUNCH(gradient_norm, 1, THREADS, stream, n, *clip, sums, totals, norm);
    return cudaPeekAtLastError();
}
