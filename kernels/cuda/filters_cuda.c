#include "kernels/cuda/filters.h"

#include "base/mem.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/layouts.h"
#include "kernels/ops/sizes.h"

dl_status dl_cuda_weights_layout(const dl_tensor_desc *weights, const dl_layout **out) {
    *out = NULL;
    if (!dl_filters_reorder(&weights->shape)) {
        return DL_OK;
    }
    return dl_cuda_layout_of(DL_CUDA_KRSC, dl_tensor_plain_bytes(weights), out);
}

/* --- pack, unpack --- */

typedef struct weights_op {
    dl_op base;
    int64_t k, c, cells;
} weights_op;

static dl_status run_weights(const dl_op *op, void *const *slots, dl_stream *stream) {
    const weights_op *self = (const weights_op *)(const void *)op;
    const cudaStream_t handle = dl_cuda_handle(stream);
    return DL_CUDA(op->desc.kind == DL_OP_PACK
                       ? dl_launch_pack_weights(self->k, self->c, self->cells, slots[0],
                                                op->desc.slot[1].dtype, slots[1], handle)
                       : dl_launch_unpack_weights(self->k, self->c, self->cells, op->desc.slot[0].dtype,
                                                  slots[0], slots[1], handle));
}

static void destroy(dl_op *op) {
    dl_free(&op);
}

static const dl_op_functions weights_functions = {.run = run_weights, .destroy = destroy};

static dl_status prepare_weights(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                 dl_op **out) {
    (void)forward;
    weights_op *op = NULL;
    const int64_t *dim = desc->slot[0].shape.dim;
    const bool own = dl_cuda_is_layout(desc->slot[desc->kind == DL_OP_PACK ? 1 : 0].layout, DL_CUDA_KRSC);
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    dl_cuda_op_init(&op->base, device, desc, &weights_functions, own ? "krsc" : "cast");
    for (int i = 0; i < 2; i++) {
        op->base.layout[i] = op->base.desc.slot[i].layout = desc->slot[i].layout;
    }
    op->k = own ? dim[0] : 1;
    op->c = own ? dim[1] : dl_shape_elements(&desc->slot[0].shape);
    op->cells = own ? dim[2] * dim[3] : 1;
    *out = &op->base;
    return DL_OK;
}

static bool is_float(dl_dtype dtype) {
    return dtype == DL_F32 || dtype == DL_BF16 || dtype == DL_F16;
}

/* Copies of other weights than filters are of 16 bits, or there is none. */
static bool takes_pack(const dl_op_desc *desc) {
    const dl_tensor_desc *y = &desc->slot[1];
    const bool own = dl_cuda_is_layout(y->layout, DL_CUDA_KRSC),
               rounds = y->layout == NULL && y->dtype != DL_F32;
    return (own || rounds) && desc->slot[0].layout == NULL && desc->slot[0].dtype == DL_F32 &&
           is_float(y->dtype);
}

/* Gradients are written plainly by who makes them: only the way back of a copy is here. */
static bool takes_unpack(const dl_op_desc *desc) {
    return dl_cuda_is_layout(desc->slot[0].layout, DL_CUDA_KRSC) && desc->slot[1].layout == NULL &&
           is_float(desc->slot[0].dtype) && desc->slot[1].dtype == DL_F32 && !desc->attr.accumulate;
}

const dl_cuda_kind dl_cuda_kinds_filters[] = {
    {.kind = DL_OP_PACK, .takes = takes_pack, .prepare = prepare_weights},
    {.kind = DL_OP_UNPACK, .takes = takes_unpack, .prepare = prepare_weights},
    {.run = NULL},
};

/* --- no samples --- */

static dl_status run_empty(const dl_op *op, void *const *slots, dl_stream *stream) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    for (int i = 0; i < info->n_slots; i++) {
        const size_t n_bytes = dl_op_slot_bytes(op, i);
        if (info->slots[i].role == DL_SLOT_OUT && n_bytes > 0) {
            DL_RETURN_IF_ERROR(DL_CUDA(cudaMemsetAsync(slots[i], 0, n_bytes, dl_cuda_handle(stream))));
        }
    }
    return DL_OK;
}

static const dl_op_functions empty_functions = {.run = run_empty, .destroy = destroy};

/* Plain weights will do for those that read none. */
dl_status dl_cuda_prepare_empty(dl_device *device, const dl_op_desc *desc, dl_op **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    dl_cuda_op_init(*out, device, desc, &empty_functions, "empty");
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        if (desc->slot[i].layout != &dl_layout_any) {
            (*out)->layout[i] = (*out)->desc.slot[i].layout = desc->slot[i].layout;
        }
    }
    return DL_OK;
}
