/* Pooling, NHWC: a thread for each output, or, backward, for each input, which gathers from the windows that
 * hold it; no two threads write one element, so that sums have one order. Neighbouring threads have
 * neighbouring channels. */
#include "kernels/common/activation.h"
#include "kernels/common/pooling_windows.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

static __global__ void max_forward(int64_t n, dl_pooling2d_sizes z, dl_pool_attr pool, const float *x,
                                   float *y, uint8_t *index) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell o = dl_cell_of(i, z.p, z.q, z.c);
        const int64_t cell = dl_window_winner(&z, &pool, x, o);
        y[i] = x[dl_window_cell(&z, &pool, o, cell / z.s, cell % z.s)];
        if (index != NULL) {
            index[i] = (uint8_t)cell;
        }
    }
}

cudaError_t dl_launch_max_pooling_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                          const float *x, float *y, uint8_t *index, cudaStream_t stream) {
    return dl_launch(max_forward, sizes->n * sizes->p * sizes->q * sizes->c, stream, *sizes, *pool, x, y,
                     index);
}

static __global__ void max_backward(int64_t n, dl_pooling2d_sizes z, dl_pool_attr pool, const float *dy,
                                    const uint8_t *index, const float *y, float *dx) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell at = dl_cell_of(i, z.h, z.w, z.c);
        const dl_window_range over = dl_windows_over(at.h, z.r, pool.stride[0], pool.padding[0], z.p);
        const dl_window_range across = dl_windows_over(at.w, z.s, pool.stride[1], pool.padding[2], z.q);
        double sum = 0;
        for (int64_t p = over.first; p < over.end; p++) {
            for (int64_t q = across.first; q < across.end; q++) {
                const int64_t r = at.h + pool.padding[0] - p * pool.stride[0];
                const int64_t s = at.w + pool.padding[2] - q * pool.stride[1];
                const int64_t o = ((at.n * z.p + p) * z.q + q) * z.c + at.c;
                if (index[o] == r * z.s + s) {
                    sum += y == NULL ? (double)dy[o] : (double)dl_relu_backward(y[o], dy[o]);
                }
            }
        }
        dx[i] = (float)sum;
    }
}

cudaError_t dl_launch_max_pooling_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                           const float *dy, const uint8_t *index, const float *y, float *dx,
                                           cudaStream_t stream) {
    return dl_launch(max_backward, sizes->n * sizes->h * sizes->w * sizes->c, stream, *sizes, *pool, dy,
                     index, y, dx);
}

static __global__ void average_forward(int64_t n, dl_pooling2d_sizes z, dl_pool_attr pool, const float *x,
                                       float *y) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell o = dl_cell_of(i, z.p, z.q, z.c);
        double sum = 0;
        for (int64_t cell = 0; cell < z.r * z.s; cell++) {
            const int64_t at = dl_window_cell(&z, &pool, o, cell / z.s, cell % z.s);
            sum += at >= 0 ? (double)x[at] : 0.0;
        }
        y[i] = (float)(sum / (double)dl_window_cells(&z, &pool, o));
    }
}

cudaError_t dl_launch_average_pooling_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                              const float *x, float *y, cudaStream_t stream) {
    return dl_launch(average_forward, sizes->n * sizes->p * sizes->q * sizes->c, stream, *sizes, *pool, x, y);
}

static __global__ void average_backward(int64_t n, dl_pooling2d_sizes z, dl_pool_attr pool, const float *dy,
                                        float *dx) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        const dl_cell at = dl_cell_of(i, z.h, z.w, z.c);
        const dl_window_range over = dl_windows_over(at.h, z.r, pool.stride[0], pool.padding[0], z.p);
        const dl_window_range across = dl_windows_over(at.w, z.s, pool.stride[1], pool.padding[2], z.q);
        double sum = 0;
        for (int64_t p = over.first; p < over.end; p++) {
            for (int64_t q = across.first; q < across.end; q++) {
                const dl_cell o = {at.n, p, q, at.c};
                sum += (double)dy[dl_cell_index(o, z.p, z.q, z.c)] / (double)dl_window_cells(&z, &pool, o);
            }
        }
        dx[i] = (float)sum;
    }
}

cudaError_t dl_launch_average_pooling_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                               const float *dy, float *dx, cudaStream_t stream) {
    return dl_launch(average_backward, sizes->n * sizes->h * sizes->w * sizes->c, stream, *sizes, *pool, dy,
                     dx);
}
