/* Pooling. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"

enum { CELLS_IN_A_BYTE = 256 };

/* The winning cell of a window is kept in a byte. */
static bool fits_a_byte(const dl_op_desc *desc) {
    const int64_t *window = desc->attr.u.pool.window;
    return dl_cuda_takes_one_type(desc) && window[0] * window[1] <= CELLS_IN_A_BYTE;
}

static cudaError_t max_forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_pooling2d_sizes sizes = dl_pooling2d_sizes_of(&op->desc);
    return dl_launch_max_pooling_forward(&sizes, &op->desc.attr.u.pool, op->desc.slot[0].dtype, slots[0],
                                         slots[1], slots[2], stream);
}

static cudaError_t max_backward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_pooling2d_sizes sizes = dl_pooling2d_sizes_of(&op->desc);
    return dl_launch_max_pooling_backward(&sizes, &op->desc.attr.u.pool, op->desc.slot[0].dtype, slots[0],
                                          slots[1], slots[2], slots[3], stream);
}

static cudaError_t average_forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_pooling2d_sizes sizes = dl_pooling2d_sizes_of(&op->desc);
    return dl_launch_average_pooling_forward(&sizes, &op->desc.attr.u.pool, op->desc.slot[0].dtype, slots[0],
                                             slots[1], stream);
}

static cudaError_t average_backward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_pooling2d_sizes sizes = dl_pooling2d_sizes_of(&op->desc);
    return dl_launch_average_pooling_backward(&sizes, &op->desc.attr.u.pool, op->desc.slot[0].dtype, slots[0],
                                              slots[1], stream);
}

const dl_cuda_kind dl_cuda_kinds_pooling[] = {
    {.kind = DL_OP_MAX_POOLING2D_FORWARD, .run = max_forward, .takes = fits_a_byte},
    {.kind = DL_OP_MAX_POOLING2D_BACKWARD, .run = max_backward, .takes = fits_a_byte},
    {.kind = DL_OP_AVERAGE_POOLING2D_FORWARD, .run = average_forward, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_AVERAGE_POOLING2D_BACKWARD, .run = average_backward, .takes = dl_cuda_takes_one_type},
    {.run = NULL},
};
