/* The control word at the beginning of a step. */
#include "kernels/ops/info.h"

static const dl_slot_info begin_slots[] = {
    DL_SLOT_ROW("step", IN, 0, -1),
    DL_SLOT_ROW("control", INOUT, 0, -1),
};

const dl_op_info dl_op_info_begin_control = {
    .name = "begin_control",
    .doc = "control = step.control, but control[VOID] = step.unseen and control forbade the step before",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(begin_slots),
    .slots = begin_slots,
    .check = dl_info_check_blocks,
};
