/* Element by element, computed in float32 whatever the type of the tensors. */
#include "kernels/common/activation.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/packs.cuh"

template <dl_activation ACTIVATION> struct activate {
    __device__ float operator()(float x) const {
        return dl_activate(ACTIVATION, x);
    }
};

template <dl_activation ACTIVATION> struct activate_backward {
    __device__ float operator()(float y, float dy) const {
        return dl_activate_backward(ACTIVATION, y, dy);
    }
};

struct sum_of_two {
    __device__ float operator()(float a, float b) const {
        return a + b;
    }
};

struct itself {
    __device__ float operator()(float x) const {
        return x;
    }
};

/* dl_map with the F of an activation: one kernel each, else it would be asked for at every element. */
template <template <dl_activation> class F, typename... Arguments>
static cudaError_t map_activation(int64_t n, dl_activation activation, cudaStream_t stream,
                                  Arguments... arguments) {
    switch (activation) {
    case DL_ACT_RELU:
        return dl_map(n, stream, F<DL_ACT_RELU>{}, arguments...);
    case DL_ACT_TANH:
        return dl_map(n, stream, F<DL_ACT_TANH>{}, arguments...);
    case DL_ACT_SIGMOID:
        return dl_map(n, stream, F<DL_ACT_SIGMOID>{}, arguments...);
    default:
        return dl_map(n, stream, F<DL_ACT_NONE>{}, arguments...);
    }
}

template <typename T>
static cudaError_t activation_forward(int64_t n, dl_activation activation, const void *x, void *y,
                                      cudaStream_t stream) {
    return map_activation<activate>(n, activation, stream, static_cast<T *>(y), static_cast<const T *>(x));
}

cudaError_t dl_launch_activation_forward(int64_t n, dl_activation activation, dl_dtype dtype, const void *x,
                                         void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, activation_forward, n, activation, x, y, stream);
}

template <typename T>
static cudaError_t activation_backward(int64_t n, dl_activation activation, const void *y, const void *dy,
                                       void *dx, cudaStream_t stream) {
    return map_activation<activate_backward>(n, activation, stream, static_cast<T *>(dx),
                                             static_cast<const T *>(y), static_cast<const T *>(dy));
}

cudaError_t dl_launch_activation_backward(int64_t n, dl_activation activation, dl_dtype dtype, const void *y,
                                          const void *dy, void *dx, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, activation_backward, n, activation, y, dy, dx, stream);
}

template <typename T>
static cudaError_t add(int64_t n, const void *a, const void *b, void *y, cudaStream_t stream) {
    return dl_map(n, stream, sum_of_two{}, static_cast<T *>(y), static_cast<const T *>(a),
                  static_cast<const T *>(b));
}

cudaError_t dl_launch_add(int64_t n, dl_dtype dtype, const void *a, const void *b, void *y,
                          cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, add, n, a, b, y, stream);
}

template <typename To> static cudaError_t narrow(int64_t n, const void *x, void *y, cudaStream_t stream) {
    return dl_map(n, stream, itself{}, static_cast<To *>(y), static_cast<const float *>(x));
}

template <typename From> static cudaError_t widen(int64_t n, const void *x, void *y, cudaStream_t stream) {
    return dl_map(n, stream, itself{}, static_cast<float *>(y), static_cast<const From *>(x));
}

cudaError_t dl_launch_cast(int64_t n, dl_dtype from, const void *x, dl_dtype to, void *y,
                           cudaStream_t stream) {
    return from == DL_F32 ? DL_BY_DTYPE(to, narrow, n, x, y, stream)
                          : DL_BY_DTYPE(from, widen, n, x, y, stream);
}
