/* Pixels to input, random changes of images, dropout. */
#include "kernels/common/half.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/layouts.h"

static cudaError_t normalize(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_tensor_desc *x = &op->desc.slot[0];
    const bool bytes = x->dtype == DL_U8;
    return dl_launch_normalize(dl_shape_elements(&x->shape), x->shape.dim[x->shape.n_dims - 1],
                               &op->desc.attr.u.normalize, bytes ? slots[0] : NULL, bytes ? NULL : slots[0],
                               op->desc.slot[1].dtype, slots[1], stream);
}

static cudaError_t random_crop(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_tensor_desc *x = &op->desc.slot[0];
    return dl_launch_random_crop(&x->shape, dl_dtype_bytes(x->dtype), &op->desc.attr.u.augment, slots[0],
                                 slots[1], slots[2], slots[3], stream);
}

static cudaError_t random_flip(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_tensor_desc *x = &op->desc.slot[0];
    return dl_launch_random_flip(&x->shape, dl_dtype_bytes(x->dtype), &op->desc.attr.u.augment, slots[0],
                                 slots[1], slots[2], slots[3], stream);
}

/* Elements of one byte or of four. */
static bool has_pixels(const dl_op_desc *desc) {
    return desc->slot[0].dtype == DL_U8 || desc->slot[0].dtype == DL_F32;
}

static bool takes_pixels(const dl_op_desc *desc) {
    const dl_dtype to = desc->slot[1].dtype;
    return has_pixels(desc) && (to == DL_F32 || dl_dtype_is_half(to)) && !dl_cuda_has_layout(desc);
}

/* Forward and backward are one thing: slots x (dy), ids, step, y (dx), which may be x. */
static cudaError_t dropout(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_shape *shape = &op->desc.slot[0].shape;
    if (!op->desc.attr.training) {
        return slots[0] == slots[3] ? cudaSuccess
                                    : cudaMemcpyAsync(slots[3], slots[0], dl_op_slot_bytes(op, 3),
                                                      cudaMemcpyDeviceToDevice, stream);
    }
    return dl_launch_dropout(dl_shape_elements(shape), dl_shape_stride(shape, 1),
                             shape->dim[shape->n_dims - 1], &op->desc.attr.u.dropout, op->desc.slot[0].dtype,
                             slots[0], slots[1], slots[2], slots[3], stream);
}

const dl_cuda_kind dl_cuda_kinds_images[] = {
    {.kind = DL_OP_NORMALIZE_IMAGES, .run = normalize, .takes = takes_pixels},
    {.kind = DL_OP_RANDOM_CROP, .run = random_crop, .takes = has_pixels},
    {.kind = DL_OP_RANDOM_FLIP, .run = random_flip, .takes = has_pixels},
    {.kind = DL_OP_DROPOUT_FORWARD, .run = dropout, .takes = dl_cuda_takes_one_type},
    {.kind = DL_OP_DROPOUT_BACKWARD, .run = dropout, .takes = dl_cuda_takes_one_type},
    {.run = NULL},
};
