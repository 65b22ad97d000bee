#include "conformance.h"

#include "kernels/common/blocks.h"

static void add(dlc_list *list, dl_op_kind kind, const char *name, dl_dtype dtype, dl_shape x,
                dl_augment_attr attr) {
    dlc_case *test = dlc_add(list, kind, name, DLC_ROWS, DLC_UNIFORM);
    attr.seed = 9;
    attr.purpose = 12;
    test->desc.attr.u.augment = attr;
    dlc_slot(test, "x", dtype, x);
    dlc_slot(test, "ids", DL_I64, DL_SHAPE(x.dim[0]));
    dlc_slot(test, "step", DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
    dlc_slot(test, "y", dtype, x);
}

void dlc_cases_augment(dlc_list *list) {
    const dl_shape image = DL_SHAPE(9, 6, 5, 3);
    add(list, DL_OP_RANDOM_CROP, "bytes, 2 cells", DL_U8, image, (dl_augment_attr){.cells = {2, 2}});
    add(list, DL_OP_RANDOM_CROP, "floats, columns only", DL_F32, image, (dl_augment_attr){.cells = {0, 7}});
    add(list, DL_OP_RANDOM_CROP, "stays", DL_U8, DL_SHAPE(1, 1, 1, 1), (dl_augment_attr){.cells = {0, 0}});
    add(list, DL_OP_RANDOM_FLIP, "bytes, left and right", DL_U8, image, (dl_augment_attr){.columns = true});
    add(list, DL_OP_RANDOM_FLIP, "floats, top and bottom", DL_F32, image,
        (dl_augment_attr){.columns = false});
}
