/* Statistics of batch normalization beyond one rank and one step: sums that ranks exchange amid a step, and
 * moving averages, which change once a step by the mean over all groups, micro-batches and ranks. */
#include "program/compile.h"

#include <string.h>

bool dl_is_global_statistic(const dl_plan *plan, dl_op_kind kind, const dl_op_attr *attr) {
    switch (kind) {
    case DL_OP_BATCH_NORM_SUMS:
    case DL_OP_BATCH_NORM_STATISTICS:
    case DL_OP_BATCH_NORM_BACKWARD_SUMS:
    case DL_OP_BATCH_NORM_BACKWARD_WEIGHTS:
        return attr->u.norm.global || plan->options.reproducible;
    default:
        return false;
    }
}

bool dl_model_exchanges(const dl_plan *plan) {
    const dl_model *model = plan->options.model;
    for (int i = 0; i < model->n_ops; i++) {
        if (model->op[i].kind == DL_OP_BATCH_NORM_SUMS &&
            dl_is_global_statistic(plan, model->op[i].kind, &model->op[i].attr)) {
            return true;
        }
    }
    return false;
}

/* --- exchanges --- */

size_t dl_exchange_block_bytes(const dl_plan *plan, const dl_exchange *exchange) {
    const size_t align = plan->options.device->backend->strict ? DL_PAGE_BYTES : DL_CACHE_LINE;
    return dl_round_up((size_t)exchange->n_elements * sizeof(double), align);
}

static dl_status find_exchange(dl_plan *plan, const dl_instruction *instruction, int64_t n_elements,
                               int *number) {
    for (*number = 0; *number < plan->n_exchanges; (*number)++) {
        const dl_exchange *known = &plan->exchange[*number];
        if (known->layer == instruction->layer && known->kind == instruction->kind) {
            return DL_OK;
        }
    }
    DL_RETURN_IF_ERROR(
        dl_grow(&plan->exchange, &plan->capacity_exchanges, plan->n_exchanges + 1, sizeof *plan->exchange));
    dl_exchange *exchange = &plan->exchange[plan->n_exchanges++];
    *exchange = (dl_exchange){.layer = instruction->layer,
                              .kind = instruction->kind,
                              .n_elements = n_elements,
                              .offset = plan->bytes[DL_STORE_EXCHANGE]};
    plan->bytes[DL_STORE_EXCHANGE] += dl_exchange_block_bytes(plan, exchange) * (size_t)plan->n_blocks;
    return DL_OK;
}

dl_status dl_exchange_slots(dl_compile *c, const dl_instruction *instruction, const dl_shape *shape,
                            int slots[DL_MAX_BLOCKS]) {
    int number = -1;
    DL_RETURN_IF_ERROR(find_exchange(c->plan, instruction, dl_shape_elements(shape), &number));
    const dl_exchange exchange = c->plan->exchange[number];
    const size_t each = dl_exchange_block_bytes(c->plan, &exchange);
    for (int b = 0; b < c->plan->n_blocks; b++) {
        char *name = NULL;
        DL_RETURN_IF_ERROR(dl_pool_printf(c->program->pool, &name, "exchange %d", number));
        DL_RETURN_IF_ERROR(dl_add_slot(c->program, name, instruction->layer, instruction->micro,
                                       DL_STORE_EXCHANGE, DL_F64, shape, &slots[b]));
        c->program->slot[slots[b]].offset = exchange.offset + (size_t)b * each;
        c->program->slot[slots[b]].exchange = number;
    }
    return DL_OK;
}

/* --- moving averages --- */

/* Does this operation make batch statistics that a moving average follows? */
static bool has_moments(const dl_model_op *op) {
    return op->kind == DL_OP_BATCH_NORM_STATISTICS;
}

/* Slot 0 of the operation is `sums`, whose last dimension is 2 C + 1, as many as there are moments. */
static int64_t moments_of(const dl_model *model, const dl_model_op *op) {
    const dl_shape *sums = &model->value[op->slot[0]].shape;
    return sums->dim[sums->n_dims - 1];
}

int64_t dl_n_moments(const dl_model *model) {
    int64_t n = 0;
    for (int i = 0; i < model->n_ops; i++) {
        n += has_moments(&model->op[i]) ? moments_of(model, &model->op[i]) : 0;
    }
    return n;
}

/* The part of the moments that belongs to an operation. */
static dl_status moments_view(dl_compile *c, const dl_model_op *op, int *view) {
    int64_t first = 0;
    for (int i = 0; &c->model->op[i] != op; i++) {
        first += has_moments(&c->model->op[i]) ? moments_of(c->model, &c->model->op[i]) : 0;
    }
    return dl_add_view(c->program, "moments", c->program->moments, (size_t)first * sizeof(double), DL_F64,
                       &DL_SHAPE(moments_of(c->model, op)), view);
}

dl_status dl_emit_moments(dl_compile *c, const dl_model_op *op, int sums) {
    /* global sums are the same on all ranks: the first brings them into the step's totals */
    if (dl_is_global_statistic(c->plan, op->kind, &op->attr) && c->plan->options.rank != 0) {
        return DL_OK;
    }
    int slots[2] = {sums, -1};
    DL_RETURN_IF_ERROR(moments_view(c, op, &slots[1]));
    return dl_add_operation(c->program, DL_OP_BATCH_NORM_MOMENTS, &op->attr, DL_PHASE_FORWARD, op->layer,
                            c->micro, slots, 2, NULL);
}

static dl_status moving_slot(dl_compile *c, int value, int *slot) {
    const int row = c->model->value[value].source;
    const dl_parameter *parameter = &c->model->table.parameter[row];
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, parameter->path, parameter->layer_index, -1,
                                   DL_STORE_STATISTICS, DL_F32, &parameter->shape, slot));
    c->program->slot[*slot].parameter = row;
    c->program->slot[*slot].offset = (size_t)parameter->offset * sizeof(float);
    return DL_OK;
}

/* `statistics` and `moving` make the same value, for training and for evaluation. */
static dl_status commit(dl_compile *c, const dl_model_op *statistics, const dl_model_op *moving) {
    int slots[4] = {-1, -1, -1, c->program->control};
    DL_RETURN_IF_ERROR(moments_view(c, statistics, &slots[0]));
    DL_RETURN_IF_ERROR(moving_slot(c, moving->slot[0], &slots[1]));
    DL_RETURN_IF_ERROR(moving_slot(c, moving->slot[1], &slots[2]));
    return dl_add_operation(c->program, DL_OP_BATCH_NORM_COMMIT, &statistics->attr, DL_PHASE_UPDATE,
                            statistics->layer, -1, slots, 4, NULL);
}

dl_status dl_emit_moving_commits(dl_compile *c) {
    const dl_model *model = c->model;
    const int stat_of_statistics = 3, stat_of_moving = 4;
    for (int i = 0; i < model->n_ops; i++) {
        for (int j = 0; j < model->n_ops && has_moments(&model->op[i]); j++) {
            if (model->op[j].kind == DL_OP_BATCH_NORM_MOVING &&
                model->op[j].slot[stat_of_moving] == model->op[i].slot[stat_of_statistics]) {
                DL_RETURN_IF_ERROR(commit(c, &model->op[i], &model->op[j]));
            }
        }
    }
    return DL_OK;
}
