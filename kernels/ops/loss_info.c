/* Losses and metrics, row by row, natural logarithm. Rows are along the last dimension of slot 0; there may
 * be any number of them for each sample. What a row gives (loss, correct) is float32, or float64 where its
 * sum is a figure that people compare (evaluation). Gradients are multiplied by the loss scale, where there
 * is one (slot `scale`), before they are rounded. */
#include "kernels/ops/info.h"

#include "kernels/ops/sizes.h"

#include <string.h>

static const dl_slot_info cross_entropy_forward_slots[] = {
    DL_SLOT_ROW("p", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("loss", OUT, DL_SLOT_BATCHED, -1),
};

static const dl_slot_info cross_entropy_backward_slots[] = {
    DL_SLOT_ROW("p", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dp", OUT, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("scale", IN, DL_SLOT_OPTIONAL, -1),
};

static const dl_slot_info softmax_cross_entropy_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("loss", OUT, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, 0),
    DL_SLOT_ROW("p", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("scale", IN, DL_SLOT_OPTIONAL, -1),
};

static const dl_slot_info accuracy_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("correct", OUT, DL_SLOT_BATCHED, -1),
};

static const dl_slot_info error_forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("target", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("loss", OUT, DL_SLOT_BATCHED, -1),
};

static const dl_slot_info error_backward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("target", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("scale", IN, DL_SLOT_OPTIONAL, -1),
};

/* What a row gives: one number for each, in either precision. */
static dl_status check_row_values(const dl_op_desc *desc, const char *name, const dl_shape *rows) {
    const int i = dl_op_slot(dl_op_info_of(desc->kind), name);
    if (i >= 0 && desc->slot[i].present && desc->slot[i].dtype == DL_F64) {
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, name, DL_F64));
    } else {
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, name, DL_F32));
    }
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, name, *rows));
    return DL_OK;
}

/* Slot 0 holds the rows, [N, ..., K], in all kinds. */
static dl_status check_rows(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const char *rows = info->slots[0].name;
    dl_shape per_row = desc->slot[0].shape;
    DL_RETURN_ERROR_IF(per_row.n_dims < 2, DL_ERR_INTERNAL, "%s: slot '%s' has no rows", info->name, rows);
    per_row.dim[--per_row.n_dims] = 0;
    DL_RETURN_IF_ERROR(
        dl_info_check_dtypes(desc, (const char *const[]){"x", "p", "dp", "dx", "target", NULL}, DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "labels", DL_I32));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "labels", per_row));
    DL_RETURN_IF_ERROR(check_row_values(desc, "loss", &per_row));
    DL_RETURN_IF_ERROR(check_row_values(desc, "correct", &per_row));
    DL_RETURN_IF_ERROR(dl_info_check_blocks(desc));
    for (int i = 1; i < info->n_slots; i++) {
        if (desc->slot[i].present && desc->slot[i].shape.n_dims > per_row.n_dims && info->slots[i].batched) {
            DL_RETURN_IF_ERROR(dl_info_check_same(desc, rows, info->slots[i].name));
        }
    }
    return DL_OK;
}

static dl_status check_cross_entropy(const dl_op_desc *desc) {
    const double smoothing = desc->attr.u.loss.smoothing;
    DL_RETURN_ERROR_IF(!(smoothing >= 0 && smoothing <= 1), DL_ERR_INTERNAL,
                       "%s: smoothing %g is not in 0..1", dl_op_info_of(desc->kind)->name, smoothing);
    DL_RETURN_IF_ERROR(check_rows(desc));
    return DL_OK;
}

static dl_status check_accuracy(const dl_op_desc *desc) {
    DL_RETURN_ERROR_IF(desc->attr.u.accuracy.k < 1, DL_ERR_INTERNAL, "accuracy: k is %lld, not 1 or more",
                       (long long)desc->attr.u.accuracy.k);
    DL_RETURN_IF_ERROR(check_rows(desc));
    return DL_OK;
}

/* A loss is the logarithm of a sum that is about 1 where the model is sure, a gradient scale (p - t): what is
 * lost there is of the size of 1, and of scale. */
static double least(const dl_op_desc *desc, int slot) {
    const char *name = dl_op_info_of(desc->kind)->slots[slot].name;
    return strcmp(name, "loss") == 0 ? 1.0 : strcmp(name, "dx") == 0 ? desc->attr.u.loss.scale : 0.0;
}

static int64_t row_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_row_sizes_of(desc).k;
}

static const dl_op_rounding softmax_cross_entropy_rounding = {.terms = row_terms, .least = least};

const dl_op_info dl_op_info_cross_entropy_forward = {
    .name = "cross_entropy_forward",
    .doc = "loss[n] = -sum over k of t[n,k] log(max(p[n,k], FLT_MIN)), t = 1 at the label, or smoothed",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(cross_entropy_forward_slots),
    .slots = cross_entropy_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_CROSS_ENTROPY_BACKWARD, {"p", NULL}}},
    .check = check_cross_entropy,
    .rounding = &dl_rounding_of_rows,
};

const dl_op_info dl_op_info_cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .doc = "dp[n,k] = -scale t[n,k] / max(p[n,k], FLT_MIN)",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(cross_entropy_backward_slots),
    .slots = cross_entropy_backward_slots,
    .check = check_cross_entropy,
    .rounding = &dl_rounding_of_rows,
};

const dl_op_info dl_op_info_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .doc = "p = softmax(x); loss[n] = -sum over k of t[n,k] log p[n,k]; dx = scale (p - t)",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(softmax_cross_entropy_slots),
    .slots = softmax_cross_entropy_slots,
    .check = check_cross_entropy,
    .rounding = &softmax_cross_entropy_rounding,
};

const dl_op_info dl_op_info_accuracy = {
    .name = "accuracy",
    .doc =
        "correct[n] = 1 when the label is among row n's k largest (of equal ones the first), else 0; NaN counts 0",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(accuracy_slots),
    .slots = accuracy_slots,
    .check = check_accuracy,
};

const dl_op_info dl_op_info_error_forward = {
    .name = "error_forward",
    .doc = "loss[n] = mean over k of (x[n,k] - target[n,k])^2, or of the absolute difference",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(error_forward_slots),
    .slots = error_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_ERROR_BACKWARD, {"x", NULL}}},
    .check = check_rows,
    .rounding = &dl_rounding_of_rows,
};

const dl_op_info dl_op_info_error_backward = {
    .name = "error_backward",
    .doc = "dx[n,k] = scale / K times 2 (x - target), or the sign of x - target",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(error_backward_slots),
    .slots = error_backward_slots,
    .check = check_rows,
    .rounding = &dl_rounding_of_rows,
};
