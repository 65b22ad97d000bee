/* Batch normalization (kernels/ops/batch_norm_info.c). Images are matrices of as many columns as channels; a
 * block has a strip of them, so that a thread stays with its N channels and reads their statistics once.
 * Groups of samples are groups of rows. */
#include "kernels/common/batch_norm_image.h"
#include "kernels/common/update.h"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"

/* Rows of group g: all have z.group * z.cells, the last one perhaps fewer. */
static __device__ __forceinline__ int64_t first_row(const dl_batch_norm_sizes &z, int64_t g) {
    return g * z.group * z.cells;
}

static __host__ __device__ __forceinline__ int64_t rows_of(const dl_batch_norm_sizes &z, int64_t g) {
    const int64_t samples = z.n - g * z.group;
    return (samples < z.group ? samples : z.group) * z.cells;
}

/* The packs of a thread: from `at` on, `step` apart, `n` of them. */
struct walk {
    int64_t at, step, n;
};

static __device__ __forceinline__ walk walk_of(const dl_batch_norm_sizes &z, const dl_strip &s,
                                               int64_t n_runs, int64_t packs) {
    const int64_t rows = rows_of(z, s.group), begin = dl_sum_run_begin(rows, n_runs, s.run) + s.y,
                  end = dl_sum_run_begin(rows, n_runs, s.run + 1);
    const bool any = s.column < packs && begin < end;
    return {(first_row(z, s.group) + begin) * packs + s.column, s.height * packs,
            any ? (end - begin + s.height - 1) / s.height : 0};
}

/* function<T, N>(arguments): N elements of 16 bytes where channels and addresses allow it, else 1. */
#define BY_PACKS(T, aligned, function, ...)                                                                  \
    ((aligned) && dl_pack_of_channels(z->channels, sizeof(T)) > 1                                            \
         ? function<T, (int)(DL_PACK_BYTES / sizeof(T))>(__VA_ARGS__)                                        \
         : function<T, 1>(__VA_ARGS__))

/* --- sums --- */

/* What is summed of each value: x and its square; dy and dy times the normalized x. */
template <typename T, int N> struct moments_of {
    const T *x;

    __device__ void begin(int64_t, int64_t, int64_t) {
    }
    __device__ void add(int64_t at, dl_channel_sums sums[N]) const {
        const dl_pack<T, N> values = dl_load<N>(x, at);
#pragma unroll
        for (int k = 0; k < N; k++) {
            dl_channel_add_moments(dl_float_of(values.at[k]), &sums[k]);
        }
    }
};

template <typename T, int N> struct gradients_of {
    const T *x, *dy;
    const float *stat;
    dl_activation activation;
    dl_channel_stat s[N];

    __device__ void begin(int64_t channels, int64_t group, int64_t channel) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            s[k] = dl_channel_stat_at(stat, channels, group, channel + k);
        }
    }
    __device__ void add(int64_t at, dl_channel_sums sums[N]) const {
        const dl_pack<T, N> values = dl_load<N>(x, at), along = dl_load<N>(dy, at);
#pragma unroll
        for (int k = 0; k < N; k++) {
            dl_channel_add_gradients(s[k], activation, dl_float_of(values.at[k]), dl_float_of(along.at[k]),
                                     &sums[k]);
        }
    }
};

/* runs[group, run, 2, channel] */
template <int N, typename Values>
static __global__ void sum_runs(dl_batch_norm_sizes z, int64_t n_runs, Values values, double *runs) {
    const int64_t packs = z.channels / N;
    const dl_strip s = dl_strip_of(packs, n_runs);
    const walk w = walk_of(z, s, n_runs, packs);
    dl_channel_sums sum[N] = {};
    if (w.n > 0) {
        values.begin(z.channels, s.group, s.column * N);
    }
    for (int64_t i = 0, at = w.at; i < w.n; i++, at += w.step) {
        values.add(at, sum);
    }
    double *out = runs + (s.group * n_runs + s.run) * 2 * z.channels + s.column * N;
#pragma unroll
    for (int k = 0; k < N; k++) {
        const double first = dl_sum_block(s, sum[k].first), second = dl_sum_block(s, sum[k].second);
        if (s.y == 0 && s.column < packs) {
            out[k] = first;
            out[z.channels + k] = second;
        }
    }
}

/* out[group, 2, channel], groups `stride` apart; behind them, where there is room, the number of values. */
static __global__ void add_runs(dl_batch_norm_sizes z, int64_t n_runs, const double *runs, int64_t stride,
                                double *out) {
    const int64_t width = 2 * z.channels;
    dl_strip s;
    const double sum = dl_sum_of_runs(width, n_runs, runs, &s);
    if (s.y == 0 && s.column < width) {
        out[s.group * stride + s.column] = sum;
        if (s.column == 0 && stride > width) {
            out[s.group * stride + width] = (double)rows_of(z, s.group);
        }
    }
}

template <int N, typename Values>
static cudaError_t sum(const dl_batch_norm_sizes *z, int64_t n_runs, Values values, double *runs,
                       int64_t stride, double *out, cudaStream_t stream) {
    const auto kernel = sum_runs<N, Values>;
    if (z->groups == 0) {
        return cudaSuccess;
    }
    DL_LAUNCH(kernel, dl_strip_blocks(z->channels / N, n_runs, z->groups), DL_SUM_THREADS, stream, *z, n_runs,
              values, runs);
    DL_LAUNCH(add_runs, dl_runs_blocks(2 * z->channels, z->groups), DL_SUM_THREADS, stream, *z, n_runs,
              const_cast<const double *>(runs), stride, out);
    return cudaPeekAtLastError();
}

template <typename T, int N>
static cudaError_t sum_moments(const dl_batch_norm_sizes *z, int64_t n_runs, const T *x, double *runs,
                               double *out, cudaStream_t stream) {
    return sum<N>(z, n_runs, moments_of<T, N>{x}, runs, 2 * z->channels + 1, out, stream);
}

template <typename T>
static cudaError_t sums(const dl_batch_norm_sizes *z, int64_t n_runs, const void *x, double *runs,
                        double *out, cudaStream_t stream) {
    const T *of = static_cast<const T *>(x);
    return BY_PACKS(T, dl_are_aligned(of), sum_moments, z, n_runs, of, runs, out, stream);
}

cudaError_t dl_launch_batch_norm_sums(const dl_batch_norm_sizes *z, int64_t n_runs, dl_dtype dtype,
                                      const void *x, double *runs, double *out, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, sums, z, n_runs, x, runs, out, stream);
}

template <typename T, int N>
static cudaError_t sum_gradients(const dl_batch_norm_sizes *z, int64_t n_runs, dl_activation activation,
                                 const T *dy, const T *x, const float *stat, double *runs, double *dstat,
                                 cudaStream_t stream) {
    const gradients_of<T, N> values = {x, dy, stat, activation, {}};
    return sum<N>(z, n_runs, values, runs, 2 * z->channels, dstat, stream);
}

template <typename T>
static cudaError_t backward_sums(const dl_batch_norm_sizes *z, int64_t n_runs, dl_activation activation,
                                 const void *dy, const void *x, const float *stat, double *runs,
                                 double *dstat, cudaStream_t stream) {
    const T *along = static_cast<const T *>(dy), *of = static_cast<const T *>(x);
    return BY_PACKS(T, dl_are_aligned(along, of), sum_gradients, z, n_runs, activation, along, of, stat, runs,
                    dstat, stream);
}

cudaError_t dl_launch_batch_norm_backward_sums(const dl_batch_norm_sizes *z, int64_t n_runs,
                                               dl_activation activation, dl_dtype dtype, const void *dy,
                                               const void *x, const float *stat, double *runs, double *dstat,
                                               cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, backward_sums, z, n_runs, activation, dy, x, stat, runs, dstat, stream);
}

/* --- images --- */

/* The rows of a thread, with an activation that is known when this is compiled: else it would be asked for at
 * every value. */
template <dl_activation ACTIVATION, typename T, int N>
static __device__ __forceinline__ void forward_rows(const walk &w, const dl_channel_stat of[N], const T *x,
                                                    const T *residual, T *y) {
    for (int64_t i = 0, at = w.at; i < w.n; i++, at += w.step) {
        const dl_pack<T, N> values = dl_load<N>(x, at),
                            others = residual == NULL ? dl_pack<T, N>{} : dl_load<N>(residual, at);
        dl_pack<T, N> result;
#pragma unroll
        for (int k = 0; k < N; k++) {
            result.at[k] = dl_rounded<T>(
                dl_channel_forward(of[k], ACTIVATION, dl_float_of(values.at[k]), dl_float_of(others.at[k])));
        }
        dl_store<N>(y, at, result);
    }
}

template <typename T, int N>
static __global__ void forward(dl_batch_norm_sizes z, int64_t n_runs, dl_activation activation, const T *x,
                               const float *stat, const T *residual, T *y) {
    const int64_t packs = z.channels / N;
    const dl_strip s = dl_strip_of(packs, n_runs);
    const walk w = walk_of(z, s, n_runs, packs);
    dl_channel_stat of[N];
#pragma unroll
    for (int k = 0; k < N && w.n > 0; k++) {
        of[k] = dl_channel_stat_at(stat, z.channels, s.group, s.column * N + k);
    }
    switch (activation) {
    case DL_ACT_RELU:
        return forward_rows<DL_ACT_RELU, T, N>(w, of, x, residual, y);
    case DL_ACT_TANH:
        return forward_rows<DL_ACT_TANH, T, N>(w, of, x, residual, y);
    case DL_ACT_SIGMOID:
        return forward_rows<DL_ACT_SIGMOID, T, N>(w, of, x, residual, y);
    default:
        return forward_rows<DL_ACT_NONE, T, N>(w, of, x, residual, y);
    }
}

template <typename T, int N>
static __global__ void backward_data(dl_batch_norm_sizes z, int64_t n_runs, dl_activation activation,
                                     const T *dy, const T *x, const float *stat, const double *dstat, T *dx) {
    const int64_t packs = z.channels / N;
    const dl_strip s = dl_strip_of(packs, n_runs);
    const walk w = walk_of(z, s, n_runs, packs);
    dl_channel_stat of[N];
    float mean[N] = {}, mean_along[N] = {};
#pragma unroll
    for (int k = 0; k < N && w.n > 0; k++) {
        const int64_t channel = s.column * N + k;
        of[k] = dl_channel_stat_at(stat, z.channels, s.group, channel);
        if (dstat != NULL) {
            const double *sums = dstat + 2 * s.group * z.channels + channel;
            mean[k] = (float)(sums[0] * (double)of[k].inverse_count);
            mean_along[k] = (float)(sums[z.channels] * (double)of[k].inverse_count);
        }
    }
    for (int64_t i = 0, at = w.at; i < w.n; i++, at += w.step) {
        const dl_pack<T, N> values = dl_load<N>(x, at), along = dl_load<N>(dy, at);
        dl_pack<T, N> result;
#pragma unroll
        for (int k = 0; k < N; k++) {
            result.at[k] =
                dl_rounded<T>(dl_channel_backward(of[k], activation, dl_float_of(values.at[k]),
                                                  dl_float_of(along.at[k]), mean[k], mean_along[k]));
        }
        dl_store<N>(dx, at, result);
    }
}

template <typename T, int N>
static cudaError_t forward_packs(const dl_batch_norm_sizes *z, dl_activation activation, const T *x,
                                 const float *stat, const T *residual, T *y, cudaStream_t stream) {
    const int64_t packs = z->channels / N, n_runs = dl_map_runs(z->group * z->cells, packs);
    const auto kernel = forward<T, N>;
    DL_LAUNCH(kernel, dl_strip_blocks(packs, n_runs, z->groups), DL_SUM_THREADS, stream, *z, n_runs,
              activation, x, stat, residual, y);
    return cudaPeekAtLastError();
}

template <typename T>
static cudaError_t launch_forward(const dl_batch_norm_sizes *z, dl_activation activation, const void *x,
                                  const float *stat, const void *residual, void *y, cudaStream_t stream) {
    const T *of = static_cast<const T *>(x), *other = static_cast<const T *>(residual);
    T *to = static_cast<T *>(y);
    return BY_PACKS(T, dl_are_aligned(of, other, to), forward_packs, z, activation, of, stat, other, to,
                    stream);
}

cudaError_t dl_launch_batch_norm_forward(const dl_batch_norm_sizes *z, dl_activation activation,
                                         dl_dtype dtype, const void *x, const float *stat,
                                         const void *residual, void *y, cudaStream_t stream) {
    return z->n * z->cells == 0
               ? cudaSuccess
               : DL_BY_DTYPE(dtype, launch_forward, z, activation, x, stat, residual, y, stream);
}

template <typename T, int N>
static cudaError_t backward_packs(const dl_batch_norm_sizes *z, dl_activation activation, const T *dy,
                                  const T *x, const float *stat, const double *dstat, T *dx,
                                  cudaStream_t stream) {
    const int64_t packs = z->channels / N, n_runs = dl_map_runs(z->group * z->cells, packs);
    const auto kernel = backward_data<T, N>;
    DL_LAUNCH(kernel, dl_strip_blocks(packs, n_runs, z->groups), DL_SUM_THREADS, stream, *z, n_runs,
              activation, dy, x, stat, dstat, dx);
    return cudaPeekAtLastError();
}

template <typename T>
static cudaError_t launch_backward(const dl_batch_norm_sizes *z, dl_activation activation, const void *dy,
                                   const void *x, const float *stat, const double *dstat, void *dx,
                                   cudaStream_t stream) {
    const T *along = static_cast<const T *>(dy), *of = static_cast<const T *>(x);
    T *to = static_cast<T *>(dx);
    return BY_PACKS(T, dl_are_aligned(along, of, to), backward_packs, z, activation, along, of, stat, dstat,
                    to, stream);
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
