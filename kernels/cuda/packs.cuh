/* For .cu files: neighbouring elements as packs of 16 bytes, one load or store each. With an element at a
 * time a GPU can neither ask for enough memory at once nor count addresses fast enough to be kept busy by it
 * (CUDA C++ Best Practices Guide, "Coalesced Access"; 16-bit types most of all). */
#ifndef DLTRAIN_KERNELS_CUDA_PACKS_CUH
#define DLTRAIN_KERNELS_CUDA_PACKS_CUH

#include "kernels/common/packs.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"

template <typename T, int N>
struct alignas(N * sizeof(T) < DL_PACK_BYTES ? N * sizeof(T) : (size_t)DL_PACK_BYTES) dl_pack {
    T at[N];
};

/* Pack number i of x; x[N * i] on are its elements. */
template <int N, typename T> static __device__ __forceinline__ dl_pack<T, N> dl_load(const T *x, int64_t i) {
    return reinterpret_cast<const dl_pack<T, N> *>(x)[i];
}

template <int N, typename T>
static __device__ __forceinline__ void dl_store(T *y, int64_t i, const dl_pack<T, N> &values) {
    reinterpret_cast<dl_pack<T, N> *>(y)[i] = values;
}

/* May these be read and written in packs? NULL may. */
template <typename... T> static bool dl_are_aligned(const T *...address) {
    return ((reinterpret_cast<uintptr_t>(address) % DL_PACK_BYTES == 0) && ...);
}

/* --- element by element: y[i] = f(x[i]...), computed in float32 --- */

template <int N, typename F, typename Y, typename... X>
static __device__ __forceinline__ void dl_map_pack(const F &f, Y *y, int64_t i,
                                                   const dl_pack<X, N> &...values) {
    dl_pack<Y, N> result;
#pragma unroll
    for (int k = 0; k < N; k++) {
        result.at[k] = dl_rounded<Y>(f(dl_float_of(values.at[k])...));
    }
    dl_store<N>(y, i, result);
}

/* Packs, then the elements behind the last whole one. y may be one of x. */
template <int N, typename F, typename Y, typename... X>
static __global__ void dl_map_kernel(int64_t n, F f, Y *y, const X *...x) {
    for (int64_t i = dl_first(); i < n / N; i += dl_stride()) {
        dl_map_pack<N>(f, y, i, dl_load<N>(x, i)...);
    }
    for (int64_t i = n / N * N + dl_first(); i < n; i += dl_stride()) {
        y[i] = dl_rounded<Y>(f(dl_float_of(x[i])...));
    }
}

template <int N, typename F, typename Y, typename... X>
static cudaError_t dl_launch_map(int64_t n, cudaStream_t stream, F f, Y *y, const X *...x) {
    const auto kernel = dl_map_kernel<N, F, Y, X...>;
    DL_LAUNCH(kernel, dl_grid_blocks((n + N - 1) / N), DL_GRID_THREADS, stream, n, f, y, x...);
    return cudaPeekAtLastError();
}

template <typename... T> static constexpr size_t dl_narrowest() {
    size_t least = DL_PACK_BYTES;
    ((least = sizeof(T) < least ? sizeof(T) : least), ...);
    return least;
}

/* f: a small struct with `float operator()(float...) const`. The packs are as long as the narrowest type's.
 */
template <typename F, typename Y, typename... X>
static cudaError_t dl_map(int64_t n, cudaStream_t stream, F f, Y *y, const X *...x) {
    constexpr int many = (int)(DL_PACK_BYTES / dl_narrowest<Y, X...>());
    if (n == 0) {
        return cudaPeekAtLastError();
    }
    return dl_are_aligned(y, x...) ? dl_launch_map<many>(n, stream, f, y, x...)
                                   : dl_launch_map<1>(n, stream, f, y, x...);
}

#endif
