/* Forward: loads of the batch, the model's operations, the sums of losses and metrics. */
#include "program/compile.h"

#include <string.h>

/* The shape of a value for the samples of this micro-batch. */
static dl_shape with_samples(const dl_compile *c, const dl_value *value) {
    dl_shape shape = value->shape;
    if (value->any_length && c->program->length > 0) {
        shape.dim[0] = c->program->length;
    }
    if (value->batched) {
        memmove(&shape.dim[1], &shape.dim[0], (DL_MAX_DIMS - 1) * sizeof shape.dim[0]);
        shape.dim[0] = c->micro_samples;
        shape.n_dims++;
    } else if (value->group > 0 && c->program->kind == DL_PROGRAM_TRAIN) {
        shape.dim[0] = (c->micro_samples + value->group - 1) / value->group;
    }
    return shape;
}

static dl_status add_load(dl_compile *c, int slot, int what) {
    dl_instruction load = {.type = DL_DO_LOAD,
                           .collective = -1,
                           .load = what,
                           .load_samples = c->micro_range,
                           .lane = DL_LANE_COPY,
                           .phase = DL_PHASE_LOAD,
                           .micro = c->micro,
                           .layer = -1,
                           .forward = -1,
                           .records = -1};
    for (int i = 0; i <= DL_OP_MAX_SLOTS; i++) {
        load.slot[i] = i == 0 ? slot : -1;
    }
    return dl_add_instruction(c->program, &load);
}

static int field_number(const dl_plan_options *options, const char *name) {
    for (int i = 0; i < options->n_fields; i++) {
        if (strcmp(options->fields[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static dl_status load_value(dl_compile *c, int v) {
    const dl_value *value = &c->model->value[v];
    const dl_shape shape = with_samples(c, value);
    int what = DL_LOAD_IDS;
    if (value->kind == DL_VALUE_FIELD) {
        what = field_number(&c->plan->options, value->name);
        DL_RETURN_ERROR_IF(what < 0, DL_ERR_USAGE, "the data set has no field '%s', which the model reads",
                           value->name);
    }
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, value->name, -1, c->micro, DL_STORE_INPUT, value->dtype,
                                   &shape, &c->slot_of[v]));
    return add_load(c, c->slot_of[v], what);
}

dl_status dl_parameter_slot(dl_compile *c, int row, bool averaged, int *slot) {
    static const dl_storage storages[DL_N_ARENAS] = {DL_STORE_PARAMETER, DL_STORE_FROZEN,
                                                     DL_STORE_STATISTICS};
    const dl_parameter *parameter = &c->model->table.parameter[row];
    const bool of_state = averaged && parameter->trainable;
    const dl_storage storage = of_state ? DL_STORE_STATE : storages[dl_parameter_arena(parameter)];
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, parameter->path, parameter->layer_index, -1, storage, DL_F32,
                                   &parameter->shape, slot));
    c->program->slot[*slot].parameter = row;
    c->program->slot[*slot].offset =
        (of_state ? DL_EMA_OFFSET : 0) + (size_t)parameter->offset * sizeof(float);
    return DL_OK;
}

/* Evaluation reads averaged parameters where there are any. */
static dl_status parameter_slot(dl_compile *c, int v) {
    const bool averaged = c->program->kind == DL_PROGRAM_EVALUATE && c->plan->options.ema_decay > 0;
    return dl_parameter_slot(c, c->model->value[v].source, averaged, &c->slot_of[v]);
}

/* Makes sure that a value an operation reads has a slot. */
static dl_status need_value(dl_compile *c, int v) {
    if (c->slot_of[v] >= 0) {
        return DL_OK;
    }
    const dl_value *value = &c->model->value[v];
    switch (value->kind) {
    case DL_VALUE_FIELD:
    case DL_VALUE_IDS:
        return load_value(c, v);
    case DL_VALUE_STEP:
        c->slot_of[v] = c->program->step;
        return DL_OK;
    case DL_VALUE_PARAMETER:
        return parameter_slot(c, v);
    case DL_VALUE_STATE: {
        const dl_shape shape = with_samples(c, value);
        return dl_state_slot(c, v, &shape, &c->slot_of[v]);
    }
    case DL_VALUE_VIEW: {
        DL_RETURN_IF_ERROR(need_value(c, value->source));
        const dl_shape shape = with_samples(c, value);
        return dl_add_view(c->program, value->name, c->slot_of[value->source], 0, value->dtype, &shape,
                           &c->slot_of[v]);
    }
    case DL_VALUE_COMPUTED:
        break;
    }
    DL_RETURN_ERROR(DL_ERR_INTERNAL, "value '%s' is read before it is made", value->name);
}

/* Groups of samples have statistics of their own in training; moving averages are the same for all. */
static dl_op_attr attributes(const dl_model_op *op, bool training) {
    dl_op_attr attr = op->attr;
    if (!training && (op->kind == DL_OP_BATCH_NORM_FORWARD || op->kind == DL_OP_BATCH_NORM_MOVING)) {
        attr.u.norm.group = 0;
    }
    return attr;
}

/* A sum over the tensor axis takes its bias once: in the part of the first rank. */
static void leave_out_bias(const dl_compile *c, const dl_model_op *op, int *slots) {
    const int bias = op->kind == DL_OP_DENSE_FORWARD ? dl_op_slot(dl_op_info_of(op->kind), "b") : -1;
    if (bias >= 0 && c->plan->options.partition->index > 0) {
        slots[bias] = -1;
    }
}

/* The slot number of an output that is this rank's part of a sum, -1: none. */
static int partial_output(const dl_compile *c, const dl_model_op *op) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    for (int s = 0; s < info->n_slots; s++) {
        if (op->slot[s] >= 0 && info->slots[s].role == DL_SLOT_OUT &&
            dl_spread_of(c, op->slot[s]) == DL_SPREAD_PARTIAL) {
            return s;
        }
    }
    return -1;
}

static dl_status emit_op(dl_compile *c, const dl_model_op *op, bool training) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    int slots[DL_OP_MAX_SLOTS];
    const int partial = partial_output(c, op);
    for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
        slots[s] = -1;
        const int v = s < info->n_slots ? op->slot[s] : -1;
        if (v < 0 || (!training && info->slots[s].saved && info->slots[s].optional)) {
            continue;
        }
        if (info->slots[s].role == DL_SLOT_IN) {
            DL_RETURN_IF_ERROR(need_value(c, v));
        } else {
            const dl_value *value = &c->model->value[v];
            const dl_shape shape = with_samples(c, value);
            const dl_dtype dtype = value->figure && !training ? DL_F64 : value->dtype;
            DL_RETURN_IF_ERROR(dl_add_slot(c->program, value->name, op->layer, c->micro, DL_STORE_ACTIVATION,
                                           dtype, &shape, &c->slot_of[v]));
        }
        slots[s] = c->slot_of[v];
    }
    if (partial >= 0) {
        leave_out_bias(c, op, slots);
    }
    const dl_op_attr attr = attributes(op, training);
    DL_RETURN_IF_ERROR(dl_add_operation(c->program, op->kind, &attr, DL_PHASE_FORWARD, op->layer, c->micro,
                                        slots, info->n_slots, NULL));
    if (partial >= 0) {
        return dl_partition_tensor(c, slots[partial], op->layer, DL_PHASE_FORWARD);
    }
    return op->kind == DL_OP_BATCH_NORM_STATISTICS ? dl_emit_moments(c, op, slots[0]) : DL_OK;
}

static bool runs(const dl_model_op *op, bool training) {
    return op->when == DL_WHEN_ALWAYS || (op->when == DL_WHEN_TRAINING) == training;
}

/* In evaluation a layer like dropout gives its input on. */
static dl_status skip_op(dl_compile *c, const dl_model_op *op) {
    DL_RETURN_IF_ERROR(need_value(c, op->identity_of));
    const int last = dl_op_info_of(op->kind)->n_slots - 1;
    c->slot_of[op->slot[last]] = c->slot_of[op->identity_of];
    return DL_OK;
}

/* Adds the sum of what rows give to entry `total` of the totals. */
static dl_status add_sum(dl_compile *c, int v, int total) {
    int view = -1;
    DL_RETURN_IF_ERROR(dl_add_view(c->program, "totals", c->program->totals, (size_t)total * sizeof(double),
                                   DL_F64, &DL_SHAPE(1), &view));
    const int slots[] = {c->slot_of[v], view};
    const bool on_grid = c->plan->options.reproducible && c->program->kind == DL_PROGRAM_EVALUATE;
    const dl_op_attr attr = {.accumulate = true, .u.sum.on_grid = on_grid};
    return dl_add_operation(c->program, DL_OP_SUM_SAMPLES, &attr, DL_PHASE_FORWARD, -1, c->micro, slots, 2,
                            NULL);
}

/* A copy of the scores that outlives the program's run. */
static dl_status keep_scores(dl_compile *c) {
    const int v = c->model->output.scores;
    const dl_shape shape = with_samples(c, &c->model->value[v]);
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, "scores", -1, c->micro, DL_STORE_RESULT, DL_F32, &shape,
                                   &c->program->result));
    const int slots[] = {c->slot_of[v], c->program->result};
    return dl_add_operation(c->program, DL_OP_COPY, &(dl_op_attr){0}, DL_PHASE_FORWARD, -1, c->micro, slots,
                            2, NULL);
}

/* --- the scores alone --- */

/* A value and, where it is a view, those that it is a view of. */
static void need_for_scores(const dl_model *model, bool *needed, int v) {
    needed[v] = true;
    while (model->value[v].kind == DL_VALUE_VIEW) {
        v = model->value[v].source;
        needed[v] = true;
    }
}

static bool makes_needed(const dl_model_op *op, const bool *needed) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    for (int s = 0; s < info->n_slots; s++) {
        if (op->slot[s] >= 0 && info->slots[s].role != DL_SLOT_IN && needed[op->slot[s]]) {
            return true;
        }
    }
    return false;
}

/* needed[n_values]: what the scores are made of, and what is carried to the next batch. From the end: an
 * operation stands behind those that make its inputs. */
static dl_status find_needed(const dl_compile *c, bool **out) {
    const dl_model *model = c->model;
    bool *needed = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(c->program->pool, (size_t)model->n_values, sizeof *needed, &needed));
    need_for_scores(model, needed, model->output.scores);
    for (int v = 0; v < model->n_values; v++) {
        if (model->value[v].kind == DL_VALUE_STATE) {
            need_for_scores(model, needed, model->value[v].next);
        }
    }
    for (int i = model->n_ops - 1; i >= 0; i--) {
        const dl_model_op *op = &model->op[i];
        if (!makes_needed(op, needed)) {
            continue;
        }
        if (op->identity_of >= 0) {
            need_for_scores(model, needed, op->identity_of);
        }
        for (int s = 0; s < dl_op_info_of(op->kind)->n_slots; s++) {
            if (op->slot[s] >= 0) {
                need_for_scores(model, needed, op->slot[s]);
            }
        }
    }
    *out = needed;
    return DL_OK;
}

dl_status dl_emit_forward(dl_compile *c) {
    const bool training = c->program->kind == DL_PROGRAM_TRAIN;
    const bool scores_alone = !training && c->plan->options.forward_only;
    bool *needed = NULL;
    DL_RETURN_IF_ERROR(scores_alone ? find_needed(c, &needed) : DL_OK);
    for (int i = 0; i < c->model->n_ops; i++) {
        const dl_model_op *op = &c->model->op[i];
        if (!runs(op, training) || (scores_alone && !makes_needed(op, needed))) {
            continue;
        }
        if (!training && op->identity_of >= 0) {
            DL_RETURN_IF_ERROR(skip_op(c, op));
        } else {
            DL_RETURN_IF_ERROR(emit_op(c, op, training));
        }
    }
    const dl_output *output = &c->model->output;
    if (scores_alone) {
        return keep_scores(c);
    }
    DL_RETURN_IF_ERROR(add_sum(c, output->loss, DL_TOTAL_LOSS));
    for (int i = 0; i < output->n_metrics; i++) {
        DL_RETURN_IF_ERROR(add_sum(c, output->metric[i], DL_TOTAL_METRIC + i));
    }
    return !training && c->plan->options.predict ? keep_scores(c) : DL_OK;
}
