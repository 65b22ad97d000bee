/* Moving and clearing memory, changing types and layouts. */
#include "kernels/ops/info.h"

static const dl_slot_info fill_zero_slots[] = {
    DL_SLOT_ROW("y", OUT, 0, -1),
};

static const dl_slot_info copy_slots[] = {
    DL_SLOT_ROW("x", IN, 0, -1),
    DL_SLOT_ROW("y", OUT, 0, -1),
};

static const dl_slot_info cast_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info reorder_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_IMAGE, -1),
};

static const dl_slot_info pack_slots[] = {
    DL_SLOT_ROW("x", IN, 0, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_FREE | DL_SLOT_HALF, -1),
};

static const dl_slot_info unpack_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_FREE, -1),
    DL_SLOT_ROW("y", OUT, 0, -1),
};

static dl_status check_fill_zero(const dl_op_desc *desc) {
    (void)desc;
    return DL_OK;
}

static dl_status check_copy(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "y", desc->slot[0].dtype));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "x", "y"));
    return DL_OK;
}

static dl_status check_layout_change(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "x", DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "y", DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "x", "y"));
    return DL_OK;
}

const dl_op_info dl_op_info_fill_zero = {
    .name = "fill_zero",
    .doc = "y = 0",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(fill_zero_slots),
    .slots = fill_zero_slots,
    .check = check_fill_zero,
};

const dl_op_info dl_op_info_copy = {
    .name = "copy",
    .doc = "y = x",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(copy_slots),
    .slots = copy_slots,
    .check = check_copy,
};

const dl_op_info dl_op_info_cast = {
    .name = "cast",
    .doc = "y = x, rounded to nearest even where y has fewer bits",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(cast_slots),
    .slots = cast_slots,
    .check = check_layout_change,
};

const dl_op_info dl_op_info_reorder = {
    .name = "reorder",
    .doc = "y = x in another layout",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(reorder_slots),
    .slots = reorder_slots,
    .check = check_layout_change,
};

const dl_op_info dl_op_info_pack = {
    .name = "pack",
    .doc = "y = the parameter x in the type and layout that a kernel wants",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(pack_slots),
    .slots = pack_slots,
    .check = check_layout_change,
};

const dl_op_info dl_op_info_unpack = {
    .name = "unpack",
    .doc = "y = x in the plain layout; with accumulate, y += x",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(unpack_slots),
    .slots = unpack_slots,
    .check = check_layout_change,
    .rounding = &dl_rounding_of_two,
};
