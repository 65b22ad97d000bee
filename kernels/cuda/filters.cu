/* Weights of convolutions on their way between the arenas' [k, c, r, s] in float32 and cuDNN's [k, r, s, c].
 */
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

/* y[k, j, i] = x[k, i, j], x of `inner` rows of `outer` for each k. */
template <typename From, typename To>
static __global__ void transpose(int64_t n, int64_t inner, int64_t outer, const From *x, To *y) {
    for (int64_t at = dl_first(); at < n; at += dl_stride()) {
        const int64_t i = at % inner, j = at / inner % outer, k = at / (inner * outer);
        y[at] = dl_convert<To>(x[(k * inner + i) * outer + j]);
    }
}

template <typename To>
static cudaError_t pack(int64_t k, int64_t c, int64_t cells, const float *x, void *y, cudaStream_t stream) {
    return dl_launch(transpose<float, To>, k * c * cells, stream, c, cells, x, static_cast<To *>(y));
}

cudaError_t dl_launch_pack_weights(int64_t k, int64_t c, int64_t cells, const float *x, dl_dtype dtype,
                                   void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, pack, k, c, cells, x, y, stream);
}

template <typename From>
static cudaError_t unpack(int64_t k, int64_t c, int64_t cells, const void *x, float *y, cudaStream_t stream) {
    return dl_launch(transpose<From, float>, k * c * cells, stream, cells, c, static_cast<const From *>(x),
                     y);
}

cudaError_t dl_launch_unpack_weights(int64_t k, int64_t c, int64_t cells, dl_dtype dtype, const void *x,
                                     float *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, unpack, k, c, cells, x, y, stream);
}
