/* Pixels to input, random changes of images, dropout: random numbers are functions of (step, sample,
 * element). */
#include "kernels/common/augmentation.h"
#include "kernels/common/dropout.h"
#include "kernels/common/pooling_windows.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

template <typename T>
static __global__ void normalize(int64_t n, int64_t channels, dl_normalize_attr attr, const uint8_t *bytes,
                                 const float *values, T *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const int64_t c = attr.n_values == 1 ? 0 : i % channels;
        const double x = bytes != NULL ? (double)bytes[i] : (double)values[i];
        y[i] = dl_rounded<T>((float)((x * attr.scale - attr.mean[c]) / attr.std[c]));
    }
}

template <typename T>
static cudaError_t launch_normalize(int64_t n, int64_t channels, const dl_normalize_attr *attr,
                                    const uint8_t *bytes, const float *values, void *y, cudaStream_t stream) {
    return dl_launch(normalize<T>, n, stream, channels, *attr, bytes, values, static_cast<T *>(y));
}

cudaError_t dl_launch_normalize(int64_t n, int64_t channels, const dl_normalize_attr *attr,
                                const uint8_t *bytes, const float *values, dl_dtype dtype, void *y,
                                cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, launch_normalize, n, channels, attr, bytes, values, y, stream);
}

/* Images [N, rows, columns, channels]. */
typedef struct image_sizes {
    int64_t rows, columns, channels;
} image_sizes;

/* Element `cell` of x, zero outside of the image. */
template <typename T> static __device__ T element_at(const T *x, image_sizes s, dl_cell cell) {
    const bool inside = cell.h >= 0 && cell.h < s.rows && cell.w >= 0 && cell.w < s.columns;
    return inside ? x[dl_cell_index(cell, s.rows, s.columns, s.channels)] : T(0);
}

template <typename T>
static __global__ void random_crop(int64_t n, image_sizes s, dl_augment_attr attr, const T *x,
                                   const int64_t *ids, const dl_step_block *step, T *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dl_cell cell = dl_cell_of(i, s.rows, s.columns, s.channels);
        int64_t move[2];
        dl_crop_move(&attr, step->step, ids[cell.n], move);
        cell.h += move[0];
        cell.w += move[1];
        y[i] = element_at(x, s, cell);
    }
}

template <typename T>
static __global__ void random_flip(int64_t n, image_sizes s, dl_augment_attr attr, const T *x,
                                   const int64_t *ids, const dl_step_block *step, T *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dl_cell cell = dl_cell_of(i, s.rows, s.columns, s.channels);
        const bool flips = dl_flips(&attr, step->step, ids[cell.n]);
        cell.h = flips && !attr.columns ? s.rows - 1 - cell.h : cell.h;
        cell.w = flips && attr.columns ? s.columns - 1 - cell.w : cell.w;
        y[i] = element_at(x, s, cell);
    }
}

/* Pixels are moved as they are: bytes, or words of four. */
cudaError_t dl_launch_random_crop(const dl_shape *shape, size_t element_bytes, const dl_augment_attr *attr,
                                  const void *x, const int64_t *ids, const dl_step_block *step, void *y,
                                  cudaStream_t stream) {
    const image_sizes s = {shape->dim[1], shape->dim[2], shape->dim[3]};
    const int64_t n = shape->dim[0] * s.rows * s.columns * s.channels;
    return element_bytes == 1 ? dl_launch(random_crop<uint8_t>, n, stream, s, *attr, (const uint8_t *)x, ids,
                                          step, (uint8_t *)y)
                              : dl_launch(random_crop<uint32_t>, n, stream, s, *attr, (const uint32_t *)x,
                                          ids, step, (uint32_t *)y);
}

cudaError_t dl_launch_random_flip(const dl_shape *shape, size_t element_bytes, const dl_augment_attr *attr,
                                  const void *x, const int64_t *ids, const dl_step_block *step, void *y,
                                  cudaStream_t stream) {
    const image_sizes s = {shape->dim[1], shape->dim[2], shape->dim[3]};
    const int64_t n = shape->dim[0] * s.rows * s.columns * s.channels;
    return element_bytes == 1 ? dl_launch(random_flip<uint8_t>, n, stream, s, *attr, (const uint8_t *)x, ids,
                                          step, (uint8_t *)y)
                              : dl_launch(random_flip<uint32_t>, n, stream, s, *attr, (const uint32_t *)x,
                                          ids, step, (uint32_t *)y);
}

template <typename T>
static __global__ void dropout(int64_t n, int64_t sample, int64_t row, dl_dropout_attr attr, const T *x,
                               const int64_t *ids, const dl_step_block *step, T *y) {
    const dl_dropout mask = dl_dropout_of(&attr);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const int64_t place = dl_dropout_place(&attr, i % sample, row);
        y[i] = dl_rounded<T>(dl_dropout_one(&mask, step->step, ids[i / sample], place, dl_float_of(x[i])));
    }
}

template <typename T>
static cudaError_t launch_dropout(int64_t n, int64_t sample, int64_t row, const dl_dropout_attr *attr,
                                  const void *x, const int64_t *ids, const dl_step_block *step, void *y,
                                  cudaStream_t stream) {
    return dl_launch(dropout<T>, n, stream, sample, row, *attr, static_cast<const T *>(x), ids, step,
                     static_cast<T *>(y));
}

cudaError_t dl_launch_dropout(int64_t n, int64_t sample, int64_t row, const dl_dropout_attr *attr,
                              dl_dtype dtype, const void *x, const int64_t *ids, const dl_step_block *step,
                              void *y, cudaStream_t stream) {
    return DL_BY_DTYPE(dtype, launch_dropout, n, sample, row, attr, x, ids, step, y, stream);
}
