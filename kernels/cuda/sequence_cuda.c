/* Embeddings, and sequences of different lengths. */
#include "kernels/common/half.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/layouts.h"

static cudaError_t embedding_forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_embedding_forward(dl_embedding_sizes_of(&op->desc), slots[0], op->desc.slot[1].dtype,
                                       slots[1], op->desc.slot[2].dtype, slots[2], stream);
}

static cudaError_t embedding_backward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const cudaError_t code = cudaMemsetAsync(slots[2], 0, dl_op_slot_bytes(op, 2), stream);
    return code != cudaSuccess
               ? code
               : dl_launch_embedding_backward(dl_embedding_sizes_of(&op->desc), slots[0],
                                              op->desc.slot[1].dtype, slots[1], slots[2], stream);
}

/* Rows are looked up in a table of their type or float32; gradients, of any type, are added in float32. */
static bool takes_embedding(const dl_op_desc *desc) {
    const bool forward = desc->kind == DL_OP_EMBEDDING_FORWARD;
    const dl_dtype table = desc->slot[forward ? 1 : 2].dtype, rows = desc->slot[forward ? 2 : 1].dtype;
    return (rows == DL_F32 || dl_dtype_is_half(rows)) && !dl_cuda_has_layout(desc) &&
           (table == DL_F32 || (forward && table == rows));
}

static cudaError_t reverse(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_reverse(dl_sequence_sizes_of(&op->desc), slots[0], slots[1], slots[2], stream);
}

static cudaError_t take_last(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_take_last(dl_sequence_sizes_of(&op->desc), slots[0], slots[1], slots[2], stream);
}

static cudaError_t give_last(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const cudaError_t code = cudaMemsetAsync(slots[2], 0, dl_op_slot_bytes(op, 2), stream);
    return code != cudaSuccess
               ? code
               : dl_launch_give_last(dl_sequence_sizes_of(&op->desc), slots[0], slots[1], slots[2], stream);
}

const dl_cuda_kind dl_cuda_kinds_sequence[] = {
    {.kind = DL_OP_EMBEDDING_FORWARD, .run = embedding_forward, .takes = takes_embedding},
    {.kind = DL_OP_EMBEDDING_BACKWARD_WEIGHTS, .run = embedding_backward, .takes = takes_embedding},
    {.kind = DL_OP_REVERSE_BY_LENGTH, .run = reverse},
    {.kind = DL_OP_REVERSE_BY_LENGTH_BACKWARD, .run = reverse},
    {.kind = DL_OP_TAKE_LAST, .run = take_last},
    {.kind = DL_OP_TAKE_LAST_BACKWARD, .run = give_last},
    {.run = NULL},
};
