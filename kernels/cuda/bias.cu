/* Bias of products: added with the activation behind it, and its gradient, the sums of columns. */
#include "kernels/common/activation.h"
#include "kernels/common/column_sums.h"
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

cudaError_t dl_launch_bias_activation(int64_t rows, int64_t columns, dl_activation activation, const float *bias,
                                      dl_dtype dtype, void *y, cudaStream_t stream) {
    const int64_t n = rows * columns;
    switch (dtype) {
    case DL_F32:
        return dl_launch(bias_activation<float>, n, stream, columns, activation, bias, static_cast<float *>(y));
    case DL_BF16:
        return dl_launch(bias_activation<__nv_bfloat16>, n, stream, columns, activation, bias,
                         static_cast<__nv_bfloat16 *>(y));
    case DL_F16:
        return dl_launch(bias_activation<__half>, n, stream, columns, activation, bias, static_cast<__half *>(y));
    default:
        return cudaErrorInvalidValue;
    }
}

/* Run blockIdx.y of the rows, columns from blockIdx.x DL_SUM_COLUMNS on: runs[run, column]. */
template <typename T>
static __global__ void sum_runs(int64_t rows, int64_t columns, const T *x, double *runs) {
    __shared__ double part[DL_SUM_ROWS][DL_SUM_COLUMNS];
    const int64_t column = (int64_t)blockIdx.x * DL_SUM_COLUMNS + threadIdx.x;
    const int64_t end = dl_sum_run_begin(rows, gridDim.y, blockIdx.y + 1);
    double sum = 0.0;
    for (int64_t row = dl_sum_run_begin(rows, gridDim.y, blockIdx.y) + threadIdx.y; row < end && column < columns;
         row += DL_SUM_ROWS) {
        sum += (double)dl_float_of(x[row * columns + column]);
    }
    part[threadIdx.y][threadIdx.x] = sum;
    for (int half = DL_SUM_ROWS / 2; half > 0; half /= 2) {
        const int partner = dl_sum_partner((int)threadIdx.y, half);
        __syncthreads();
        if (partner >= 0) {
            part[threadIdx.y][threadIdx.x] += part[partner][threadIdx.x];
        }
    }
    if (threadIdx.y == 0 && column < columns) {
        runs[blockIdx.y * columns + column] = part[0][threadIdx.x];
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
    const dim3 grid((unsigned)((columns + DL_SUM_COLUMNS - 1) / DL_SUM_COLUMNS), (unsigned)n_runs);
    const dim3 block(DL_SUM_COLUMNS, DL_SUM_ROWS);
    sum_runs<<<grid, block, 0, stream>>>(rows, columns, static_cast<const T *>(x), runs);
    return dl_launch(add_runs, columns, stream, n_runs, const_cast<const double *>(runs), y);
}

cudaError_t dl_launch_column_sums(int64_t rows, int64_t columns, dl_dtype dtype, const void *x, float *y,
                                  double *runs, cudaStream_t stream) {
    switch (dtype) {
    case DL_F32:
        return column_sums<float>(rows, columns, x, y, runs, stream);
    case DL_BF16:
        return column_sums<__nv_bfloat16>(rows, columns, x, y, runs, stream);
    case DL_F16:
        return column_sums<__half>(rows, columns, x, y, runs, stream);
    default:
        return cudaErrorInvalidValue;
    }
}
