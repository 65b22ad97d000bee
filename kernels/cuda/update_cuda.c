/* The control word, optimizer steps, commits. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"

static int64_t elements(const dl_op *op) {
    return dl_shape_elements(&op->desc.slot[0].shape);
}

static cudaError_t sgd(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_sgd(elements(op), &op->desc.attr, slots[0], slots[1], slots[2], slots[3], slots[4],
                         slots[5], slots[6], stream);
}

static cudaError_t adam(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_adam(elements(op), &op->desc.attr, slots[0], slots[1], slots[2], slots[3], slots[4],
                          slots[5], slots[6], slots[7], stream);
}

static cudaError_t rmsprop(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_rmsprop(elements(op), &op->desc.attr, slots[0], slots[1], slots[2], slots[3], slots[4],
                             slots[5], slots[6], slots[7], slots[8], stream);
}

static cudaError_t commit(const dl_op *op, void *const *slots, cudaStream_t stream) {
    if (op->desc.slot[0].dtype == DL_F64) {
        return dl_launch_commit_f64(elements(op), op->desc.attr.accumulate, slots[0], slots[1], slots[2],
                                    stream);
    }
    return dl_launch_commit_f32(elements(op), &op->desc.attr, slots[0], slots[1], slots[2], slots[3], stream);
}

static cudaError_t begin_control(const dl_op *op, void *const *slots, cudaStream_t stream) {
    (void)op;
    return dl_launch_begin_control(slots[1], slots[0], stream);
}

static cudaError_t scale_weight(const dl_op *op, void *const *slots, cudaStream_t stream) {
    (void)op;
    return dl_launch_scale_weight(slots[0], slots[1], slots[2], stream);
}

static cudaError_t commit_loss_scale(const dl_op *op, void *const *slots, cudaStream_t stream) {
    (void)op;
    return dl_launch_commit_loss_scale(slots[0], slots[1], stream);
}

const dl_cuda_kind dl_cuda_kinds_update[] = {
    {.kind = DL_OP_SGD_UPDATE, .run = sgd},
    {.kind = DL_OP_ADAM_UPDATE, .run = adam},
    {.kind = DL_OP_RMSPROP_UPDATE, .run = rmsprop},
    {.kind = DL_OP_COMMIT, .run = commit},
    {.kind = DL_OP_BEGIN_CONTROL, .run = begin_control},
    {.kind = DL_OP_SCALE_WEIGHT, .run = scale_weight},
    {.kind = DL_OP_COMMIT_LOSS_SCALE, .run = commit_loss_scale},
    {.run = NULL},
};
