/* Random changes of images before they are normalized: bytes or floats, moved as they are. */
#include "kernels/ops/info.h"

static const dl_slot_info slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("ids", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("step", IN, 0, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_BATCHED, -1),
};

static dl_status check(const dl_op_desc *desc) {
    const dl_dtype dtype = desc->slot[0].dtype;
    const int64_t *cells = desc->attr.u.augment.cells;
    const char *name = dl_op_info_of(desc->kind)->name;
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "x", 4));
    DL_RETURN_ERROR_IF(dtype != DL_U8 && dtype != DL_F32, DL_ERR_INTERNAL,
                       "%s: slot 'x' is %s, not uint8 or float32", name, dl_dtype_name(dtype));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "y", dtype));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "x", "y"));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "ids", DL_I64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "ids", DL_SHAPE(desc->slot[0].shape.dim[0])));
    DL_RETURN_ERROR_IF(desc->kind == DL_OP_RANDOM_CROP && (cells[0] < 0 || cells[1] < 0), DL_ERR_INTERNAL,
                       "%s: moves by a negative number of cells", name);
    return dl_info_check_blocks(desc);
}

const dl_op_info dl_op_info_random_crop = {
    .name = "random_crop",
    .doc = "y[h, w] = x[h + r, w + s] with random r, s of each sample, -cells..cells; 0 outside x",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(slots),
    .slots = slots,
    .check = check,
};

const dl_op_info dl_op_info_random_flip = {
    .name = "random_flip",
    .doc = "y = x, or x mirrored, with equal chance for each sample",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(slots),
    .slots = slots,
    .check = check,
};
