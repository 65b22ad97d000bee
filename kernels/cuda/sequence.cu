/* Tables of rows looked up by token, and sequences of different lengths. */
#include "kernels/common/sequence.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

#include <math.h>

enum { THREADS = DL_GRID_THREADS };

template <typename W, typename T>
static __global__ void embedding_forward(int64_t n, dl_embedding_sizes s, const int32_t *x, const W *w,
                                         T *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const int32_t token = x[i / s.width];
        const bool known = token >= 0 && token < s.vocabulary;
        y[i] = dl_rounded<T>(known ? dl_float_of(w[token * s.width + i % s.width]) : NAN);
    }
}

template <typename T>
static cudaError_t launch_forward(dl_embedding_sizes sizes, const int32_t *x, dl_dtype dtype, const void *w,
                                  void *y, cudaStream_t stream) {
    const int64_t n = sizes.tokens * sizes.width;
    T *to = static_cast<T *>(y);
    return dtype == DL_F32
               ? dl_launch(embedding_forward<float, T>, n, stream, sizes, x, static_cast<const float *>(w),
                           to)
               : dl_launch(embedding_forward<T, T>, n, stream, sizes, x, static_cast<const T *>(w), to);
}

cudaError_t dl_launch_embedding_forward(dl_embedding_sizes sizes, const int32_t *x, dl_dtype from,
                                        const void *w, dl_dtype to, void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(to, launch_forward, sizes, x, from, w, y, stream);
}

/* Does one of x[from .. end) equal `token`? The same answer for all threads of the block, which all call it.
 */
static __device__ bool any_equal(const int32_t *x, int64_t from, int64_t end, int32_t token) {
    bool found = false;
    for (int64_t i = from + threadIdx.x; i < end; i += THREADS) {
        found = found || x[i] == token;
    }
    return __syncthreads_or(found) != 0;
}

/* A block for each token and each THREADS columns. The first place of a token adds the rows of all its places
 * in their order, a column each thread; blocks at later places have nothing to do. No atomics: one order, the
 * same bits. */
template <typename T>
static __global__ void embedding_backward(int64_t n, dl_embedding_sizes s, const int32_t *x, const T *dy,
                                          float *dw) {
    const int64_t column = (int64_t)blockIdx.y * THREADS + threadIdx.x;
    for (int64_t first = blockIdx.x; first < n; first += gridDim.x) {
        const int32_t token = x[first];
        if (token < 0 || token >= s.vocabulary || any_equal(x, 0, first, token)) {
            continue; /* all threads of the block alike */
        }
        double sum = 0;
        for (int64_t begin = first; begin < n; begin += THREADS) {
            const int64_t end = begin + THREADS < n ? begin + THREADS : n;
            if (!any_equal(x, begin, end, token)) {
                continue;
            }
            for (int64_t i = begin; i < end && column < s.width; i++) {
                sum += x[i] == token ? (double)dl_float_of(dy[i * s.width + column]) : 0.0;
            }
        }
        if (column < s.width) {
            dw[token * s.width + column] = (float)sum;
        }
    }
}

template <typename T>
static cudaError_t launch_backward(dl_embedding_sizes sizes, const int32_t *x, const void *dy, float *dw,
                                   cudaStream_t stream) {
    if (sizes.tokens > 0 && sizes.width > 0) {
        const dim3 blocks(dl_grid_block_per_item(sizes.tokens),
                          (unsigned)((sizes.width + THREADS - 1) / THREADS));
        DL_LAUNCH(embedding_backward<T>, blocks, THREADS, stream, sizes.tokens, sizes, x,
                  static_cast<const T *>(dy), dw);
    }
    return cudaPeekAtLastError();
}

cudaError_t dl_launch_embedding_backward(dl_embedding_sizes sizes, const int32_t *x, dl_dtype dtype,
                                         const void *dy, float *dw, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, launch_backward, sizes, x, dy, dw, stream);
}

static __global__ void reverse(int64_t n, dl_sequence_sizes s, const float *x, const int32_t *lengths,
                               float *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const int64_t sample = i / (s.t * s.features), t = i / s.features % s.t;
        const int64_t from = dl_reversed_position(t, dl_length_of(lengths, sample, s.t));
        y[i] = x[(sample * s.t + from) * s.features + i % s.features];
    }
}

cudaError_t dl_launch_reverse(dl_sequence_sizes sizes, const float *x, const int32_t *lengths, float *y,
                              cudaStream_t stream) {
    return dl_launch(reverse, sizes.n * sizes.t * sizes.features, stream, sizes, x, lengths, y);
}

/* Where element i of the last positions [N, F] stands in the sequences [N, T, F]. */
static __device__ int64_t last_of(dl_sequence_sizes s, const int32_t *lengths, int64_t i) {
    const int64_t sample = i / s.features;
    return (sample * s.t + dl_length_of(lengths, sample, s.t) - 1) * s.features + i % s.features;
}

static __global__ void take_last(int64_t n, dl_sequence_sizes s, const float *x, const int32_t *lengths,
                                 float *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        y[i] = x[last_of(s, lengths, i)];
    }
}

cudaError_t dl_launch_take_last(dl_sequence_sizes sizes, const float *x, const int32_t *lengths, float *y,
                                cudaStream_t stream) {
    return dl_launch(take_last, sizes.n * sizes.features, stream, sizes, x, lengths, y);
}

static __global__ void give_last(int64_t n, dl_sequence_sizes s, const float *dy, const int32_t *lengths,
                                 float *dx) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dx[last_of(s, lengths, i)] = dy[i];
    }
}

cudaError_t dl_launch_give_last(dl_sequence_sizes sizes, const float *dy, const int32_t *lengths, float *dx,
                                cudaStream_t stream) {
    return dl_launch(give_last, sizes.n * sizes.features, stream, sizes, dy, lengths, dx);
}
