/* Borders of zeros, and parts of rows. */
#include "kernels/common/pooling_windows.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

/* Two image tensors, the outer one with a border. */
typedef struct border {
    int64_t rows, columns, channels;                   /* of the inner one */
    int64_t outer_rows, outer_columns, outer_channels; /* of the outer one */
    int64_t top, left, front;                          /* where the inner one begins in it */
} border;

static border border_of(const dl_shape *inner, const dl_shape *outer, const dl_padding_attr *padding) {
    return border{inner->dim[1], inner->dim[2],     inner->dim[3],     outer->dim[1],       outer->dim[2],
                  outer->dim[3], padding->cells[0], padding->cells[2], padding->channels[0]};
}

static __global__ void pad(int64_t n, border b, const float *x, float *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dl_cell cell = dl_cell_of(i, b.outer_rows, b.outer_columns, b.outer_channels);
        cell.h -= b.top;
        cell.w -= b.left;
        cell.c -= b.front;
        const bool inside = cell.h >= 0 && cell.h < b.rows && cell.w >= 0 && cell.w < b.columns &&
                            cell.c >= 0 && cell.c < b.channels;
        y[i] = inside ? x[dl_cell_index(cell, b.rows, b.columns, b.channels)] : 0.0f;
    }
}

cudaError_t dl_launch_pad(const dl_shape *inner, const dl_shape *outer, const dl_padding_attr *padding,
                          const float *x, float *y, cudaStream_t stream) {
    const border b = border_of(inner, outer, padding);
    return dl_launch(pad, outer->dim[0] * b.outer_rows * b.outer_columns * b.outer_channels, stream, b, x, y);
}

static __global__ void unpad(int64_t n, border b, const float *dy, float *dx) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dl_cell cell = dl_cell_of(i, b.rows, b.columns, b.channels);
        cell.h += b.top;
        cell.w += b.left;
        cell.c += b.front;
        dx[i] = dy[dl_cell_index(cell, b.outer_rows, b.outer_columns, b.outer_channels)];
    }
}

cudaError_t dl_launch_unpad(const dl_shape *inner, const dl_shape *outer, const dl_padding_attr *padding,
                            const float *dy, float *dx, cudaStream_t stream) {
    const border b = border_of(inner, outer, padding);
    return dl_launch(unpad, inner->dim[0] * b.rows * b.columns * b.channels, stream, b, dy, dx);
}

static __global__ void move_columns(int64_t n, int64_t width, const float *from, int64_t from_stride,
                                    float *to, int64_t to_stride) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        to[i / width * to_stride + i % width] = from[i / width * from_stride + i % width];
    }
}

cudaError_t dl_launch_move_columns(int64_t rows, int64_t width, const float *from, int64_t from_stride,
                                   float *to, int64_t to_stride, cudaStream_t stream) {
    return dl_launch(move_columns, rows * width, stream, width, from, from_stride, to, to_stride);
}
