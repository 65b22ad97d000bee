/* Borders of zeros, and parts of rows. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"

static cudaError_t pad(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_pad(&op->desc.slot[0].shape, &op->desc.slot[1].shape, &op->desc.attr.u.padding, slots[0],
                         slots[1], stream);
}

static cudaError_t unpad(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_unpad(&op->desc.slot[1].shape, &op->desc.slot[0].shape, &op->desc.attr.u.padding,
                           slots[0], slots[1], stream);
}

/* Moves every part that is there to its place in the whole, or back. */
static cudaError_t move_parts(const dl_op *op, void *const *slots, bool together, cudaStream_t stream) {
    const dl_shape *shape = &op->desc.slot[DL_MAX_CONCATENATED].shape;
    const int64_t width = shape->dim[shape->n_dims - 1];
    const int64_t rows = width == 0 ? 0 : dl_shape_elements(shape) / width;
    float *whole = slots[DL_MAX_CONCATENATED];
    cudaError_t code = cudaSuccess;
    for (int p = 0; p < DL_MAX_CONCATENATED && code == cudaSuccess; p++) {
        const int64_t part = op->desc.attr.u.concatenate.width[p];
        float *rows_of_part = slots[p];
        if (rows_of_part != NULL) {
            code = together ? dl_launch_move_columns(rows, part, rows_of_part, part, whole, width, stream)
                            : dl_launch_move_columns(rows, part, whole, width, rows_of_part, part, stream);
        }
        whole += part;
    }
    return code;
}

static cudaError_t concatenate(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return move_parts(op, slots, true, stream);
}

static cudaError_t separate(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return move_parts(op, slots, false, stream);
}

const dl_cuda_kind dl_cuda_kinds_shape[] = {
    {.kind = DL_OP_ZERO_PADDING2D_FORWARD, .run = pad},
    {.kind = DL_OP_ZERO_PADDING2D_BACKWARD, .run = unpad},
    {.kind = DL_OP_CONCATENATE_FORWARD, .run = concatenate},
    {.kind = DL_OP_CONCATENATE_BACKWARD, .run = separate},
    {.run = NULL},
};
