/* Losses and metrics, sample by sample, natural logarithm. */
#include "kernels/ops/info.h"

static const dl_slot_info cross_entropy_forward_slots[] = {
    DL_SLOT_ROW("p", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("loss", OUT, DL_SLOT_BATCHED, -1),
};

static const dl_slot_info cross_entropy_backward_slots[] = {
    DL_SLOT_ROW("p", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dp", OUT, DL_SLOT_BATCHED, -1),
};

static const dl_slot_info softmax_cross_entropy_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("loss", OUT, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("p", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
};

static const dl_slot_info accuracy_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("labels", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("correct", OUT, DL_SLOT_BATCHED, -1),
};

/* Slot 0 is the row of classes in all four kinds. */
static dl_status check_rows(const dl_op_desc *desc) {
    const char *rows = dl_op_info_of(desc->kind)->slots[0].name;
    const char *const floats[] = {"x", "p", "dp", "dx", "loss", "correct", NULL};
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, rows, 2));
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, floats, DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "labels", DL_I32));
    const dl_shape per_sample = DL_SHAPE(desc->slot[0].shape.dim[0]);
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "labels", per_sample));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "loss", per_sample));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "correct", per_sample));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, rows, "p"));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, rows, "dp"));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, rows, "dx"));
    return DL_OK;
}

const dl_op_info dl_op_info_cross_entropy_forward = {
    .name = "cross_entropy_forward",
    .doc = "loss[n] = -log(max(p[n, label], FLT_MIN))",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(cross_entropy_forward_slots),
    .slots = cross_entropy_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_CROSS_ENTROPY_BACKWARD, {"p", NULL}}},
    .check = check_rows,
};

const dl_op_info dl_op_info_cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .doc = "dp[n,k] = -scale / max(p[n,k], FLT_MIN) at the label, 0 elsewhere",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(cross_entropy_backward_slots),
    .slots = cross_entropy_backward_slots,
    .check = check_rows,
};

const dl_op_info dl_op_info_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .doc = "p = softmax(x); loss[n] = -log p[n, label]; dx = scale (p - 1 at the label)",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(softmax_cross_entropy_slots),
    .slots = softmax_cross_entropy_slots,
    .check = check_rows,
};

const dl_op_info dl_op_info_accuracy = {
    .name = "accuracy",
    .doc = "correct[n] = 1 when the first largest of row n is at the label, else 0; a row with NaN counts 0",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(accuracy_slots),
    .slots = accuracy_slots,
    .check = check_rows,
};
