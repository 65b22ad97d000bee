/* Losses, metrics, input pixels. */
#include "conformance.h"

static void losses(dlc_list *list, const char *name, int flags, int64_t n, int64_t k) {
    dlc_case *test = dlc_add(list, DL_OP_CROSS_ENTROPY_FORWARD, name, flags, DLC_PROBABILITY);
    test->desc.attr.u.loss.scale = 1.0 / 128;
    dlc_slot(test, "p", DL_F32, DL_SHAPE(n, k));
    dlc_slot(test, "labels", DL_I32, DL_SHAPE(n));
    dlc_slot(test, "loss", DL_F32, DL_SHAPE(n));
}

static void fused(dlc_list *list, const char *name, int flags, dlc_fill fill, int64_t n, int64_t k) {
    dlc_case *test = dlc_add(list, DL_OP_SOFTMAX_CROSS_ENTROPY, name, flags, fill);
    test->desc.attr.u.loss.scale = 1.0 / 61;
    dlc_slot(test, "x", DL_F32, DL_SHAPE(n, k));
    dlc_slot(test, "labels", DL_I32, DL_SHAPE(n));
    dlc_slot(test, "loss", DL_F32, DL_SHAPE(n));
    if ((flags & DLC_FORWARD_ONLY) == 0) {
        dlc_slot(test, "dx", DL_F32, DL_SHAPE(n, k));
        dlc_slot(test, "p", DL_F32, DL_SHAPE(n, k));
    }
}

static void accuracy(dlc_list *list, const char *name, int flags, dlc_fill fill, int64_t n, int64_t k) {
    dlc_case *test = dlc_add(list, DL_OP_ACCURACY, name, flags, fill);
    dlc_slot(test, "x", DL_F32, DL_SHAPE(n, k));
    dlc_slot(test, "labels", DL_I32, DL_SHAPE(n));
    dlc_slot(test, "correct", DL_F32, DL_SHAPE(n));
}

static void pixels(dlc_list *list, const char *name, int flags, dl_dtype dtype, int n_values,
                   dl_shape shape) {
    dlc_case *test = dlc_add(list, DL_OP_NORMALIZE_IMAGES, name, flags, DLC_UNIFORM);
    dl_normalize_attr *attr = &test->desc.attr.u.normalize;
    *attr = (dl_normalize_attr){.scale = dtype == DL_U8 ? 1.0 / 255 : 1.0, .n_values = n_values};
    for (int c = 0; c < n_values; c++) {
        attr->mean[c] = 0.4 + 0.05 * c;
        attr->std[c] = 0.25 + 0.1 * c;
    }
    dlc_slot(test, "x", dtype, shape);
    dlc_slot(test, "y", DL_F32, shape);
}

void dlc_cases_loss(dlc_list *list) {
    losses(list, "10 classes", DLC_ROWS, 9, 10);
    losses(list, "61 samples, 7 classes", 0, 61, 7);
    losses(list, "one sample, one class", 0, 1, 1);
    fused(list, "10 classes", DLC_ROWS, DLC_UNIFORM, 16, 10);
    fused(list, "61 samples, 37 classes", 0, DLC_UNIFORM, 61, 37);
    fused(list, "large values", DLC_KINKS, DLC_LARGE, 8, 100);
    fused(list, "one sample, one class", 0, DLC_UNIFORM, 1, 1);
    fused(list, "evaluation, loss only", DLC_FORWARD_ONLY, DLC_UNIFORM, 13, 10);
    accuracy(list, "10 classes", DLC_ROWS, DLC_UNIFORM, 61, 10);
    accuracy(list, "ties, the first wins", 0, DLC_TIES, 100, 5);
    accuracy(list, "a row with NaN is wrong", 0, DLC_NAN_LAST, 7, 1);
    accuracy(list, "infinite values", 0, DLC_INF_FIRST, 7, 4);
    pixels(list, "bytes, one value", DLC_ROWS, DL_U8, 1, DL_SHAPE(5, 7, 7, 1));
    pixels(list, "bytes, by channel", 0, DL_U8, 3, DL_SHAPE(3, 5, 11, 3));
    pixels(list, "bytes, one value for 3 channels", 0, DL_U8, 1, DL_SHAPE(2, 4, 4, 3));
    pixels(list, "floats, 16 channels", 0, DL_F32, 16, DL_SHAPE(61, 3, 1, 16));
    pixels(list, "one pixel", 0, DL_F32, 1, DL_SHAPE(1, 1));
}
