/* Functions of one element that C loops and CUDA kernels both use: written once, so that backends agree. */
#ifndef DLTRAIN_KERNELS_COMMON_POINTWISE_H
#define DLTRAIN_KERNELS_COMMON_POINTWISE_H

#ifdef __CUDACC__
#define DL_SHARED static __host__ __device__ inline
#else
#define DL_SHARED static inline
#endif

#endif
