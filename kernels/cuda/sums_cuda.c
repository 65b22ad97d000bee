/* Sums of fixed order, and the search for values that are not finite. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kernels.h"

static int64_t elements(const dl_op *op, int slot) {
    return dl_shape_elements(&op->desc.slot[slot].shape);
}

static cudaError_t sum_samples(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const bool wide = op->desc.slot[0].dtype == DL_F64;
    return dl_launch_sum_samples(elements(op, 0), wide ? NULL : slots[0], wide ? slots[0] : NULL,
                                 op->desc.attr.u.sum.on_grid, op->desc.attr.accumulate, slots[1], stream);
}

static cudaError_t tree_sum(const dl_op *op, void *const *slots, cudaStream_t stream) {
    const dl_shape *x = &op->desc.slot[0].shape;
    const int64_t k = x->dim[0], n = dl_shape_stride(x, 1);
    return op->desc.slot[0].dtype == DL_F64 ? dl_launch_tree_sum_f64(n, k, slots[0], slots[1], stream)
                                            : dl_launch_tree_sum_f32(n, k, slots[0], slots[1], stream);
}

static cudaError_t check_finite(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_check_finite(elements(op, 0), slots[0], slots[1], stream);
}

static cudaError_t sum_squares(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_sum_squares(elements(op, 0), slots[0], slots[1], slots[2], stream);
}

static cudaError_t gradient_norm(const dl_op *op, void *const *slots, cudaStream_t stream) {
    return dl_launch_gradient_norm(elements(op, 0), &op->desc.attr.u.clip, slots[0], slots[1], slots[2],
                                   stream);
}

const dl_cuda_kind dl_cuda_kinds_sums[] = {
    {.kind = DL_OP_SUM_SAMPLES, .run = sum_samples},     {.kind = DL_OP_TREE_SUM, .run = tree_sum},
    {.kind = DL_OP_CHECK_FINITE, .run = check_finite},   {.kind = DL_OP_SUM_SQUARES, .run = sum_squares},
    {.kind = DL_OP_GRADIENT_NORM, .run = gradient_norm}, {.run = NULL},
};
