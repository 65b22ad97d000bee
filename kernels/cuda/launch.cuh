/* For .cu files: the loop over elements, and launching it. */
#ifndef DLTRAIN_KERNELS_CUDA_LAUNCH_CUH
#define DLTRAIN_KERNELS_CUDA_LAUNCH_CUH

#include "kernels/common/threads.h"

/* Where a thread begins, and how far its next element is: for (i = dl_first(); i < n; i += dl_stride()). */
static __device__ __forceinline__ int64_t dl_first() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ __forceinline__ int64_t dl_stride() {
    return (int64_t)gridDim.x * blockDim.x;
}

/* Launches kernel(n, arguments...) with a thread for each of n elements. Nothing for n = 0. Returns what the launch
 * itself met; failures of the kernel come with a later call. */
template <typename... Parameters, typename... Arguments>
static cudaError_t dl_launch(void (*kernel)(int64_t, Parameters...), int64_t n, cudaStream_t stream,
                             Arguments... arguments) {
    if (n > 0) {
        kernel<<<dl_grid_blocks(n), DL_GRID_THREADS, 0, stream>>>(n, arguments...);
    }
    return cudaPeekAtLastError();
}

#endif
