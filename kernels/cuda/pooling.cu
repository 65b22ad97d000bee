/* Pooling, NHWC: a thread for N channels of each output, or, backward, of each input, which gathers from the
 * windows that hold it; no two threads write one element, so that sums have one order. Neighbouring threads
 * have neighbouring channels. */
#include "kernels/common/activation.h"
#include "kernels/common/pooling_windows.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"

/* The same image with packs for channels: cells of it are numbers of packs. */
template <int N> static __device__ __forceinline__ dl_pooling2d_sizes in_packs(const dl_pooling2d_sizes &z) {
    dl_pooling2d_sizes of = z;
    of.c /= N;
    return of;
}

/* kernel<T, N> with a thread for each pack of `cells` cells. */
#define LAUNCH(T, aligned, kernel, cells, ...)                                                               \
    ((aligned) && dl_pack_of_channels(sizes->c, sizeof(T)) > 1                                               \
         ? dl_launch(kernel<T, (int)(DL_PACK_BYTES / sizeof(T))>,                                            \
                     (cells) * (sizes->c / (int64_t)(DL_PACK_BYTES / sizeof(T))), stream, *sizes, *pool,     \
                     __VA_ARGS__)                                                                            \
         : dl_launch(kernel<T, 1>, (cells)*sizes->c, stream, *sizes, *pool, __VA_ARGS__))

/* --- maxima --- */

template <typename T, int N>
static __global__ void max_forward(int64_t n, dl_pooling2d_sizes sizes, dl_pool_attr pool, const T *x, T *y,
                                   uint8_t *index) {
    const dl_pooling2d_sizes z = in_packs<N>(sizes);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell o = dl_cell_of(i, z.p, z.q, z.c);
        dl_pack<T, N> largest = {};
        dl_pack<uint8_t, N> winner = {};
        bool any = false;
        for (int64_t cell = 0; cell < z.r * z.s; cell++) {
            const int64_t at = dl_window_cell(&z, &pool, o, cell / z.s, cell % z.s);
            if (at < 0) {
                continue;
            }
            const dl_pack<T, N> values = dl_load<N>(x, at);
#pragma unroll
            for (int k = 0; k < N; k++) {
                if (!any || dl_is_larger(dl_float_of(values.at[k]), dl_float_of(largest.at[k]))) {
                    largest.at[k] = values.at[k];
                    winner.at[k] = (uint8_t)cell;
                }
            }
            any = true;
        }
        dl_store<N>(y, i, largest);
        if (index != NULL) {
            dl_store<N>(index, i, winner);
        }
    }
}

template <typename T>
static cudaError_t launch_max_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                      const void *x, void *y, uint8_t *index, cudaStream_t stream) {
    const T *from = static_cast<const T *>(x);
    T *to = static_cast<T *>(y);
    return LAUNCH(T, dl_are_aligned(from, to, index), max_forward, sizes->n * sizes->p * sizes->q, from, to,
                  index);
}

cudaError_t dl_launch_max_pooling_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                          dl_dtype dtype, const void *x, void *y, uint8_t *index,
                                          cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, launch_max_forward, sizes, pool, x, y, index, stream);
}

template <typename T, int N>
static __global__ void max_backward(int64_t n, dl_pooling2d_sizes sizes, dl_pool_attr pool, const T *dy,
                                    const uint8_t *index, const T *y, T *dx) {
    const dl_pooling2d_sizes z = in_packs<N>(sizes);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell at = dl_cell_of(i, z.h, z.w, z.c);
        const dl_window_range over = dl_windows_over(at.h, z.r, pool.stride[0], pool.padding[0], z.p);
        const dl_window_range across = dl_windows_over(at.w, z.s, pool.stride[1], pool.padding[2], z.q);
        double sum[N] = {};
        for (int64_t p = over.first; p < over.end; p++) {
            for (int64_t q = across.first; q < across.end; q++) {
                const int64_t r = at.h + pool.padding[0] - p * pool.stride[0];
                const int64_t s = at.w + pool.padding[2] - q * pool.stride[1];
                const dl_cell cell = {at.n, p, q, at.c};
                const int64_t o = dl_cell_index(cell, z.p, z.q, z.c);
                const dl_pack<uint8_t, N> winner = dl_load<N>(index, o);
                const dl_pack<T, N> gradient = dl_load<N>(dy, o),
                                    output = y == NULL ? dl_pack<T, N>{} : dl_load<N>(y, o);
#pragma unroll
                for (int k = 0; k < N; k++) {
                    const float dyk = dl_float_of(gradient.at[k]);
                    const float passed = y == NULL ? dyk : dl_relu_backward(dl_float_of(output.at[k]), dyk);
                    sum[k] += winner.at[k] == r * z.s + s ? (double)passed : 0.0;
                }
            }
        }
        dl_pack<T, N> result;
#pragma unroll
        for (int k = 0; k < N; k++) {
            result.at[k] = dl_rounded<T>((float)sum[k]);
        }
        dl_store<N>(dx, i, result);
    }
}

template <typename T>
static cudaError_t launch_max_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                       const void *dy, const uint8_t *index, const void *y, void *dx,
                                       cudaStream_t stream) {
    const T *gradient = static_cast<const T *>(dy), *output = static_cast<const T *>(y);
    T *to = static_cast<T *>(dx);
    return LAUNCH(T, dl_are_aligned(gradient, index, output, to), max_backward,
                  sizes->n * sizes->h * sizes->w, gradient, index, output, to);
}

cudaError_t dl_launch_max_pooling_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                           dl_dtype dtype, const void *dy, const uint8_t *index,
                                           const void *y, void *dx, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, launch_max_backward, sizes, pool, dy, index, y, dx, stream);
}

/* --- averages --- */

template <typename T, int N>
static __global__ void average_forward(int64_t n, dl_pooling2d_sizes sizes, dl_pool_attr pool, const T *x,
                                       T *y) {
    const dl_pooling2d_sizes z = in_packs<N>(sizes);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell o = dl_cell_of(i, z.p, z.q, z.c);
        const double cells = (double)dl_window_cells(&z, &pool, o);
        double sum[N] = {};
        for (int64_t cell = 0; cell < z.r * z.s; cell++) {
            const int64_t at = dl_window_cell(&z, &pool, o, cell / z.s, cell % z.s);
            const dl_pack<T, N> values = at < 0 ? dl_pack<T, N>{} : dl_load<N>(x, at);
#pragma unroll
            for (int k = 0; k < N; k++) {
                sum[k] += (double)dl_float_of(values.at[k]);
            }
        }
        dl_pack<T, N> result;
#pragma unroll
        for (int k = 0; k < N; k++) {
            result.at[k] = dl_rounded<T>((float)(sum[k] / cells));
        }
        dl_store<N>(y, i, result);
    }
}

template <typename T>
static cudaError_t launch_average_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                          const void *x, void *y, cudaStream_t stream) {
    const T *from = static_cast<const T *>(x);
    T *to = static_cast<T *>(y);
    return LAUNCH(T, dl_are_aligned(from, to), average_forward, sizes->n * sizes->p * sizes->q, from, to);
}

cudaError_t dl_launch_average_pooling_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                              dl_dtype dtype, const void *x, void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, launch_average_forward, sizes, pool, x, y, stream);
}

template <typename T, int N>
static __global__ void average_backward(int64_t n, dl_pooling2d_sizes sizes, dl_pool_attr pool, const T *dy,
                                        T *dx) {
    const dl_pooling2d_sizes z = in_packs<N>(sizes);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell at = dl_cell_of(i, z.h, z.w, z.c);
        const dl_window_range over = dl_windows_over(at.h, z.r, pool.stride[0], pool.padding[0], z.p);
        const dl_window_range across = dl_windows_over(at.w, z.s, pool.stride[1], pool.padding[2], z.q);
        double sum[N] = {};
        for (int64_t p = over.first; p < over.end; p++) {
            for (int64_t q = across.first; q < across.end; q++) {
                const dl_cell o = {at.n, p, q, at.c};
                const double cells = (double)dl_window_cells(&z, &pool, o);
                const dl_pack<T, N> gradient = dl_load<N>(dy, dl_cell_index(o, z.p, z.q, z.c));
#pragma unroll
                for (int k = 0; k < N; k++) {
                    sum[k] += (double)dl_float_of(gradient.at[k]) / cells;
                }
            }
        }
        dl_pack<T, N> result;
#pragma unroll
        for (int k = 0; k < N; k++) {
            result.at[k] = dl_rounded<T>((float)sum[k]);
        }
        dl_store<N>(dx, i, result);
    }
}

template <typename T>
static cudaError_t launch_average_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                           const void *dy, void *dx, cudaStream_t stream) {
    const T *from = static_cast<const T *>(dy);
    T *to = static_cast<T *>(dx);
    return LAUNCH(T, dl_are_aligned(from, to), average_backward, sizes->n * sizes->h * sizes->w, from, to);
}

cudaError_t dl_launch_average_pooling_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                               dl_dtype dtype, const void *dy, void *dx,
                                               cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, launch_average_backward, sizes, pool, dy, dx, stream);
}
