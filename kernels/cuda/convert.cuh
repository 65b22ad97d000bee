/* For .cu files: element types, and rounding between them (to nearest, ties to even). A kind's arithmetic is
 * float32's for all of them. */
#ifndef DLTRAIN_KERNELS_CUDA_CONVERT_CUH
#define DLTRAIN_KERNELS_CUDA_CONVERT_CUH

#define CUDA_NO_HALF /* the type is __half: "half" stays a name like others */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

static __device__ __forceinline__ float dl_float_of(float x) {
    return x;
}

static __device__ __forceinline__ float dl_float_of(__nv_bfloat16 x) {
    return __bfloat162float(x);
}

static __device__ __forceinline__ float dl_float_of(__half x) {
    return __half2float(x);
}

template <typename To> __device__ __forceinline__ To dl_rounded(float x);

template <> __device__ __forceinline__ float dl_rounded<float>(float x) {
    return x;
}

template <> __device__ __forceinline__ __nv_bfloat16 dl_rounded<__nv_bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}

template <> __device__ __forceinline__ __half dl_rounded<__half>(float x) {
    return __float2half_rn(x);
}

/* function<T>(arguments) for the type T of a dtype; cudaErrorInvalidValue for those that are no floats of a
 * tensor. */
#define DL_BY_DTYPE(dtype, function, ...)                                                                    \
    ((dtype) == DL_F32    ? function<float>(__VA_ARGS__)                                                     \
     : (dtype) == DL_BF16 ? function<__nv_bfloat16>(__VA_ARGS__)                                             \
     : (dtype) == DL_F16  ? function<__half>(__VA_ARGS__)                                                    \
                          : cudaErrorInvalidValue)

template <typename To, typename From> static __device__ __forceinline__ To dl_convert(From x) {
    return dl_rounded<To>(dl_float_of(x));
}

#endif
