/* Moving, clearing, changing layouts. Layouts other than plain come from the suite's variants, and from every
 * convolution whose weights want one. */
#include "conformance.h"

static dlc_case *moving(dlc_list *list, dl_op_kind kind, const char *name, int flags, dl_dtype dtype,
                        dl_shape shape) {
    dlc_case *test = dlc_add(list, kind, name, flags, DLC_UNIFORM);
    if (kind != DL_OP_FILL_ZERO) {
        dlc_slot(test, "x", dtype, shape);
    }
    dlc_slot(test, "y", dtype, shape);
    return test;
}

static void cast(dlc_list *list, const char *name, int flags, dlc_fill fill, dl_dtype from, dl_dtype to,
                 dl_shape shape) {
    dlc_case *test = dlc_add(list, DL_OP_CAST, name, flags, fill);
    dlc_slot(test, "x", from, shape);
    dlc_slot(test, "y", to, shape);
}

/* Parameters go to the 16-bit type of kernels from float32. */
static void packed(dlc_list *list, const char *name, dl_dtype to, dl_shape shape) {
    dlc_case *test = dlc_add(list, DL_OP_PACK, name, 0, DLC_UNIFORM);
    dlc_slot(test, "x", DL_F32, shape);
    dlc_slot(test, "y", to, shape);
}

static void add_casts(dlc_list *list) {
    cast(list, "to bfloat16", DLC_ROWS, DLC_UNIFORM, DL_F32, DL_BF16, DL_SHAPE(5, 37));
    cast(list, "from bfloat16", DLC_ROWS, DLC_UNIFORM, DL_BF16, DL_F32, DL_SHAPE(5, 37));
    cast(list, "to float16", DLC_ROWS, DLC_UNIFORM, DL_F32, DL_F16, DL_SHAPE(4, 3, 3, 7));
    cast(list, "from float16", DLC_ROWS, DLC_UNIFORM, DL_F16, DL_F32, DL_SHAPE(4, 3, 3, 7));
    cast(list, "one number", 0, DLC_UNIFORM, DL_F32, DL_BF16, DL_SHAPE(1));
    cast(list, "nothing", 0, DLC_UNIFORM, DL_F32, DL_F16, DL_SHAPE(0, 3));
    cast(list, "NaN to bfloat16", 0, DLC_NAN_LAST, DL_F32, DL_BF16, DL_SHAPE(3, 11));
    cast(list, "infinity to float16", 0, DLC_INF_FIRST, DL_F32, DL_F16, DL_SHAPE(3, 11));
    packed(list, "matrix to bfloat16", DL_BF16, DL_SHAPE(17, 19));
    packed(list, "filters to float16", DL_F16, DL_SHAPE(5, 3, 2, 2));
}

void dlc_cases_memory(dlc_list *list) {
    (void)moving(list, DL_OP_FILL_ZERO, "floats", 0, DL_F32, DL_SHAPE(7, 13));
    (void)moving(list, DL_OP_FILL_ZERO, "doubles", 0, DL_F64, DL_SHAPE(8));
    (void)moving(list, DL_OP_FILL_ZERO, "one byte", 0, DL_U8, DL_SHAPE(1));
    (void)moving(list, DL_OP_FILL_ZERO, "nothing", 0, DL_F32, DL_SHAPE(0, 5));
    (void)moving(list, DL_OP_COPY, "floats", 0, DL_F32, DL_SHAPE(101, 3));
    (void)moving(list, DL_OP_COPY, "bytes", 0, DL_U8, DL_SHAPE(77));
    (void)moving(list, DL_OP_COPY, "ids", 0, DL_I64, DL_SHAPE(61));
    (void)moving(list, DL_OP_COPY, "nothing", 0, DL_F64, DL_SHAPE(0));
    (void)moving(list, DL_OP_REORDER, "images", DLC_ROWS, DL_F32, DL_SHAPE(3, 5, 5, 16));
    (void)moving(list, DL_OP_REORDER, "images of 7 channels", 0, DL_F32, DL_SHAPE(2, 4, 3, 7));
    (void)moving(list, DL_OP_REORDER, "rows", 0, DL_F32, DL_SHAPE(5, 33));
    (void)moving(list, DL_OP_PACK, "filters", 0, DL_F32, DL_SHAPE(5, 3, 2, 2));
    (void)moving(list, DL_OP_PACK, "matrix", 0, DL_F32, DL_SHAPE(17, 19));
    (void)moving(list, DL_OP_UNPACK, "filters", 0, DL_F32, DL_SHAPE(5, 3, 2, 2));
    moving(list, DL_OP_UNPACK, "filters, added", 0, DL_F32, DL_SHAPE(5, 3, 2, 2))->desc.attr.accumulate =
        true;
    moving(list, DL_OP_UNPACK, "matrix, added", 0, DL_F32, DL_SHAPE(17, 19))->desc.attr.accumulate = true;
    add_casts(list);
}
