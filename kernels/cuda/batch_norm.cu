/* Batch normalization (kernels/ops/batch_norm_info.c). Images are matrices of as many columns as channels; a
 * block has a strip of them, so that a thread stays with its channel and reads its statistics once. Groups of
 * samples are groups of rows. */
#include "kernels/common/batch_norm_image.h"
#include "kernels/common/update.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

/* Rows of group g: all have z.group * z.cells, the last one perhaps fewer. */
static __device__ __forceinline__ int64_t first_row(const dl_batch_norm_sizes &z, int64_t g) {
    return g * z.group * z.cells;
}

static __host__ __device__ __forceinline__ int64_t rows_of(const dl_batch_norm_sizes &z, int64_t g) {
    const int64_t samples = z.n - g * z.group;
    return (samples < z.group ? samples : z.group) * z.cells;
}

/* --- sums --- */

/* What is summed of each value: x and its square; dy and dy times the normalized x. */
template <typename T> struct moments_of {
    const T *x;

    __device__ void begin(int64_t, int64_t, int64_t) {
    }
    __device__ void add(int64_t at, dl_channel_sums *sums) const {
        dl_channel_add_moments(dl_float_of(x[at]), sums);
    }
};

template <typename T> struct gradients_of {
    const T *x, *dy;
    const float *stat;
    dl_activation activation;
    dl_channel_stat s;

    __device__ void begin(int64_t channels, int64_t group, int64_t channel) {
        s = dl_channel_stat_at(stat, channels, group, channel);
    }
    __device__ void add(int64_t at, dl_channel_sums *sums) const {
        dl_channel_add_gradients(s, activation, dl_float_of(x[at]), dl_float_of(dy[at]), sums);
    }
};

/* runs[group, run, 2, channel] */
template <typename Values>
static __global__ void sum_runs(dl_batch_norm_sizes z, int64_t n_runs, Values values, double *runs) {
    const dl_strip s = dl_strip_of(z.channels, n_runs);
    const int64_t rows = rows_of(z, s.group), begin = dl_sum_run_begin(rows, n_runs, s.run),
                  end = dl_sum_run_begin(rows, n_runs, s.run + 1);
    dl_channel_sums sum = {0.0, 0.0};
    if (s.column < z.channels) {
        values.begin(z.channels, s.group, s.column);
        for (int64_t row = begin + s.y; row < end; row += s.height) {
            values.add((first_row(z, s.group) + row) * z.channels + s.column, &sum);
        }
    }
    sum = dl_sum_block(s, sum);
    if (s.y == 0 && s.column < z.channels) {
        double *at = runs + (s.group * n_runs + s.run) * 2 * z.channels + s.column;
        at[0] = sum.first;
        at[z.channels] = sum.second;
    }
}

/* out[group, 2, channel], groups `stride` apart; behind them, where there is room, the number of values. */
static __global__ void add_runs(int64_t n, dl_batch_norm_sizes z, int64_t n_runs, const double *runs,
                                int64_t stride, double *out) {
    const int64_t width = 2 * z.channels;
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const int64_t group = i / width, column = i % width;
        double sum = 0.0;
        for (int64_t run = 0; run < n_runs; run++) {
            sum += runs[(group * n_runs + run) * width + column];
        }
        out[group * stride + column] = sum;
        if (column == 0 && stride > width) {
            out[group * stride + width] = (double)rows_of(z, group);
        }
    }
}

template <typename Values>
static cudaError_t sum(const dl_batch_norm_sizes *z, int64_t n_runs, Values values, double *runs,
                       int64_t stride, double *out, cudaStream_t stream) {
    if (z->groups == 0) {
        return cudaSuccess;
    }
    DL_LAUNCH(sum_runs<Values>, dl_strip_blocks(z->channels, n_runs, z->groups), DL_SUM_THREADS, stream, *z,
              n_runs, values, runs);
    return dl_launch(add_runs, z->groups * 2 * z->channels, stream, *z, n_runs,
                     const_cast<const double *>(runs), stride, out);
}

template <typename T>
static cudaError_t sums(const dl_batch_norm_sizes *z, int64_t n_runs, const void *x, double *runs,
                        double *out, cudaStream_t stream) {
    return sum(z, n_runs, moments_of<T>{static_cast<const T *>(x)}, runs, 2 * z->channels + 1, out, stream);
}

cudaError_t dl_launch_batch_norm_sums(const dl_batch_norm_sizes *z, int64_t n_runs, dl_dtype dtype,
                                      const void *x, double *runs, double *out, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, sums, z, n_runs, x, runs, out, stream);
}

template <typename T>
static cudaError_t backward_sums(const dl_batch_norm_sizes *z, int64_t n_runs, dl_activation activation,
                                 const void *dy, const void *x, const float *stat, double *runs,
                                 double *dstat, cudaStream_t stream) {
    const gradients_of<T> values = {
        static_cast<const T *>(x), static_cast<const T *>(dy), stat, activation, {}};
    return sum(z, n_runs, values, runs, 2 * z->channels, dstat, stream);
}

cudaError_t dl_launch_batch_norm_backward_sums(const dl_batch_norm_sizes *z, int64_t n_runs,
                                               dl_activation activation, dl_dtype dtype, const void *dy,
                                               const void *x, const float *stat, double *runs, double *dstat,
                                               cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, backward_sums, z, n_runs, activation, dy, x, stat, runs, dstat, stream);
}

/* --- images --- */

template <typename T>
static __global__ void forward(dl_batch_norm_sizes z, int64_t n_runs, dl_activation activation, const T *x,
                               const float *stat, const T *residual, T *y) {
    const dl_strip s = dl_strip_of(z.channels, n_runs);
    const int64_t rows = rows_of(z, s.group), end = dl_sum_run_begin(rows, n_runs, s.run + 1);
    if (s.column >= z.channels) {
        return;
    }
    const dl_channel_stat of = dl_channel_stat_at(stat, z.channels, s.group, s.column);
    for (int64_t row = dl_sum_run_begin(rows, n_runs, s.run) + s.y; row < end; row += s.height) {
        const int64_t at = (first_row(z, s.group) + row) * z.channels + s.column;
        const float other = residual == NULL ? 0.0f : dl_float_of(residual[at]);
        y[at] = dl_convert<T>(dl_channel_forward(of, activation, dl_float_of(x[at]), other));
    }
}

template <typename T>
static __global__ void backward_data(dl_batch_norm_sizes z, int64_t n_runs, dl_activation activation,
                                     const T *dy, const T *x, const float *stat, const double *dstat, T *dx) {
    const dl_strip s = dl_strip_of(z.channels, n_runs);
    const int64_t rows = rows_of(z, s.group), end = dl_sum_run_begin(rows, n_runs, s.run + 1);
    if (s.column >= z.channels) {
        return;
    }
    const dl_channel_stat of = dl_channel_stat_at(stat, z.channels, s.group, s.column);
    const double *sums = dstat == NULL ? NULL : dstat + 2 * s.group * z.channels + s.column;
    const float mean = sums == NULL ? 0.0f : (float)(sums[0] * (double)of.inverse_count),
                mean_along = sums == NULL ? 0.0f : (float)(sums[z.channels] * (double)of.inverse_count);
    for (int64_t row = dl_sum_run_begin(rows, n_runs, s.run) + s.y; row < end; row += s.height) {
        const int64_t at = (first_row(z, s.group) + row) * z.channels + s.column;
        dx[at] = dl_convert<T>(
            dl_channel_backward(of, activation, dl_float_of(x[at]), dl_float_of(dy[at]), mean, mean_along));
    }
}

/* A thread has some tens of rows: it reads its channel's statistics once for them. */
static int64_t image_runs(const dl_batch_norm_sizes *z) {
    enum { ROWS_PER_THREAD = 16 };
    const int64_t rows = (int64_t)dl_sum_height(dl_sum_width(z->channels)) * ROWS_PER_THREAD;
    return (z->group * z->cells + rows - 1) / rows;
}

template <typename T>
static cudaError_t launch_forward(const dl_batch_norm_sizes *z, dl_activation activation, const void *x,
                                  const float *stat, const void *residual, void *y, cudaStream_t stream) {
    const int64_t n_runs = image_runs(z);
    DL_LAUNCH(forward<T>, dl_strip_blocks(z->channels, n_runs, z->groups), DL_SUM_THREADS, stream, *z, n_runs,
              activation, static_cast<const T *>(x), stat, static_cast<const T *>(residual),
              static_cast<T *>(y));
    return cudaPeekAtLastError();
}

cudaError_t dl_launch_batch_norm_forward(const dl_batch_norm_sizes *z, dl_activation activation,
                                         dl_dtype dtype, const void *x, const float *stat,
                                         const void *residual, void *y, cudaStream_t stream) {
    return z->n * z->cells == 0
               ? cudaSuccess
               : DL_BY_DTYPE(dtype, launch_forward, z, activation, x, stat, residual, y, stream);
}

template <typename T>
static cudaError_t launch_backward(const dl_batch_norm_sizes *z, dl_activation activation, const void *dy,
                                   const void *x, const float *stat, const double *dstat, void *dx,
                                   cudaStream_t stream) {
    const int64_t n_runs = image_runs(z);
    DL_LAUNCH(backward_data<T>, dl_strip_blocks(z->channels, n_runs, z->groups), DL_SUM_THREADS, stream, *z,
              n_runs, activation, static_cast<const T *>(dy), static_cast<const T *>(x), stat, dstat,
              static_cast<T *>(dx));
    return cudaPeekAtLastError();
}

cudaError_t dl_launch_batch_norm_backward_data(const dl_batch_norm_sizes *z, dl_activation activation,
                                               dl_dtype dtype, const void *dy, const void *x,
                                               const float *stat, const double *dstat, void *dx,
                                               cudaStream_t stream) {
    return z->n * z->cells == 0
               ? cudaSuccess
               : DL_BY_DTYPE(dtype, launch_backward, z, activation, dy, x, stat, dstat, dx, stream);
}

/* --- channels --- */

static __global__ void fold(int64_t n, int64_t channels, double epsilon, const double *sums,
                            const float *gamma, const float *beta, float *stat) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const int64_t group = i / channels, c = i % channels;
        const double *of = sums + group * (2 * channels + 1);
        const double count = of[2 * channels], inverse = count > 0.0 ? 1.0 / count : 0.0;
        dl_batch_norm_fold(dl_batch_norm_channel(of[c], of[channels + c], count), epsilon, (double)gamma[c],
                           (double)beta[c], inverse, stat + group * DL_N_STATS * channels + c, channels);
    }
}

cudaError_t dl_launch_batch_norm_statistics(const dl_batch_norm_sizes *z, double epsilon, const double *sums,
                                            const float *gamma, const float *beta, float *stat,
                                            cudaStream_t stream) {
    return dl_launch(fold, z->groups * z->channels, stream, z->channels, epsilon, sums, gamma, beta, stat);
}

static __global__ void fold_moving(int64_t n, double epsilon, const float *mean, const float *variance,
                                   const float *gamma, const float *beta, float *stat) {
    for (int64_t c = dl_first(); c < n; c += dl_stride()) {
        dl_batch_norm_fold(dl_channel_moments{(double)mean[c], (double)variance[c]}, epsilon,
                           (double)gamma[c], (double)beta[c], 0.0, stat + c, n);
    }
}

cudaError_t dl_launch_batch_norm_moving(const dl_batch_norm_sizes *z, double epsilon, const float *mean,
                                        const float *variance, const float *gamma, const float *beta,
                                        float *stat, cudaStream_t stream) {
    return dl_launch(fold_moving, z->channels, stream, epsilon, mean, variance, gamma, beta, stat);
}

static __global__ void backward_weights(int64_t n, int64_t groups, const double *dstat, float *dgamma,
                                        float *dbeta) {
    for (int64_t c = dl_first(); c < n; c += dl_stride()) {
        double beta = 0.0, gamma = 0.0;
        for (int64_t g = 0; g < groups; g++) {
            beta += dstat[2 * g * n + c];
            gamma += dstat[(2 * g + 1) * n + c];
        }
        if (dgamma != NULL) {
            dgamma[c] = (float)gamma;
        }
        if (dbeta != NULL) {
            dbeta[c] = (float)beta;
        }
    }
}

cudaError_t dl_launch_batch_norm_backward_weights(const dl_batch_norm_sizes *z, const double *dstat,
                                                  float *dgamma, float *dbeta, cudaStream_t stream) {
    return dl_launch(backward_weights, z->channels, stream, z->groups, dstat, dgamma, dbeta);
}

static __global__ void moments(int64_t n, int64_t groups, const double *sums, double *out) {
    for (int64_t c = dl_first(); c < n; c += dl_stride()) {
        for (int64_t g = 0; g < groups; g++) {
            const double *of = sums + g * (2 * n + 1), count = of[2 * n];
            const dl_channel_moments m = dl_batch_norm_channel(of[c], of[n + c], count);
            out[c] += count * m.mean;
            out[n + c] += count * m.variance;
            if (c == 0) {
                out[2 * n] += count;
            }
        }
    }
}

cudaError_t dl_launch_batch_norm_moments(const dl_batch_norm_sizes *z, const double *sums, double *out,
                                         cudaStream_t stream) {
    return dl_launch(moments, z->channels, stream, z->groups, sums, out);
}

static __global__ void commit(int64_t n, double keep, const double *moments, float *mean, float *variance,
                              const int32_t *control) {
    const double count = moments[2 * n];
    if (!dl_step_is_ok(control) || !(count > 0.0)) {
        return;
    }
    for (int64_t c = dl_first(); c < n; c += dl_stride()) {
        mean[c] = (float)(keep * (double)mean[c] + (1.0 - keep) * moments[c] / count);
        variance[c] = (float)(keep * (double)variance[c] + (1.0 - keep) * moments[n + c] / count);
    }
}

cudaError_t dl_launch_batch_norm_commit(const dl_batch_norm_sizes *z, double keep, const double *moments,
                                        float *mean, float *variance, const int32_t *control,
                                        cudaStream_t stream) {
    return dl_launch(commit, z->channels, stream, keep, moments, mean, variance, control);
}
