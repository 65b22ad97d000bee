/* Losses, metrics, input pixels. */
#include "conformance.h"

#include "kernels/common/blocks.h"

/* The shape of what each row of `rows` gives. */
static dl_shape per_row(dl_shape rows) {
    rows.dim[--rows.n_dims] = 0;
    return rows;
}

static dlc_case *losses(dlc_list *list, const char *name, int flags, dl_shape rows) {
    dlc_case *test = dlc_add(list, DL_OP_CROSS_ENTROPY_FORWARD, name, flags, DLC_PROBABILITY);
    test->desc.attr.u.loss.scale = 1.0 / 128;
    dlc_slot(test, "p", DL_F32, rows);
    dlc_slot(test, "labels", DL_I32, per_row(rows));
    dlc_slot(test, "loss", DL_F32, per_row(rows));
    return test;
}

static dlc_case *fused(dlc_list *list, const char *name, int flags, dlc_fill fill, dl_shape rows) {
    dlc_case *test = dlc_add(list, DL_OP_SOFTMAX_CROSS_ENTROPY, name, flags, fill);
    test->desc.attr.u.loss.scale = 1.0 / 61;
    dlc_slot(test, "x", DL_F32, rows);
    dlc_slot(test, "labels", DL_I32, per_row(rows));
    dlc_slot(test, "loss", DL_F32, per_row(rows));
    if ((flags & DLC_FORWARD_ONLY) == 0) {
        dlc_slot(test, "dx", DL_F32, rows);
        dlc_slot(test, "p", DL_F32, rows);
    }
    return test;
}

static dlc_case *accuracy(dlc_list *list, const char *name, int flags, dlc_fill fill, dl_shape rows) {
    dlc_case *test = dlc_add(list, DL_OP_ACCURACY, name, flags, fill);
    test->desc.attr.u.accuracy.k = 1;
    dlc_slot(test, "x", DL_F32, rows);
    dlc_slot(test, "labels", DL_I32, per_row(rows));
    dlc_slot(test, "correct", DL_F32, per_row(rows));
    return test;
}

static dlc_case *error(dlc_list *list, const char *name, int flags, bool absolute, dl_shape rows) {
    dlc_case *test = dlc_add(list, DL_OP_ERROR_FORWARD, name, flags, absolute ? DLC_DISTINCT : DLC_UNIFORM);
    test->desc.attr.u.loss = (dl_loss_attr){.scale = 1.0 / 8, .absolute = absolute};
    dlc_slot(test, "x", DL_F32, rows);
    dlc_slot(test, "target", DL_F32, rows);
    dlc_slot(test, "loss", DL_F32, per_row(rows));
    return test;
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

/* Gradients under a loss scale, each kind by itself. */
static void scaled(dlc_list *list) {
    const dl_shape rows = DL_SHAPE(7, 13);
    dlc_slot(fused(list, "scaled", DLC_MASKED | DLC_KINKS, DLC_UNIFORM, rows), "scale", DL_F64,
             DL_SHAPE(DL_N_SCALES));
    dlc_case *backward = dlc_add(list, DL_OP_CROSS_ENTROPY_BACKWARD, "scaled", DLC_KINKS, DLC_PROBABILITY);
    dlc_slot(backward, "p", DL_F32, rows);
    dlc_slot(backward, "dp", DL_F32, rows);
    dlc_case *error_backward = dlc_add(list, DL_OP_ERROR_BACKWARD, "scaled", DLC_KINKS, DLC_UNIFORM);
    dlc_slot(error_backward, "x", DL_F32, rows);
    dlc_slot(error_backward, "target", DL_F32, rows);
    dlc_slot(error_backward, "dx", DL_F32, rows);
    for (dlc_case *test = list->at + list->n - 2; test < list->at + list->n; test++) {
        test->desc.attr.u.loss.scale = 1.0 / 8;
        dlc_slot(test, "scale", DL_F64, DL_SHAPE(DL_N_SCALES));
    }
    dlc_slot(&list->at[list->n - 2], "labels", DL_I32, DL_SHAPE(7));
}

static void cross_entropies(dlc_list *list) {
    losses(list, "10 classes", DLC_ROWS, DL_SHAPE(9, 10));
    losses(list, "61 samples, 7 classes", 0, DL_SHAPE(61, 7));
    losses(list, "one sample, one class", 0, DL_SHAPE(1, 1));
    losses(list, "rows without label", DLC_ROWS | DLC_MASKED, DL_SHAPE(5, 3, 10));
    losses(list, "smoothed", DLC_MASKED, DL_SHAPE(7, 2, 3, 5))->desc.attr.u.loss.smoothing = 0.1;
    dlc_case *figures = losses(list, "in double", DLC_FORWARD_ONLY | DLC_MASKED, DL_SHAPE(17, 10));
    dlc_slot(figures, "loss", DL_F64, DL_SHAPE(17));
    fused(list, "10 classes", DLC_ROWS, DLC_UNIFORM, DL_SHAPE(16, 10));
    fused(list, "61 samples, 37 classes", 0, DLC_UNIFORM, DL_SHAPE(61, 37));
    fused(list, "large values", DLC_KINKS, DLC_LARGE, DL_SHAPE(8, 100));
    fused(list, "one sample, one class", 0, DLC_UNIFORM, DL_SHAPE(1, 1));
    fused(list, "evaluation, loss only", DLC_FORWARD_ONLY, DLC_UNIFORM, DL_SHAPE(13, 10));
    fused(list, "rows without label", DLC_ROWS | DLC_MASKED, DLC_UNIFORM, DL_SHAPE(6, 7, 19));
    fused(list, "smoothed", DLC_ROWS | DLC_MASKED, DLC_UNIFORM, DL_SHAPE(6, 35))->desc.attr.u.loss.smoothing =
        0.1;
    fused(list, "smoothed to the utmost", 0, DLC_UNIFORM, DL_SHAPE(3, 4))->desc.attr.u.loss.smoothing = 1;
    dlc_case *precise =
        fused(list, "in double", DLC_FORWARD_ONLY | DLC_MASKED, DLC_UNIFORM, DL_SHAPE(3, 5, 11));
    dlc_slot(precise, "loss", DL_F64, DL_SHAPE(3, 5));
}

static void accuracies(dlc_list *list) {
    accuracy(list, "10 classes", DLC_ROWS, DLC_UNIFORM, DL_SHAPE(61, 10));
    accuracy(list, "ties, the first wins", 0, DLC_TIES, DL_SHAPE(100, 5));
    accuracy(list, "a row with NaN is wrong", 0, DLC_NAN_LAST, DL_SHAPE(7, 1));
    accuracy(list, "infinite values", 0, DLC_INF_FIRST, DL_SHAPE(7, 4));
    accuracy(list, "rows without label", DLC_ROWS | DLC_MASKED, DLC_UNIFORM, DL_SHAPE(8, 5, 3));
    accuracy(list, "among 5 of 20", DLC_ROWS, DLC_UNIFORM, DL_SHAPE(60, 20))->desc.attr.u.accuracy.k = 5;
    accuracy(list, "among 3, ties", DLC_MASKED, DLC_TIES, DL_SHAPE(100, 9))->desc.attr.u.accuracy.k = 3;
    accuracy(list, "among more than there are", 0, DLC_NAN_LAST, DL_SHAPE(4, 3))->desc.attr.u.accuracy.k = 5;
}

static void errors(dlc_list *list) {
    error(list, "squared", DLC_ROWS, false, DL_SHAPE(9, 5));
    error(list, "squared, several rows", 0, false, DL_SHAPE(3, 4, 2));
    error(list, "absolute", DLC_ROWS, true, DL_SHAPE(6, 7));
    error(list, "absolute, one value", 0, true, DL_SHAPE(61, 1));
    dlc_slot(error(list, "in double", DLC_FORWARD_ONLY, false, DL_SHAPE(5, 3)), "loss", DL_F64, DL_SHAPE(5));
}

void dlc_cases_loss(dlc_list *list) {
    cross_entropies(list);
    accuracies(list);
    errors(list);
    scaled(list);
    pixels(list, "bytes, one value", DLC_ROWS, DL_U8, 1, DL_SHAPE(5, 7, 7, 1));
    pixels(list, "bytes, by channel", 0, DL_U8, 3, DL_SHAPE(3, 5, 11, 3));
    pixels(list, "bytes, one value for 3 channels", 0, DL_U8, 1, DL_SHAPE(2, 4, 4, 3));
    pixels(list, "floats, 16 channels", 0, DL_F32, 16, DL_SHAPE(61, 3, 1, 16));
    pixels(list, "one pixel", 0, DL_F32, 1, DL_SHAPE(1, 1));
}
