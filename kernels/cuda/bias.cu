/* Bias of products: added with the activation behind it, and its gradient, the sums of columns. */
#include "kernels/common/activation.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

template <typename T>
static __global__ void bias_activation(int64_t n, int64_t columns, dl_activation activation, const float *bias,
                                       T *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const float b = bias == NULL ? 0.0f : bias[i % columns];
        y[i] = dl_convert<T>(dl_activate(activation, dl_float_of(y[i]) + b));
    }
}

template <typename T>
static cudaError_t finish(int64_t rows, int64_t columns, dl_activation activation, const float *bias, void *y,
                          cudaStream_t stream) {
    return dl_launch(bias_activation<T>, rows * columns, stream, columns, activation, bias, static_cast<T *>(y));
}

cudaError_t dl_launch_bias_activation(int64_t rows, int64_t columns, dl_activation activation, const float *bias,
                                      dl_dtype dtype, void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, finish, rows, columns, activation, bias, y, stream);
}

/* Run blockIdx.y of the rows: runs[run, column]. */
template <typename T>
static __global__ void sum_runs(int64_t rows, int64_t columns, const T *x, double *runs) {
    const int64_t column = dl_column(), end = dl_sum_run_begin(rows, gridDim.y, blockIdx.y + 1);
    dl_channel_sums sum = {0.0, 0.0};
    for (int64_t row = dl_sum_run_begin(rows, gridDim.y, blockIdx.y) + threadIdx.y; row < end && column < columns;
         row += blockDim.y) {
        sum.first += (double)dl_float_of(x[row * columns + column]);
    }
    sum = dl_sum_block(sum);
    if (threadIdx.y == 0 && column < columns) {
        runs[blockIdx.y * columns + column] = sum.first;
    }
}

static __global__ void add_runs(int64_t columns, int64_t n_runs, const double *runs, float *y) {
    for (int64_t column = dl_first(); column < columns; column += dl_stride()) {
        double sum = 0.0;
        for (int64_t run = 0; run < n_runs; run++) {
            sum += runs[run * columns + column];
        }
        y[column] = (float)sum;
    }
}

template <typename T>
static cudaError_t column_sums(int64_t rows, int64_t columns, const void *x, float *y, double *runs,
                               cudaStream_t stream) {
    const int64_t n_runs = dl_sum_runs(rows);
    sum_runs<<<dl_column_grid(columns, n_runs, 1), dl_column_block(columns), 0, stream>>>(
        rows, columns, static_cast<const T *>(x), runs);
    return dl_launch(add_runs, columns, stream, n_runs, const_cast<const double *>(runs), y);
}

cudaError_t dl_launch_column_sums(int64_t rows, int64_t columns, dl_dtype dtype, const void *x, float *y,
                                  double *runs, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, column_sums, rows, columns, x, y, runs, stream);
}
