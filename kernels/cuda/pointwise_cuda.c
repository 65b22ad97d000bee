/* Element by element, and moving memory. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/layouts.h"

static int64_t elements(const dl_op *op, int slot) {
    return dl_shape_elements(&op->desc.slot[slot].shape);
}

static cudaError_t activation_forward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_activation_forward(elements(op, 0), op->desc.attr.activation, op->desc.slot[0].dtype,
                                        slots[0], slots[1], stream);
}

static cudaError_t activation_backward(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_activation_backward(elements(op, 0), op->desc.attr.activation, op->desc.slot[0].dtype,
                                         slots[0], slots[1], slots[2], stream);
}

static cudaError_t add(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_add(elements(op, 0), op->desc.slot[0].dtype, slots[0], slots[1], slots[2], stream);
}

static cudaError_t fill_zero(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return cudaMemsetAsync(slots[0], 0, dl_op_slot_bytes(op, 0), stream);
}

/* All layouts are plain here, so that changing them is copying. */
static cudaError_t copy(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return cudaMemcpyAsync(slots[1], slots[0], dl_op_slot_bytes(op, 1), cudaMemcpyDeviceToDevice, stream);
}

static cudaError_t cast(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_cast(elements(op, 0), op->desc.slot[0].dtype, slots[0], op->desc.slot[1].dtype, slots[1],
                          stream);
}

/* Between float32 and any other type, in plain layouts. */
static bool takes_cast(const dl_op_desc *desc) {
    return (desc->slot[0].dtype == DL_F32 || desc->slot[1].dtype == DL_F32) && !dl_cuda_has_layout(desc);
}

static cudaError_t unpack(const dl_op *op, void *const *slots, cudaStream_t stream) {
    if (op->desc.attr.accumulate) {
        return dl_launch_add(elements(op, 1), op->desc.slot[1].dtype, slots[1], slots[0], slots[1], stream);
    }
    return copy(op, slots, stream);
}

const dl_cuda_kind dl_cuda_kinds_pointwise[] = {
    {.kind = DL_OP_ACTIVATION_FORWARD, .run = activation_forward, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_ACTIVATION_BACKWARD, .run = activation_backward, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_ADD, .run = add, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_FILL_ZERO, .run = fill_zero, .implementation = "memset"},
    {.kind = DL_OP_CAST, .run = cast, .takes = takes_cast},
    {.kind = DL_OP_COPY, .run = copy, .implementation = "memcpy"},
    {.kind = DL_OP_REORDER, .run = copy, .implementation = "memcpy"},
    {.kind = DL_OP_PACK, .run = copy, .implementation = "memcpy"},
    {.kind = DL_OP_UNPACK, .run = unpack},
    {.run = NULL},
};
