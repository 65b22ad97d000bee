#include "kernels/op.h"

#include "kernels/common/half.h"
#include "kernels/ops/info.h"

#include <string.h>

const dl_layout dl_layout_any = {.name = "any"};

static const dl_op_info *const infos[DL_N_OP_KINDS] = {
#define DL_OP_KIND(NAME, name) [DL_OP_##NAME] = &dl_op_info_##name,
#include "kernels/ops.def"
#undef DL_OP_KIND
};

const dl_op_info *dl_op_info_of(dl_op_kind kind) {
    return infos[kind];
}

bool dl_op_is_convolution(dl_op_kind kind) {
    return kind == DL_OP_CONV2D_FORWARD || kind == DL_OP_CONV2D_BACKWARD_DATA ||
           kind == DL_OP_CONV2D_BACKWARD_WEIGHTS;
}

int dl_op_slot(const dl_op_info *info, const char *name) {
    for (int i = 0; i < info->n_slots; i++) {
        if (strcmp(info->slots[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

dl_tensor_desc dl_op_gradient_tensor(const dl_op_desc *desc, int i) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    if (info->gradient_tensor != NULL) {
        return info->gradient_tensor(desc, i);
    }
    return (dl_tensor_desc){.present = true, .dtype = DL_F32, .shape = desc->slot[i].shape};
}

bool dl_op_has_half(const dl_op_desc *desc) {
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        if (desc->slot[i].present && dl_dtype_is_half(desc->slot[i].dtype)) {
            return true;
        }
    }
    return false;
}

dl_op_desc dl_op_widened(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    dl_op_desc wide = *desc;
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].half && dl_dtype_is_half(wide.slot[i].dtype)) {
            wide.slot[i].dtype = DL_F32;
        }
    }
    return wide;
}

size_t dl_tensor_plain_bytes(const dl_tensor_desc *tensor) {
    return (size_t)dl_shape_elements(&tensor->shape) * dl_dtype_bytes(tensor->dtype);
}

int64_t dl_op_samples(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].batched && desc->slot[i].present) {
            return desc->slot[i].shape.dim[0];
        }
    }
    return -1;
}

dl_op_desc dl_op_with_samples(const dl_op_desc *desc, int64_t n_samples) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    dl_op_desc other = *desc;
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].batched && other.slot[i].present) {
            other.slot[i].shape.dim[0] = n_samples;
        }
    }
    return other;
}

static dl_status check_slot(const dl_op_info *info, const dl_op_desc *desc, int i) {
    const dl_slot_info *slot = &info->slots[i];
    const dl_tensor_desc *tensor = &desc->slot[i];
    if (!tensor->present) {
        DL_RETURN_ERROR_IF(!slot->optional, DL_ERR_INTERNAL, "%s: slot '%s' is missing", info->name,
                           slot->name);
        return DL_OK;
    }
    DL_RETURN_ERROR_IF((int)tensor->dtype < 0 || tensor->dtype >= DL_N_DTYPES, DL_ERR_INTERNAL,
                       "%s: slot '%s' has no valid dtype", info->name, slot->name);
    DL_RETURN_ERROR_IF(tensor->shape.n_dims < 0 || tensor->shape.n_dims > DL_MAX_DIMS ||
                           dl_shape_check(&tensor->shape) != DL_OK,
                       DL_ERR_INTERNAL, "%s: slot '%s' has a negative or too large shape", info->name,
                       slot->name);
    DL_RETURN_ERROR_IF(slot->batched && tensor->shape.n_dims < 1, DL_ERR_INTERNAL,
                       "%s: slot '%s' has no dimension of samples", info->name, slot->name);
    DL_RETURN_ERROR_IF(slot->batched && tensor->shape.dim[0] != dl_op_samples(desc), DL_ERR_INTERNAL,
                       "%s: slot '%s' has %lld samples, others %lld", info->name, slot->name,
                       (long long)tensor->shape.dim[0], (long long)dl_op_samples(desc));
    const bool free_layout = slot->layout_free || slot->saved;
    DL_RETURN_ERROR_IF(!free_layout && tensor->layout != NULL && tensor->layout != &dl_layout_any,
                       DL_ERR_INTERNAL, "%s: slot '%s' is plain, not %s", info->name, slot->name,
                       tensor->layout->name);
    return DL_OK;
}

/* Activations are an attribute of the kinds that fuse them and of the activation kinds themselves. */
static dl_status check_activation(const dl_op_info *info, const dl_op_desc *desc) {
    const dl_activation activation = desc->attr.activation;
    const bool has_it = info->fuses_activation || desc->kind == DL_OP_ACTIVATION_FORWARD ||
                        desc->kind == DL_OP_ACTIVATION_BACKWARD;
    DL_RETURN_ERROR_IF((int)activation < 0 || activation >= DL_N_ACTIVATIONS, DL_ERR_INTERNAL,
                       "%s: unknown activation %d", info->name, (int)activation);
    DL_RETURN_ERROR_IF(activation != DL_ACT_NONE && !has_it, DL_ERR_INTERNAL, "%s: fuses no activation",
                       info->name);
    return DL_OK;
}

dl_status dl_op_check(const dl_op_desc *desc) {
    DL_RETURN_ERROR_IF((int)desc->kind < 0 || desc->kind >= DL_N_OP_KINDS, DL_ERR_INTERNAL,
                       "operation kind %d does not exist", (int)desc->kind);
    const dl_op_info *info = dl_op_info_of(desc->kind);
    for (int i = 0; i < info->n_slots; i++) {
        DL_RETURN_IF_ERROR(check_slot(info, desc, i));
    }
    DL_RETURN_IF_ERROR(check_activation(info, desc));
    const dl_op_desc wide = dl_op_widened(desc);
    DL_RETURN_IF_ERROR(info->check(&wide));
    return DL_OK;
}
