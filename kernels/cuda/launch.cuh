/* For .cu files: the loop over elements, and launching it. */
#ifndef DLTRAIN_KERNELS_CUDA_LAUNCH_CUH
#define DLTRAIN_KERNELS_CUDA_LAUNCH_CUH

#include "kernels/common/reduction.h"
#include "kernels/common/threads.h"

/* Puts a kernel into a stream; the only place that does, so that tests/emulator can run kernels on the host.
 */
#ifndef DL_LAUNCH
#define DL_LAUNCH(kernel, blocks, threads, stream, ...) kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__)
#endif

/* Where a thread begins, and how far its next element is: for (i = dl_first(); i < n; i += dl_stride()). */
static __device__ __forceinline__ int64_t dl_first() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ __forceinline__ int64_t dl_stride() {
    return (int64_t)gridDim.x * blockDim.x;
}

/* Launches kernel(n, arguments...) with a thread for each of n elements. Nothing for n = 0. Returns what the
 * launch itself met; failures of the kernel come with a later call. */
template <typename... Parameters, typename... Arguments>
static cudaError_t dl_launch(void (*kernel)(int64_t, Parameters...), int64_t n, cudaStream_t stream,
                             Arguments... arguments) {
    if (n > 0) {
        DL_LAUNCH(kernel, dl_grid_blocks(n), DL_GRID_THREADS, stream, n, arguments...);
    }
    return cudaPeekAtLastError();
}

/* Launches kernel(n, arguments...) with a block of THREADS for each of n rows: for (r = blockIdx.x; r < n; r
 * += gridDim.x).
 */
template <int THREADS, typename... Parameters, typename... Arguments>
static cudaError_t dl_launch_rows(void (*kernel)(int64_t, Parameters...), int64_t n, cudaStream_t stream,
                                  Arguments... arguments) {
    if (n > 0) {
        DL_LAUNCH(kernel, dl_grid_block_per_item(n), THREADS, stream, n, arguments...);
    }
    return cudaPeekAtLastError();
}

/* The sum of all threads' values in the order of reduction.h, known to all threads. All threads of the block
 * call it. */
template <int THREADS> static __device__ double dl_block_sum(double value) {
    static_assert((THREADS & (THREADS - 1)) == 0, "a tree of halves");
    __shared__ double partial[THREADS];
    partial[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) {
            dl_reduce_step(partial, (int)threadIdx.x, half);
        }
        __syncthreads();
    }
    const double sum = partial[0];
    __syncthreads(); /* the next call writes it again */
    return sum;
}

/* The largest of all threads' values; NaN loses against numbers. */
template <int THREADS> static __device__ float dl_block_max(float value) {
    __shared__ float partial[THREADS];
    partial[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) {
            partial[threadIdx.x] = fmaxf(partial[threadIdx.x], partial[threadIdx.x + half]);
        }
        __syncthreads();
    }
    const float largest = partial[0];
    __syncthreads();
    return largest;
}

#endif
