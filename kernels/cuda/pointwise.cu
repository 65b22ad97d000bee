/* Element by element. */
#include "kernels/common/activation.h"
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
