/* Bias of products: added with the activation behind it, and its gradient, the sums of columns. */
#include "kernels/common/activation.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

template <typename T>
static __global__ void bias_activation(int64_t n, int64_t columns, dl_activation activation,
                                       const float *bias, T *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const float b = bias == NULL ? 0.0f : bias[i % columns];
        y[i] = dl_convert<T>(dl_activate(activation, dl_float_of(y[i]) + b));
    }
}

template <typename T>
static cudaError_t finish(int64_t rows, int64_t columns, dl_activation activation, const float *bias, void *y,
                          cudaStream_t stream) {
    return dl_launch(bias_activation<T>, rows * columns, stream, columns, activation, bias,
                     static_cast<T *>(y));
}

cudaError_t dl_launch_bias_activation(int64_t rows, int64_t columns, dl_activation activation,
                                      const float *bias, dl_dtype dtype, void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, finish, rows, columns, activation, bias, y, stream);
}

/* runs[run, column] */
template <typename T>
static __global__ void sum_runs(int64_t rows, int64_t columns, int64_t n_runs, const T *x, double *runs) {
    const dl_strip s = dl_strip_of(columns, n_runs);
    const int64_t end = dl_sum_run_begin(rows, n_runs, s.run + 1);
    dl_channel_sums sum = {0.0, 0.0};
    for (int64_t row = dl_sum_run_begin(rows, n_runs, s.run) + s.y; row < end && s.column < columns;
         row += s.height) {
        sum.first += (double)dl_float_of(x[row * columns + s.column]);
    }
    sum = dl_sum_block(s, sum);
    if (s.y == 0 && s.column < columns) {
        runs[s.run * columns + s.column] = sum.first;
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
    DL_LAUNCH(sum_runs<T>, dl_strip_blocks(columns, n_runs, 1), DL_SUM_THREADS, stream, rows, columns, n_runs,
              static_cast<const T *>(x), runs);
    return dl_launch(add_runs, columns, stream, n_runs, const_cast<const double *>(runs), y);
}

cudaError_t dl_launch_column_sums(int64_t rows, int64_t columns, dl_dtype dtype, const void *x, float *y,
                                  double *runs, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, column_sums, rows, columns, x, y, runs, stream);
}
