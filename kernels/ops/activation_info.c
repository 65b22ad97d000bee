/* Element by element: activations and dropout; and softmax along a row. */
#include "kernels/ops/info.h"

static const dl_slot_info activation_forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_IMAGE, 0),
};

static const dl_slot_info activation_backward_slots[] = {
    DL_SLOT_ROW("y", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_IMAGE, 1),
};

static const dl_slot_info softmax_forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_BATCHED, -1),
};

static const dl_slot_info softmax_backward_slots[] = {
    DL_SLOT_ROW("y", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS, -1),
};

/* ids: the samples' numbers in the data set, so that a mask does not depend on who computes it. */
static const dl_slot_info dropout_forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("ids", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("step", IN, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, 0),
};

static const dl_slot_info dropout_backward_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("ids", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("step", IN, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS, 0),
};

/* All floats, all of one shape. */
static dl_status check_elementwise(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, (const char *const[]){"x", "y", "dy", "dx", NULL}, DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "x", "y"));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "dy", "y"));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "dy", "dx"));
    return DL_OK;
}

static dl_status check_activation(const dl_op_desc *desc) {
    DL_RETURN_ERROR_IF(desc->attr.activation == DL_ACT_NONE, DL_ERR_INTERNAL, "%s: no activation given",
                       dl_op_info_of(desc->kind)->name);
    DL_RETURN_IF_ERROR(check_elementwise(desc));
    return DL_OK;
}

static dl_status check_softmax(const dl_op_desc *desc) {
    DL_RETURN_ERROR_IF(desc->slot[0].shape.n_dims < 2, DL_ERR_INTERNAL, "%s: slot '%s' has no rows",
                       dl_op_info_of(desc->kind)->name, dl_op_info_of(desc->kind)->slots[0].name);
    DL_RETURN_IF_ERROR(check_elementwise(desc));
    return DL_OK;
}

static dl_status check_dropout(const dl_op_desc *desc) {
    const char *name = dl_op_info_of(desc->kind)->name;
    const double rate = desc->attr.u.dropout.rate;
    DL_RETURN_ERROR_IF(!(rate >= 0 && rate < 1), DL_ERR_INTERNAL, "%s: rate %g is not in [0, 1)", name, rate);
    DL_RETURN_ERROR_IF(desc->attr.training && !(desc->slot[1].present && desc->slot[2].present),
                       DL_ERR_INTERNAL, "%s: training needs the slots 'ids' and 'step'", name);
    DL_RETURN_IF_ERROR(check_elementwise(desc));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "ids", DL_I64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "ids", DL_SHAPE(desc->slot[0].shape.dim[0])));
    DL_RETURN_IF_ERROR(dl_info_check_blocks(desc));
    return DL_OK;
}

const dl_op_info dl_op_info_activation_forward = {
    .name = "activation_forward",
    .doc = "y = max(x, 0), tanh(x), or 1 / (1 + exp(-x))",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(activation_forward_slots),
    .slots = activation_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_ACTIVATION_BACKWARD, {"x", NULL}}},
    .check = check_activation,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_activation_backward = {
    .name = "activation_backward",
    .doc = "dx = dy (y > 0), dy (1 - y y), or dy y (1 - y)",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(activation_backward_slots),
    .slots = activation_backward_slots,
    .check = check_activation,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_softmax_forward = {
    .name = "softmax_forward",
    .doc = "y[n,k] = exp(x[n,k] - max of row) / sum of the row's; rows along the last dimension",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(softmax_forward_slots),
    .slots = softmax_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_SOFTMAX_BACKWARD, {"x", NULL}}},
    .check = check_softmax,
    .rounding = &dl_rounding_of_rows,
};

const dl_op_info dl_op_info_softmax_backward = {
    .name = "softmax_backward",
    .doc = "dx[n,k] = y[n,k] (dy[n,k] - sum over j of dy[n,j] y[n,j])",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(softmax_backward_slots),
    .slots = softmax_backward_slots,
    .check = check_softmax,
    .rounding = &dl_rounding_of_rows,
};

const dl_op_info dl_op_info_dropout_forward = {
    .name = "dropout_forward",
    .doc =
        "y = x keep / (1 - rate) in training, x otherwise; keep is a function of seed, step, sample, element",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(dropout_forward_slots),
    .slots = dropout_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_DROPOUT_BACKWARD, {"x", NULL}}},
    .check = check_dropout,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_dropout_backward = {
    .name = "dropout_backward",
    .doc = "dx = dy keep / (1 - rate), with the mask of the forward kind",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(dropout_backward_slots),
    .slots = dropout_backward_slots,
    .check = check_dropout,
    .rounding = &dl_rounding_pointwise,
};
