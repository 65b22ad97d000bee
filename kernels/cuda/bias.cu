/* Bias of products: added with the activation behind it, and its gradient, the sums of columns. */
#include "kernels/common/activation.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"

/* A thread stays with N columns and reads their bias once. */
template <typename T, int N>
static __global__ void bias_activation(int64_t rows, int64_t columns, int64_t n_runs,
                                       dl_activation activation, const float *bias, T *y) {
    const int64_t packs = columns / N;
    const dl_strip s = dl_strip_of(packs, n_runs);
    const int64_t end = dl_sum_run_begin(rows, n_runs, s.run + 1);
    if (s.column >= packs) {
        return;
    }
    const dl_pack<float, N> b = bias == NULL ? dl_pack<float, N>{} : dl_load<N>(bias, s.column);
    for (int64_t row = dl_sum_run_begin(rows, n_runs, s.run) + s.y; row < end; row += s.height) {
        dl_pack<T, N> values = dl_load<N>(y, row * packs + s.column);
#pragma unroll
        for (int k = 0; k < N; k++) {
            values.at[k] = dl_rounded<T>(dl_activate(activation, dl_float_of(values.at[k]) + b.at[k]));
        }
        dl_store<N>(y, row * packs + s.column, values);
    }
}

template <typename T, int N>
static cudaError_t finish_packs(int64_t rows, int64_t columns, dl_activation activation, const float *bias,
                                T *y, cudaStream_t stream) {
    const int64_t n_runs = dl_map_runs(rows, columns / N);
    const auto kernel = bias_activation<T, N>;
    if (rows * columns > 0) {
        DL_LAUNCH(kernel, dl_strip_blocks(columns / N, n_runs, 1), DL_SUM_THREADS, stream, rows, columns,
                  n_runs, activation, bias, y);
    }
    return cudaPeekAtLastError();
}

template <typename T>
static cudaError_t finish(int64_t rows, int64_t columns, dl_activation activation, const float *bias, void *y,
                          cudaStream_t stream) {
    T *of = static_cast<T *>(y);
    return dl_are_aligned(of, bias) && dl_pack_of_channels(columns, sizeof(T)) > 1
               ? finish_packs<T, DL_PACK_BYTES / sizeof(T)>(rows, columns, activation, bias, of, stream)
               : finish_packs<T, 1>(rows, columns, activation, bias, of, stream);
}

cudaError_t dl_launch_bias_activation(int64_t rows, int64_t columns, dl_activation activation,
                                      const float *bias, dl_dtype dtype, void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, finish, rows, columns, activation, bias, y, stream);
}

/* runs[run, column] */
template <typename T, int N>
static __global__ void sum_runs(int64_t rows, int64_t columns, int64_t n_runs, const T *x, double *runs) {
    const int64_t packs = columns / N;
    const dl_strip s = dl_strip_of(packs, n_runs);
    const int64_t end = dl_sum_run_begin(rows, n_runs, s.run + 1);
    double sum[N] = {0.0};
    for (int64_t row = dl_sum_run_begin(rows, n_runs, s.run) + s.y; row < end && s.column < packs;
         row += s.height) {
        const dl_pack<T, N> values = dl_load<N>(x, row * packs + s.column);
#pragma unroll
        for (int k = 0; k < N; k++) {
            sum[k] += (double)dl_float_of(values.at[k]);
        }
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        const double of_block = dl_sum_block(s, sum[k]);
        if (s.y == 0 && s.column < packs) {
            runs[s.run * columns + s.column * N + k] = of_block;
        }
    }
}

static __global__ void add_runs(int64_t columns, int64_t n_runs, const double *runs, float *y) {
    dl_strip s;
    const double sum = dl_sum_of_runs(columns, n_runs, runs, &s);
    if (s.y == 0 && s.column < columns) {
        y[s.column] = (float)sum;
    }
}

template <typename T, int N>
static cudaError_t sum_packs(int64_t rows, int64_t columns, int64_t n_runs, const T *x, double *runs,
                             cudaStream_t stream) {
    const auto kernel = sum_runs<T, N>;
    DL_LAUNCH(kernel, dl_strip_blocks(columns / N, n_runs, 1), DL_SUM_THREADS, stream, rows, columns, n_runs,
              x, runs);
    return cudaPeekAtLastError();
}

template <typename T>
static cudaError_t column_sums(int64_t rows, int64_t columns, const void *x, float *y, double *runs,
                               cudaStream_t stream) {
    const int64_t n_runs = dl_sum_runs(rows, columns, sizeof(T));
    const T *of = static_cast<const T *>(x);
    const cudaError_t code =
        dl_are_aligned(of) && dl_pack_of_channels(columns, sizeof(T)) > 1
            ? sum_packs<T, DL_PACK_BYTES / sizeof(T)>(rows, columns, n_runs, of, runs, stream)
            : sum_packs<T, 1>(rows, columns, n_runs, of, runs, stream);
    if (code == cudaSuccess) {
        DL_LAUNCH(add_runs, dl_runs_blocks(columns, 1), DL_SUM_THREADS, stream, columns, n_runs,
                  const_cast<const double *>(runs), y);
    }
    return code == cudaSuccess ? cudaPeekAtLastError() : code;
}

cudaError_t dl_launch_column_sums(int64_t rows, int64_t columns, dl_dtype dtype, const void *x, float *y,
                                  double *runs, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, column_sums, rows, columns, x, y, runs, stream);
}
