#include "conformance.h"

#include "kernels/common/blocks.h"

static void total(dlc_list *list, const char *name, dl_dtype dtype, dl_shape rows, bool accumulate) {
    dlc_case *test = dlc_add(list, DL_OP_SUM_SAMPLES, name, 0, DLC_UNIFORM);
    test->desc.attr.accumulate = accumulate;
    test->desc.attr.u.sum.on_grid = dtype == DL_F64;
    dlc_slot(test, "x", dtype, rows);
    dlc_slot(test, "total", DL_F64, DL_SHAPE(1));
}

static void add(dlc_list *list, const char *name, int flags, dl_shape shape) {
    dlc_case *test = dlc_add(list, DL_OP_ADD, name, flags, DLC_UNIFORM);
    dlc_slot(test, "a", DL_F32, shape);
    dlc_slot(test, "b", DL_F32, shape);
    dlc_slot(test, "y", DL_F32, shape);
}

static void tree(dlc_list *list, const char *name, dl_dtype dtype, int64_t k, int64_t n) {
    dlc_case *test = dlc_add(list, DL_OP_TREE_SUM, name, 0, DLC_UNIFORM);
    dlc_slot(test, "x", dtype, DL_SHAPE(k, n));
    dlc_slot(test, "y", dtype, DL_SHAPE(n));
}

static void finite(dlc_list *list, const char *name, dlc_fill fill, int64_t n) {
    dlc_case *test = dlc_add(list, DL_OP_CHECK_FINITE, name, 0, fill);
    dlc_slot(test, "x", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
}

static void squares(dlc_list *list, const char *name, dlc_fill fill, int64_t n) {
    dlc_case *test = dlc_add(list, DL_OP_SUM_SQUARES, name, 0, fill);
    dlc_slot(test, "x", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "sums", DL_F64, DL_SHAPE((n + DL_SQUARES_BLOCK - 1) / DL_SQUARES_BLOCK));
    dlc_slot(test, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
}

static void norm(dlc_list *list, const char *name, int64_t n, double limit) {
    dlc_case *test = dlc_add(list, DL_OP_GRADIENT_NORM, name, 0, DLC_UNIFORM);
    test->desc.attr.u.clip = (dl_clip_attr){.capacity = 16, .limit = limit};
    dlc_slot(test, "sums", DL_F64, DL_SHAPE(n));
    dlc_slot(test, "totals", DL_F64, DL_SHAPE(DL_N_TOTALS));
    dlc_slot(test, "norm", DL_F64, DL_SHAPE(DL_N_NORMS));
}

void dlc_cases_sums(dlc_list *list) {
    total(list, "128 samples", DL_F32, DL_SHAPE(128), false);
    total(list, "61 samples, added", DL_F32, DL_SHAPE(61), true);
    total(list, "one sample", DL_F32, DL_SHAPE(1), false);
    total(list, "no samples", DL_F32, DL_SHAPE(0), false);
    total(list, "no samples, added", DL_F32, DL_SHAPE(0), true);
    total(list, "several rows a sample", DL_F32, DL_SHAPE(7, 5, 3), true);
    total(list, "doubles", DL_F64, DL_SHAPE(13, 2), true);
    add(list, "images", DLC_ROWS, DL_SHAPE(3, 5, 5, 16));
    add(list, "odd rows", 0, DL_SHAPE(61, 7));
    add(list, "one element", 0, DL_SHAPE(1, 1));
    tree(list, "8 pieces", DL_F32, 8, 37);
    tree(list, "4 pieces of one", DL_F32, 4, 1);
    tree(list, "one piece", DL_F32, 1, 13);
    tree(list, "2 pieces, large", DL_F32, 2, 5003);
    tree(list, "8 totals", DL_F64, 8, 2);
    finite(list, "all finite", DLC_UNIFORM, 1001);
    finite(list, "the last is NaN", DLC_NAN_LAST, 1001);
    finite(list, "the first is infinite", DLC_INF_FIRST, 67);
    finite(list, "one NaN", DLC_NAN_LAST, 1);
    finite(list, "nothing", DLC_UNIFORM, 0);
    squares(list, "several blocks", DLC_UNIFORM, 3 * DL_SQUARES_BLOCK + 5);
    squares(list, "one block", DLC_UNIFORM, DL_SQUARES_BLOCK);
    squares(list, "the last is NaN", DLC_NAN_LAST, DL_SQUARES_BLOCK + 1);
    squares(list, "the first is infinite", DLC_INF_FIRST, 67);
    squares(list, "nothing", DLC_UNIFORM, 0);
    norm(list, "below the limit", 37, 1e3);
    norm(list, "above the limit", 37, 0.25);
    norm(list, "one block, no limit", 1, 0);
}
