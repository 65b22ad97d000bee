/* Softmax, losses and metrics: a block for each row of k values. Exponentials are single precision, sums are
 * double; scores and their gradients of the last layer may have 16 bits. */
#include "kernels/common/loss.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

/* Rows of few values (classes) get a warp, rows of a vocabulary a larger block. */
enum { FEW = 32, MANY = 256, FEW_VALUES = 256 };

#define LAUNCH_ROWS(kernel, ...)                                                                             \
    (rows.k <= FEW_VALUES ? dl_launch_rows<FEW>(kernel<FEW>, rows.n, stream, rows.k, __VA_ARGS__)            \
                          : dl_launch_rows<MANY>(kernel<MANY>, rows.n, stream, rows.k, __VA_ARGS__))

#define LAUNCH_TYPED_ROWS(kernel, T, ...)                                                                    \
    (rows.k <= FEW_VALUES ? dl_launch_rows<FEW>(kernel<FEW, T>, rows.n, stream, rows.k, __VA_ARGS__)         \
                          : dl_launch_rows<MANY>(kernel<MANY, T>, rows.n, stream, rows.k, __VA_ARGS__))

/* What a row of a loss or metric gives, in the precision that was asked for. */
typedef struct row_values {
    float *narrow;
    double *wide;
} row_values;

static __device__ void put(row_values values, int64_t row, double value) {
    if (values.wide != NULL) {
        values.wide[row] = value;
    } else {
        values.narrow[row] = (float)value;
    }
}

/* The largest of a row and the sum of exp(x - largest). NaN anywhere makes the sum NaN. */
typedef struct row_sums {
    float largest;
    double sum;
} row_sums;

template <int THREADS, typename T> static __device__ row_sums sums_of(int64_t k, const T *x) {
    float largest = -INFINITY;
    for (int64_t i = threadIdx.x; i < k; i += THREADS) {
        largest = fmaxf(largest, dl_float_of(x[i]));
    }
    row_sums sums;
    sums.largest = dl_block_max<THREADS>(largest);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < k; i += THREADS) {
        sum += (double)expf(dl_float_of(x[i]) - sums.largest);
    }
    sums.sum = dl_block_sum<THREADS>(sum);
    return sums;
}

static __device__ double probability_of(row_sums sums, float x) {
    return (double)expf(x - sums.largest) / sums.sum;
}

template <int THREADS>
static __global__ void softmax_forward(int64_t n, int64_t k, const float *x, float *y) {
    for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
        const row_sums sums = sums_of<THREADS>(k, x + row * k);
        for (int64_t i = threadIdx.x; i < k; i += THREADS) {
            y[row * k + i] = (float)probability_of(sums, x[row * k + i]);
        }
    }
}

cudaError_t dl_launch_softmax_forward(dl_row_sizes rows, const float *x, float *y, cudaStream_t stream) {
    return LAUNCH_ROWS(softmax_forward, x, y);
}

template <int THREADS>
static __global__ void softmax_backward(int64_t n, int64_t k, const float *y, const float *dy, float *dx) {
    for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
        double along = 0;
        for (int64_t i = row * k + threadIdx.x; i < (row + 1) * k; i += THREADS) {
            along += (double)y[i] * (double)dy[i];
        }
        along = dl_block_sum<THREADS>(along);
        for (int64_t i = row * k + threadIdx.x; i < (row + 1) * k; i += THREADS) {
            dx[i] = (float)((double)y[i] * ((double)dy[i] - along));
        }
    }
}

cudaError_t dl_launch_softmax_backward(dl_row_sizes rows, const float *y, const float *dy, float *dx,
                                       cudaStream_t stream) {
    return LAUNCH_ROWS(softmax_backward, y, dy, dx);
}

/* -sum of t log p from the scores: log p = x - largest - log(sum). Called by all threads. */
template <int THREADS, typename T>
static __device__ double softmax_loss(int64_t k, const T *x, int32_t label, double smoothing, row_sums sums) {
    double expected = 0;
    if (smoothing > 0) {
        for (int64_t i = threadIdx.x; i < k; i += THREADS) {
            expected += (double)dl_float_of(x[i]);
        }
        expected = dl_block_sum<THREADS>(expected) * smoothing / (double)k;
    }
    expected += (1.0 - smoothing) * (double)dl_float_of(x[label]);
    return log(sums.sum) + (double)sums.largest - expected;
}

/* A row without label has neither loss nor gradient; an impossible label is NaN, which stops the step. dx may
 * be x: every thread has read what it needs of other threads' elements before it writes its own. */
template <int THREADS, typename T>
static __global__ void softmax_cross_entropy(int64_t n, int64_t k, dl_loss_attr attr, const T *x,
                                             const int32_t *labels, const double *scale, row_values loss,
                                             T *dx, float *p) {
    attr = dl_scaled_loss(&attr, scale);
    for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
        const int64_t first = row * k;
        const int32_t label = labels[row];
        const bool valid = label >= 0 && label < k;
        const double otherwise = label < 0 ? 0.0 : (double)NAN;
        const row_sums sums = sums_of<THREADS>(k, x + first);
        const double value =
            valid ? softmax_loss<THREADS>(k, x + first, label, attr.smoothing, sums) : otherwise;
        __syncthreads(); /* x[label] has been read by all */
        if (threadIdx.x == 0) {
            put(loss, row, value);
        }
        for (int64_t i = threadIdx.x; i < k; i += THREADS) {
            const double probability = probability_of(sums, dl_float_of(x[first + i]));
            if (p != NULL) {
                p[first + i] = (float)probability;
            }
            if (dx != NULL) {
                const double target = dl_smoothed_target(i == label, attr.smoothing, k);
                dx[first + i] =
                    dl_rounded<T>((float)(valid ? attr.scale * (probability - target) : otherwise));
            }
        }
    }
}

template <typename T>
static cudaError_t launch_softmax_cross_entropy(dl_row_sizes rows, const dl_loss_attr *attr, const void *x,
                                                const int32_t *labels, const double *scale, row_values loss,
                                                void *dx, float *p, cudaStream_t stream) {
    return LAUNCH_TYPED_ROWS(softmax_cross_entropy, T, *attr, static_cast<const T *>(x), labels, scale, loss,
                             static_cast<T *>(dx), p);
}

cudaError_t dl_launch_softmax_cross_entropy(dl_row_sizes rows, const dl_loss_attr *attr, dl_dtype dtype,
                                            const void *x, const int32_t *labels, const double *scale,
                                            float *narrow, double *wide, void *dx, float *p,
                                            cudaStream_t stream) {
    const row_values loss = {narrow, wide};
    return DL_BY_DTYPE(dtype, launch_softmax_cross_entropy, rows, attr, x, labels, scale, loss, dx, p,
                       stream);
}

template <int THREADS>
static __global__ void cross_entropy_forward(int64_t n, int64_t k, dl_loss_attr attr, const float *p,
                                             const int32_t *labels, row_values loss) {
    for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
        const int32_t label = labels[row];
        const bool valid = label >= 0 && label < k;
        double spread = 0;
        for (int64_t i = threadIdx.x; valid && attr.smoothing > 0 && i < k; i += THREADS) {
            spread += attr.smoothing / (double)k * dl_cross_entropy(p[row * k + i]);
        }
        spread = dl_block_sum<THREADS>(spread);
        if (threadIdx.x == 0) {
            const double otherwise = label < 0 ? 0.0 : (double)NAN;
            put(loss, row,
                valid ? (1.0 - attr.smoothing) * dl_cross_entropy(p[row * k + label]) + spread : otherwise);
        }
    }
}

cudaError_t dl_launch_cross_entropy_forward(dl_row_sizes rows, const dl_loss_attr *attr, const float *p,
                                            const int32_t *labels, float *narrow, double *wide,
                                            cudaStream_t stream) {
    return LAUNCH_ROWS(cross_entropy_forward, *attr, p, labels, row_values{narrow, wide});
}

static __global__ void cross_entropy_backward(int64_t n, int64_t k, dl_loss_attr attr, const float *p,
                                              const int32_t *labels, const double *scale, float *dp) {
    attr = dl_scaled_loss(&attr, scale);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const int32_t label = labels[i / k];
        const double target = dl_smoothed_target(i % k == label, attr.smoothing, k);
        const float nothing = label < 0 ? 0.0f : NAN;
        dp[i] = label < 0 || label >= k ? nothing
                : target > 0            ? dl_cross_entropy_backward(p[i], (float)(attr.scale * target))
                                        : 0.0f;
    }
}

cudaError_t dl_launch_cross_entropy_backward(dl_row_sizes rows, const dl_loss_attr *attr, const float *p,
                                             const int32_t *labels, const double *scale, float *dp,
                                             cudaStream_t stream) {
    return dl_launch(cross_entropy_backward, rows.n * rows.k, stream, rows.k, *attr, p, labels, scale, dp);
}

/* Right when fewer than `best` of the row stand before the label: larger ones, and equal ones to the left.
 * With NaN in the row nothing is right. */
template <int THREADS, typename T>
static __global__ void accuracy(int64_t n, int64_t k, int64_t best, const T *x, const int32_t *labels,
                                row_values correct) {
    for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
        const int32_t label = labels[row];
        const bool valid = label >= 0 && label < k;
        double before = 0; /* counts below 2^53 are exact */
        for (int64_t i = threadIdx.x; valid && i < k; i += THREADS) {
            const float value = dl_float_of(x[row * k + i]), at_label = dl_float_of(x[row * k + label]);
            before +=
                isnan(value) ? (double)k : (double)(value > at_label || (value == at_label && i < label));
        }
        before = dl_block_sum<THREADS>(before);
        if (threadIdx.x == 0) {
            put(correct, row, valid && before < (double)k && before < (double)best ? 1.0 : 0.0);
        }
    }
}

template <typename T>
static cudaError_t launch_accuracy(dl_row_sizes rows, int64_t k, const void *x, const int32_t *labels,
                                   row_values correct, cudaStream_t stream) {
    return LAUNCH_TYPED_ROWS(accuracy, T, k, static_cast<const T *>(x), labels, correct);
}

cudaError_t dl_launch_accuracy(dl_row_sizes rows, int64_t k, dl_dtype dtype, const void *x,
                               const int32_t *labels, float *narrow, double *wide, cudaStream_t stream) {
    const row_values correct = {narrow, wide};
    return DL_BY_DTYPE(dtype, launch_accuracy, rows, k, x, labels, correct, stream);
}

template <int THREADS>
static __global__ void error_forward(int64_t n, int64_t k, bool absolute, const float *x, const float *target,
                                     row_values loss) {
    for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
        double sum = 0;
        for (int64_t i = row * k + threadIdx.x; i < (row + 1) * k; i += THREADS) {
            sum += dl_deviation((double)x[i] - (double)target[i], absolute);
        }
        sum = dl_block_sum<THREADS>(sum);
        if (threadIdx.x == 0) {
            put(loss, row, sum / (double)k);
        }
    }
}

cudaError_t dl_launch_error_forward(dl_row_sizes rows, bool absolute, const float *x, const float *target,
                                    float *narrow, double *wide, cudaStream_t stream) {
    return LAUNCH_ROWS(error_forward, absolute, x, target, row_values{narrow, wide});
}

static __global__ void error_backward(int64_t n, int64_t k, dl_loss_attr attr, const float *x,
                                      const float *target, const double *loss_scale, float *dx) {
    const double scale = dl_scaled_loss(&attr, loss_scale).scale / (double)k;
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dx[i] = (float)(scale * dl_deviation_backward((double)x[i] - (double)target[i], attr.absolute));
    }
}

cudaError_t dl_launch_error_backward(dl_row_sizes rows, const dl_loss_attr *attr, const float *x,
                                     const float *target, const double *scale, float *dx,
                                     cudaStream_t stream) {
    return dl_launch(error_backward, rows.n * rows.k, stream, rows.k, *attr, x, target, scale, dx);
}
