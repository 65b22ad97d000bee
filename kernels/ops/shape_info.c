/* Images with a border of zeros (channels too), and tensors side by side. */
#include "kernels/ops/info.h"

static const dl_slot_info padding_forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info padding_backward_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info concatenate_forward_slots[] = {
    DL_SLOT_ROW("a", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("b", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("c", IN, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("d", IN, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("e", IN, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("f", IN, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

/* A part whose gradient nobody wants is absent; the attribute tells where the others are. */
static const dl_slot_info concatenate_backward_slots[] = {
    DL_SLOT_ROW("da", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("db", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dc", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dd", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("de", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("df", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
};

/* Slot 0 is the side without the border in both kinds when `inner` is 0, the other when it is 1. */
static dl_status check_padding(const dl_op_desc *desc, int inner) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const int64_t *cells = desc->attr.u.padding.cells, *channels = desc->attr.u.padding.channels;
    for (int i = 0; i < 2; i++) {
        DL_RETURN_IF_ERROR(dl_info_check_dims(desc, info->slots[i].name, 4));
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, info->slots[i].name, DL_F32));
    }
    for (int i = 0; i < 4; i++) {
        DL_RETURN_ERROR_IF(cells[i] < 0 || channels[i / 2] < 0, DL_ERR_INTERNAL, "%s: padding below 0",
                           info->name);
    }
    const int64_t *x = desc->slot[inner].shape.dim;
    return dl_info_check_shape(desc, info->slots[1 - inner].name,
                               DL_SHAPE(x[0], x[1] + cells[0] + cells[1], x[2] + cells[2] + cells[3],
                                        x[3] + channels[0] + channels[1]));
}

static dl_status check_padding_forward(const dl_op_desc *desc) {
    return check_padding(desc, 0);
}

static dl_status check_padding_backward(const dl_op_desc *desc) {
    return check_padding(desc, 1);
}

/* Slots 0 .. DL_MAX_CONCATENATED - 1 are the parts, the last slot is the whole. */
static dl_status check_concatenate(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_tensor_desc *whole = &desc->slot[info->n_slots - 1];
    const int last = whole->shape.n_dims - 1;
    int64_t sum = 0;
    DL_RETURN_ERROR_IF(last < 1, DL_ERR_INTERNAL, "%s: the whole has fewer than 2 dimensions", info->name);
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, info->slots[info->n_slots - 1].name, DL_F32));
    for (int i = 0; i < DL_MAX_CONCATENATED; i++) {
        dl_shape part = whole->shape;
        part.dim[last] = desc->attr.u.concatenate.width[i];
        sum += part.dim[last];
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, info->slots[i].name, DL_F32));
        DL_RETURN_IF_ERROR(dl_info_check_shape(desc, info->slots[i].name, part));
    }
    DL_RETURN_ERROR_IF(sum != whole->shape.dim[last], DL_ERR_INTERNAL,
                       "%s: the parts do not make up the whole", info->name);
    return DL_OK;
}

const dl_op_info dl_op_info_zero_padding2d_forward = {
    .name = "zero_padding2d_forward",
    .doc = "y = x with rows, columns and channels of zeros around it",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(padding_forward_slots),
    .slots = padding_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_ZERO_PADDING2D_BACKWARD, {"x"}}},
    .check = check_padding_forward,
};

const dl_op_info dl_op_info_zero_padding2d_backward = {
    .name = "zero_padding2d_backward",
    .doc = "dx = dy without its border",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(padding_backward_slots),
    .slots = padding_backward_slots,
    .check = check_padding_backward,
};

const dl_op_info dl_op_info_concatenate_forward = {
    .name = "concatenate_forward",
    .doc = "y = a, b, ... side by side along the last dimension",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(concatenate_forward_slots),
    .slots = concatenate_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_CONCATENATE_BACKWARD, {"a", "b", "c", "d", "e", "f"}}},
    .check = check_concatenate,
};

const dl_op_info dl_op_info_concatenate_backward = {
    .name = "concatenate_backward",
    .doc = "da, db, ... = the parts of dy along the last dimension",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(concatenate_backward_slots),
    .slots = concatenate_backward_slots,
    .check = check_concatenate,
};
