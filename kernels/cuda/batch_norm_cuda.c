/* Batch normalization by kernels of our own: its sums, which ranks may exchange, stand between its passes, so
 * that cuDNN's one call for all of it has no place. */
#include "kernels/common/column_sums.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"
#include "kernels/ops/sizes.h"

/* Runs that the rows of a group are summed in. */
static int64_t runs_of(const dl_op_desc *desc, const dl_batch_norm_sizes *z) {
    return dl_sum_runs(z->n > 0 ? z->group * z->cells : 0, z->channels, dl_dtype_bytes(desc->slot[0].dtype));
}

static cudaError_t sums(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_sums(&z, runs_of(&op->desc, &z), op->desc.slot[0].dtype, slots[0], slots[2],
                                     slots[1], stream);
}

static cudaError_t statistics(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_statistics(&z, op->desc.attr.u.norm.epsilon, slots[0], slots[1], slots[2],
                                           slots[3], stream);
}

static cudaError_t moving(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_moving(&z, op->desc.attr.u.norm.epsilon, slots[0], slots[1], slots[2],
                                       slots[3], slots[4], stream);
}

static cudaError_t forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_forward(&z, op->desc.attr.activation, op->desc.slot[0].dtype, slots[0],
                                        slots[1], slots[2], slots[3], stream);
}

static cudaError_t backward_sums(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_backward_sums(&z, runs_of(&op->desc, &z), op->desc.attr.activation,
                                              op->desc.slot[0].dtype, slots[0], slots[1], slots[2], slots[4],
                                              slots[3], stream);
}

static cudaError_t backward_data(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_backward_data(&z, op->desc.attr.activation, op->desc.slot[0].dtype, slots[0],
                                              slots[1], slots[2], slots[3], slots[4], stream);
}

static cudaError_t backward_weights(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_backward_weights(&z, slots[0], slots[1], slots[2], stream);
}

static cudaError_t moments(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_moments(&z, slots[0], slots[1], stream);
}

static cudaError_t commit(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    return dl_launch_batch_norm_commit(&z, op->desc.attr.u.norm.momentum, slots[0], slots[1], slots[2],
                                       slots[3], stream);
}

/* Room for the runs that sums are made in. */
static size_t runs_bytes(const dl_op_desc *desc) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(desc);
    return (size_t)(z.groups * runs_of(desc, &z) * 2 * z.channels) * sizeof(double);
}

const dl_cuda_kind dl_cuda_kinds_batch_norm[] = {
    {.kind = DL_OP_BATCH_NORM_SUMS, .run = sums, .workspace = runs_bytes, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_BATCH_NORM_STATISTICS, .run = statistics},
    {.kind = DL_OP_BATCH_NORM_MOVING, .run = moving},
    {.kind = DL_OP_BATCH_NORM_FORWARD, .run = forward, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_BATCH_NORM_BACKWARD_SUMS,
     .run = backward_sums,
     .workspace = runs_bytes,
     .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_BATCH_NORM_BACKWARD_DATA, .run = backward_data, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_BATCH_NORM_BACKWARD_WEIGHTS, .run = backward_weights},
    {.kind = DL_OP_BATCH_NORM_MOMENTS, .run = moments},
    {.kind = DL_OP_BATCH_NORM_COMMIT, .run = commit},
    {.run = NULL},
};
