/* Element by element. */
#include "kernels/common/activation.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

static __global__ void activation_forward(int64_t n, dl_activation activation, const float *x, float *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        y[i] = dl_activate(activation, x[i]);
    }
}

cudaError_t dl_launch_activation_forward(int64_t n, dl_activation activation, const float *x, float *y,
                                         cudaStream_t stream) {
    return dl_launch(activation_forward, n, stream, activation, x, y);
}

static __global__ void activation_backward(int64_t n, dl_activation activation, const float *y,
                                           const float *dy, float *dx) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dx[i] = dl_activate_backward(activation, y[i], dy[i]);
    }
}

cudaError_t dl_launch_activation_backward(int64_t n, dl_activation activation, const float *y,
                                          const float *dy, float *dx, cudaStream_t stream) {
    return dl_launch(activation_backward, n, stream, activation, y, dy, dx);
}

static __global__ void add(int64_t n, const float *a, const float *b, float *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        y[i] = a[i] + b[i];
    }
}

cudaError_t dl_launch_add(int64_t n, const float *a, const float *b, float *y, cudaStream_t stream) {
    return dl_launch(add, n, stream, a, b, y);
}

template <typename From, typename To> static __global__ void cast(int64_t n, const From *x, To *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        y[i] = dl_convert<To>(x[i]);
    }
}

template <typename To> static cudaError_t narrow(int64_t n, const void *x, void *y, cudaStream_t stream) {
    return dl_launch(cast<float, To>, n, stream, static_cast<const float *>(x), static_cast<To *>(y));
}

template <typename From> static cudaError_t widen(int64_t n, const void *x, void *y, cudaStream_t stream) {
    return dl_launch(cast<From, float>, n, stream, static_cast<const From *>(x), static_cast<float *>(y));
}

cudaError_t dl_launch_cast(int64_t n, dl_dtype from, const void *x, dl_dtype to, void *y,
                           cudaStream_t stream) {
    return from == DL_F32 ? DL_BY_DTYPE(to, narrow, n, x, y, stream)
                          : DL_BY_DTYPE(from, widen, n, x, y, stream);
}
