/* The loss scale of a program: a state that the loss's gradient and the updates read, and one commit. */
#include "program/compile.h"

#include "kernels/common/blocks.h"

#include <string.h>

bool dl_plan_scales(const dl_plan *plan) {
    return plan->options.loss_scale > 0;
}

size_t dl_loss_scale_offset(const dl_plan *plan) {
    const size_t align = plan->options.device->backend->strict ? DL_PAGE_BYTES : DL_CACHE_LINE;
    const size_t trainable = (size_t)plan->options.model->table.trainable_elements * sizeof(float);
    return dl_round_up(plan->options.ema_decay > 0 ? DL_EMA_OFFSET + trainable : sizeof(double), align);
}

dl_status dl_loss_scale_slot(dl_compile *c) {
    if (!dl_plan_scales(c->plan) || c->program->kind != DL_PROGRAM_TRAIN) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, "loss scale", -1, -1, DL_STORE_STATE, DL_F64,
                                   &DL_SHAPE(DL_N_SCALES), &c->program->loss_scale));
    c->program->slot[c->program->loss_scale].offset = dl_loss_scale_offset(c->plan);
    return DL_OK;
}

dl_status dl_scale_totals(dl_compile *c, int *totals) {
    *totals = c->program->totals;
    if (c->program->loss_scale < 0) {
        return DL_OK;
    }
    int slots[3] = {c->program->totals, c->program->loss_scale, -1};
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, "scaled totals", -1, -1, DL_STORE_ACTIVATION, DL_F64,
                                   &DL_SHAPE(DL_N_TOTALS), &slots[2]));
    *totals = slots[2];
    return dl_add_operation(c->program, DL_OP_SCALE_WEIGHT, &(dl_op_attr){0}, DL_PHASE_UPDATE, -1, -1, slots,
                            3, NULL);
}

dl_status dl_commit_loss_scale(dl_compile *c) {
    if (c->program->loss_scale < 0) {
        return DL_OK;
    }
    const int slots[] = {c->program->loss_scale, c->program->control};
    return dl_add_operation(c->program, DL_OP_COMMIT_LOSS_SCALE, &(dl_op_attr){0}, DL_PHASE_UPDATE, -1, -1,
                            slots, 2, NULL);
}

dl_status dl_start_loss_scale(dl_plan *plan) {
    if (!dl_plan_scales(plan) || !dl_plan_trains(plan)) {
        return DL_OK;
    }
    const double start[DL_N_SCALES] = {[DL_SCALE_VALUE] = plan->options.loss_scale};
    char *to = (char *)plan->memory[DL_STORE_STATE] + dl_loss_scale_offset(plan);
    return plan->options.device->backend->upload(plan->options.device, to, start, sizeof start, NULL);
}
