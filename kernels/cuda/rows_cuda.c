/* Softmax, losses and metrics. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"

/* The slot as float32 or float64: one of both, the other is NULL. */
static float *narrow(const dl_op *op, void *const *slots, int slot) {
    return op->desc.slot[slot].dtype == DL_F32 ? slots[slot] : NULL;
}

static double *wide(const dl_op *op, void *const *slots, int slot) {
    return op->desc.slot[slot].dtype == DL_F64 ? slots[slot] : NULL;
}

static cudaError_t softmax_forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_softmax_forward(dl_row_sizes_of(&op->desc), slots[0], slots[1], stream);
}

static cudaError_t softmax_backward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_softmax_backward(dl_row_sizes_of(&op->desc), slots[0], slots[1], slots[2], stream);
}

static cudaError_t softmax_cross_entropy(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_softmax_cross_entropy(
        dl_row_sizes_of(&op->desc), &op->desc.attr.u.loss, op->desc.slot[0].dtype, slots[0], slots[1],
        slots[5], narrow(op, slots, 2), wide(op, slots, 2), slots[3], slots[4], stream);
}

static cudaError_t cross_entropy_forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_cross_entropy_forward(dl_row_sizes_of(&op->desc), &op->desc.attr.u.loss, slots[0],
                                           slots[1], narrow(op, slots, 2), wide(op, slots, 2), stream);
}

static cudaError_t cross_entropy_backward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_cross_entropy_backward(dl_row_sizes_of(&op->desc), &op->desc.attr.u.loss, slots[0],
                                            slots[1], slots[3], slots[2], stream);
}

static cudaError_t accuracy(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_accuracy(dl_row_sizes_of(&op->desc), op->desc.attr.u.accuracy.k, op->desc.slot[0].dtype,
                              slots[0], slots[1], narrow(op, slots, 2), wide(op, slots, 2), stream);
}

static cudaError_t error_forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_error_forward(dl_row_sizes_of(&op->desc), op->desc.attr.u.loss.absolute, slots[0],
                                   slots[1], narrow(op, slots, 2), wide(op, slots, 2), stream);
}

static cudaError_t error_backward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_error_backward(dl_row_sizes_of(&op->desc), &op->desc.attr.u.loss, slots[0], slots[1],
                                    slots[3], slots[2], stream);
}

const dl_cuda_kind dl_cuda_kinds_rows[] = {
    {.kind = DL_OP_SOFTMAX_FORWARD, .run = softmax_forward},
    {.kind = DL_OP_SOFTMAX_BACKWARD, .run = softmax_backward},
    {.kind = DL_OP_SOFTMAX_CROSS_ENTROPY, .run = softmax_cross_entropy, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_CROSS_ENTROPY_FORWARD, .run = cross_entropy_forward},
    {.kind = DL_OP_CROSS_ENTROPY_BACKWARD, .run = cross_entropy_backward},
    {.kind = DL_OP_ACCURACY, .run = accuracy, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_ERROR_FORWARD, .run = error_forward},
    {.kind = DL_OP_ERROR_BACKWARD, .run = error_backward},
    {.run = NULL},
};
