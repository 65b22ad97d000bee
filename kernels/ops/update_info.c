/* The update phase: optimizers and state. All of them do nothing when the control word forbids the step. */
#include "kernels/ops/info.h"

static const dl_slot_info sgd_slots[] = {
    DL_SLOT_ROW("w", INOUT, 0, -1),
    DL_SLOT_ROW("g", IN, 0, -1),
    DL_SLOT_ROW("v", INOUT, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("step", IN, 0, -1),
    DL_SLOT_ROW("totals", IN, 0, -1),
    DL_SLOT_ROW("control", IN, 0, -1),
    DL_SLOT_ROW("norm", IN, DL_SLOT_OPTIONAL, -1),
};

static const dl_slot_info adam_slots[] = {
    DL_SLOT_ROW("w", INOUT, 0, -1),    DL_SLOT_ROW("g", IN, 0, -1),
    DL_SLOT_ROW("m", INOUT, 0, -1),    DL_SLOT_ROW("v", INOUT, 0, -1),
    DL_SLOT_ROW("step", IN, 0, -1),    DL_SLOT_ROW("totals", IN, 0, -1),
    DL_SLOT_ROW("control", IN, 0, -1), DL_SLOT_ROW("norm", IN, DL_SLOT_OPTIONAL, -1),
};

static const dl_slot_info rmsprop_slots[] = {
    DL_SLOT_ROW("w", INOUT, 0, -1),
    DL_SLOT_ROW("g", IN, 0, -1),
    DL_SLOT_ROW("s", INOUT, 0, -1),
    DL_SLOT_ROW("m", INOUT, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("v", INOUT, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("step", IN, 0, -1),
    DL_SLOT_ROW("totals", IN, 0, -1),
    DL_SLOT_ROW("control", IN, 0, -1),
    DL_SLOT_ROW("norm", IN, DL_SLOT_OPTIONAL, -1),
};

static const dl_slot_info commit_slots[] = {
    DL_SLOT_ROW("state", INOUT, 0, -1),
    DL_SLOT_ROW("value", IN, 0, -1),
    DL_SLOT_ROW("control", IN, 0, -1),
    DL_SLOT_ROW("step", IN, DL_SLOT_OPTIONAL, -1),
};

static dl_status check_update(const dl_op_desc *desc) {
    const char *const arenas[] = {"w", "g", "s", "m", "v", NULL};
    DL_RETURN_ERROR_IF(!(desc->attr.rate_factor >= 0), DL_ERR_INTERNAL, "%s: rate_factor %g is negative",
                       dl_op_info_of(desc->kind)->name, desc->attr.rate_factor);
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, arenas, DL_F32));
    for (int i = 1; arenas[i] != NULL; i++) {
        DL_RETURN_IF_ERROR(dl_info_check_same(desc, "w", arenas[i]));
    }
    DL_RETURN_IF_ERROR(dl_info_check_blocks(desc));
    return DL_OK;
}

static dl_status check_sgd(const dl_op_desc *desc) {
    const dl_sgd_attr *sgd = &desc->attr.u.sgd;
    DL_RETURN_ERROR_IF(!(sgd->capacity > 0), DL_ERR_INTERNAL, "sgd_update: capacity is not positive");
    DL_RETURN_ERROR_IF((sgd->momentum != 0) != desc->slot[2].present, DL_ERR_INTERNAL,
                       "sgd_update: slot 'v' is given if and only if there is momentum");
    DL_RETURN_IF_ERROR(check_update(desc));
    return DL_OK;
}

static dl_status check_adam(const dl_op_desc *desc) {
    DL_RETURN_ERROR_IF(!(desc->attr.u.adam.capacity > 0), DL_ERR_INTERNAL,
                       "adam_update: capacity is not positive");
    DL_RETURN_IF_ERROR(check_update(desc));
    return DL_OK;
}

static dl_status check_rmsprop(const dl_op_desc *desc) {
    const dl_rmsprop_attr *rmsprop = &desc->attr.u.rmsprop;
    DL_RETURN_ERROR_IF(!(rmsprop->capacity > 0), DL_ERR_INTERNAL, "rmsprop_update: capacity is not positive");
    DL_RETURN_ERROR_IF(rmsprop->centered != desc->slot[3].present, DL_ERR_INTERNAL,
                       "rmsprop_update: slot 'm' is given if and only if it is centered");
    DL_RETURN_ERROR_IF((rmsprop->momentum != 0) != desc->slot[4].present, DL_ERR_INTERNAL,
                       "rmsprop_update: slot 'v' is given if and only if there is momentum");
    DL_RETURN_IF_ERROR(check_update(desc));
    return DL_OK;
}

static dl_status check_commit(const dl_op_desc *desc) {
    const double decay = desc->attr.u.commit.decay;
    const dl_dtype dtype = desc->slot[0].dtype;
    DL_RETURN_ERROR_IF(dtype != DL_F32 && dtype != DL_F64, DL_ERR_INTERNAL,
                       "commit: slot 'state' is %s, not float32 or float64", dl_dtype_name(dtype));
    DL_RETURN_ERROR_IF(!(decay >= 0 && decay < 1) ||
                           (decay > 0 && (dtype != DL_F32 || desc->attr.accumulate)),
                       DL_ERR_INTERNAL, "commit: decay %g is not in [0, 1), or not for this state", decay);
    DL_RETURN_ERROR_IF((decay > 0) != desc->slot[3].present, DL_ERR_INTERNAL,
                       "commit: slot 'step' is given if and only if there is a decay");
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "value", dtype));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "state", "value"));
    DL_RETURN_IF_ERROR(dl_info_check_blocks(desc));
    return DL_OK;
}

const dl_op_info dl_op_info_sgd_update = {
    .name = "sgd_update",
    .doc = "d = g capacity / weight + decay w; v = mu v + d; w -= rate (d, v or, nesterov, d + mu v)",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(sgd_slots),
    .slots = sgd_slots,
    .check = check_sgd,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_adam_update = {
    .name = "adam_update",
    .doc =
        "d as in sgd; m, v = moving means of d, d d; w -= rate m' / (sqrt(v') + epsilon), ' = / (1 - beta^t)",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(adam_slots),
    .slots = adam_slots,
    .check = check_adam,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_rmsprop_update = {
    .name = "rmsprop_update",
    .doc =
        "d as in sgd; s, m = moving means of d d, d; u = d / (sqrt(s - m m) + epsilon); v = mu v + u; w -= rate v",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(rmsprop_slots),
    .slots = rmsprop_slots,
    .check = check_rmsprop,
    .rounding = &dl_rounding_pointwise,
};

const dl_op_info dl_op_info_commit = {
    .name = "commit",
    .doc =
        "state = value; state += value with accumulate; state += (1 - decay) (value - state), at first = value",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(commit_slots),
    .slots = commit_slots,
    .check = check_commit,
    .rounding = &dl_rounding_pointwise,
};
