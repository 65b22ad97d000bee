/* Loss scaling around a step: what updates divide by, and the next scale. The kinds that make the loss's
 * gradient read the scale themselves. */
#include "kernels/ops/info.h"

#include "kernels/common/blocks.h"

static const dl_slot_info scale_weight_slots[] = {
    DL_SLOT_ROW("totals", IN, 0, -1),
    DL_SLOT_ROW("scale", IN, 0, -1),
    DL_SLOT_ROW("scaled", OUT, 0, -1),
};

static const dl_slot_info commit_slots[] = {
    DL_SLOT_ROW("scale", INOUT, 0, -1),
    DL_SLOT_ROW("control", IN, 0, -1),
};

static dl_status check_scale_weight(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "scaled", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "totals", "scaled"));
    return dl_info_check_blocks(desc);
}

const dl_op_info dl_op_info_scale_weight = {
    .name = "scale_weight",
    .doc = "scaled = totals, the weight times the loss scale: means by it are means of unscaled gradients",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(scale_weight_slots),
    .slots = scale_weight_slots,
    .check = check_scale_weight,
};

const dl_op_info dl_op_info_commit_loss_scale = {
    .name = "commit_loss_scale",
    .doc = "scale / 2, at least 1/2, where control[NONFINITE] is set; 2 scale after 2000 steps without",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(commit_slots),
    .slots = commit_slots,
    .check = dl_info_check_blocks,
};
