#include "kernels/widened.h"

#include "base/mem.h"
#include "kernels/common/half.h"

#include <stdio.h>

typedef struct widened_op {
    dl_op base;
    dl_op *inner;                   /* of float32 */
    dl_op *widen[DL_OP_MAX_SLOTS];  /* casts of 16-bit slots that are read, NULL: others */
    dl_op *narrow[DL_OP_MAX_SLOTS]; /* of those that are written */
    size_t image[DL_OP_MAX_SLOTS];  /* where in the workspace a 16-bit slot's float32 values are */
    size_t inner_at;                /* the inner operation's workspace in ours */
} widened_op;

static bool is_half(const widened_op *op, int i) {
    return op->base.desc.slot[i].present && dl_dtype_is_half(op->base.desc.slot[i].dtype);
}

static dl_status run_cast(const dl_op *cast, void *from, void *to, dl_stream *stream) {
    void *const slots[] = {from, to, NULL};
    return cast->functions->run(cast, slots, stream);
}

static dl_status run_widened(const dl_op *base, void *const *slots, dl_stream *stream) {
    const widened_op *op = (const widened_op *)(const void *)base;
    const dl_op_info *info = dl_op_info_of(base->desc.kind);
    char *workspace = slots[info->n_slots];
    void *inner[DL_OP_MAX_SLOTS + 1] = {0};
    for (int i = 0; i < info->n_slots; i++) {
        inner[i] = is_half(op, i) ? workspace + op->image[i] : slots[i];
        if (op->widen[i] != NULL) {
            DL_RETURN_IF_ERROR(run_cast(op->widen[i], slots[i], inner[i], stream));
        }
    }
    inner[info->n_slots] = op->inner->workspace_bytes > 0 ? workspace + op->inner_at : NULL;
    DL_RETURN_IF_ERROR(op->inner->functions->run(op->inner, inner, stream));
    for (int i = 0; i < info->n_slots; i++) {
        if (op->narrow[i] != NULL) {
            DL_RETURN_IF_ERROR(run_cast(op->narrow[i], inner[i], slots[i], stream));
        }
    }
    return DL_OK;
}

static void destroy_widened(dl_op *base) {
    widened_op *op = (widened_op *)(void *)base;
    dl_op_destroy(&op->inner);
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        dl_op_destroy(&op->widen[i]);
        dl_op_destroy(&op->narrow[i]);
    }
    dl_free(&op);
}

static const dl_op_functions widened_functions = {.run = run_widened, .destroy = destroy_widened};

/* --- preparing --- */

/* The float32 desc: plain where it was 16 bits. */
static dl_status inner_desc(const dl_op_desc *desc, dl_op_desc *out) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    *out = dl_op_widened(desc);
    for (int i = 0; i < info->n_slots; i++) {
        const dl_layout *layout = desc->slot[i].layout;
        if (desc->slot[i].present && dl_dtype_is_half(desc->slot[i].dtype)) {
            DL_RETURN_ERROR_IF(layout != NULL && layout != &dl_layout_any, DL_ERR_INTERNAL,
                               "%s: no backend takes slot '%s' as %s in layout %s", info->name,
                               info->slots[i].name, dl_dtype_name(desc->slot[i].dtype), layout->name);
            out->slot[i].layout = NULL;
        }
    }
    return DL_OK;
}

/* A cast of so many elements that needs no workspace, on the device or its fallback. */
static dl_status prepare_cast(dl_device *device, dl_dtype from, dl_dtype to, int64_t n, dl_op **out) {
    dl_op_desc desc = {.kind = DL_OP_CAST};
    desc.slot[0] = (dl_tensor_desc){.present = true, .dtype = from, .shape = DL_SHAPE(n)};
    desc.slot[1] = (dl_tensor_desc){.present = true, .dtype = to, .shape = DL_SHAPE(n)};
    DL_RETURN_IF_ERROR(dl_op_prepare(device, &desc, NULL, out));
    DL_RETURN_ERROR_IF((*out)->workspace_bytes > 0, DL_ERR_INTERNAL, "a cast on backend %s wants a workspace",
                       (*out)->device->backend->name);
    return DL_OK;
}

static dl_status prepare_casts(widened_op *op, dl_device *device, int i) {
    const dl_op_desc *desc = &op->base.desc;
    const dl_slot_role role = dl_op_info_of(desc->kind)->slots[i].role;
    const dl_dtype half = desc->slot[i].dtype;
    const int64_t n = dl_shape_elements(&desc->slot[i].shape);
    if (role != DL_SLOT_OUT || desc->attr.accumulate) {
        DL_RETURN_IF_ERROR(prepare_cast(device, half, DL_F32, n, &op->widen[i]));
    }
    return role == DL_SLOT_IN ? DL_OK : prepare_cast(device, DL_F32, half, n, &op->narrow[i]);
}

static dl_status prepare_slots(widened_op *op, dl_device *device) {
    const dl_op_info *info = dl_op_info_of(op->base.desc.kind);
    size_t n_bytes = 0;
    for (int i = 0; i < info->n_slots; i++) {
        op->base.layout[i] = op->inner->layout[i];
        op->base.desc.slot[i].layout = op->base.layout[i];
        if (!is_half(op, i)) {
            continue;
        }
        DL_RETURN_ERROR_IF(op->inner->layout[i] != NULL, DL_ERR_INTERNAL,
                           "%s: slot '%s' of float32 has layout %s, which 16-bit floats cannot follow",
                           info->name, info->slots[i].name, op->inner->layout[i]->name);
        op->image[i] = n_bytes;
        n_bytes += dl_round_up(dl_tensor_plain_bytes(&op->inner->desc.slot[i]), DL_CACHE_LINE);
        DL_RETURN_IF_ERROR(prepare_casts(op, device, i));
    }
    op->inner_at = n_bytes;
    op->base.workspace_bytes = n_bytes + op->inner->workspace_bytes;
    return DL_OK;
}

dl_status dl_widened_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    widened_op *op = NULL;
    dl_op_desc wide;
    DL_RETURN_IF_ERROR(inner_desc(desc, &wide));
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.functions = &widened_functions;
    op->base.desc = *desc;
    dl_status status = dl_op_prepare(device, &wide, forward, &op->inner);
    if (status == DL_OK) {
        op->base.device = op->inner->device;
        op->base.batch_invariant = op->inner->batch_invariant;
        (void)snprintf(op->base.implementation, sizeof op->base.implementation, "float32:%.38s",
                       op->inner->implementation);
        status = prepare_slots(op, device);
    }
    if (status != DL_OK) {
        destroy_widened(&op->base);
        return status;
    }
    *out = &op->base;
    return DL_OK;
}
