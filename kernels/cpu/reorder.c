/* Layout changes: reorder (activations), pack and unpack (weights). Winograd's transform of weights, where
 * oneDNN keeps transformed weights, is such a change too. */
#include "kernels/cpu/cpu.h"

#include <stdio.h>

static bool is_reorder(dl_op_kind kind) {
    return kind == DL_OP_REORDER || kind == DL_OP_PACK || kind == DL_OP_UNPACK;
}

bool dl_cpu_reorder_takes(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    const dl_dtype from = desc->slot[0].dtype, to = desc->slot[1].dtype;
    const bool narrows = from == DL_F32 && to == DL_BF16 && desc->kind == DL_OP_PACK;
    return is_reorder(desc->kind) && ((from == to && (to == DL_F32 || to == DL_BF16)) || narrows);
}

/* Weights with groups have five dimensions in oneDNN; only the other side's layout knows. */
static int64_t groups_of(const dl_layout *layout, int n_dims) {
    dl_shim_md_info info;
    if (layout == NULL) {
        return 1;
    }
    dl_shim_md_info_of(dl_onednn_md(layout), &info);
    return info.n_dims == n_dims + 1 ? info.dims[0] : 1;
}

static dl_status describe(const dl_op_desc *desc, int slot, const dl_layout **out) {
    const dl_tensor_desc *tensor = &desc->slot[slot];
    if (desc->slot[0].layout == desc->slot[1].layout && tensor->layout == NULL) {
        return dl_cpu_md_vector(tensor, out);
    }
    if (desc->kind == DL_OP_REORDER) {
        return dl_cpu_md_activation(tensor, out);
    }
    return dl_cpu_md_weights(tensor, groups_of(desc->slot[1 - slot].layout, tensor->shape.n_dims), out);
}

dl_status dl_cpu_prepare_reorder(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                 dl_op **out) {
    (void)forward;
    dl_op_desc fixed = *desc;
    const dl_layout *from = NULL;
    const dl_layout *to = NULL;
    for (int i = 0; i < 2; i++) {
        fixed.slot[i].layout = fixed.slot[i].layout == &dl_layout_any ? NULL : fixed.slot[i].layout;
    }
    DL_RETURN_IF_ERROR(describe(&fixed, 0, &from));
    DL_RETURN_IF_ERROR(describe(&fixed, 1, &to));
    dl_cpu_calls_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_cpu_calls_create(device, &fixed, &op));
    op->base.layout[0] = fixed.slot[0].layout;
    op->base.layout[1] = fixed.slot[1].layout;
    op->base.batch_invariant = true;
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "reorder:%.16s>%.16s", from->name,
                   to->name);
    const dl_cpu_arg args[2] = {{.md = dl_onednn_md(from), .slot = 0}, {.md = dl_onednn_md(to), .slot = 1}};
    const dl_status status = dl_cpu_calls_add_reorder(op, &args[0], &args[1], desc->attr.accumulate);
    if (status != DL_OK) {
        dl_cpu_calls_destroy(&op->base);
        return status;
    }
    *out = &op->base;
    return DL_OK;
}
