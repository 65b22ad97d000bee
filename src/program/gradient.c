/* Backward: each forward operation, last first, brings the gradient kinds its description names. Slots are
 * matched by name: "dNAME" is the gradient of the forward slot NAME, NAME is that slot itself. */
#include "program/compile.h"

#include <string.h>

/* Which values need a gradient: those a trainable parameter flows into. */
static void find_needs(dl_compile *c) {
    const dl_model *model = c->model;
    for (int v = 0; v < model->n_values; v++) {
        c->needs_gradient[v] = model->value[v].kind == DL_VALUE_PARAMETER && model->value[v].trainable;
    }
    for (int i = 0; i < model->n_ops; i++) {
        const dl_model_op *op = &model->op[i];
        const dl_op_info *info = dl_op_info_of(op->kind);
        bool needs = false;
        for (int s = 0; s < info->n_slots; s++) {
            int v = op->slot[s];
            while (v >= 0 && model->value[v].kind == DL_VALUE_VIEW) {
                v = model->value[v].source;
            }
            needs = needs || (v >= 0 && info->slots[s].role == DL_SLOT_IN && c->needs_gradient[v]);
        }
        for (int s = 0; s < info->n_slots && needs; s++) {
            if (op->slot[s] >= 0 && info->slots[s].role == DL_SLOT_OUT) {
                c->needs_gradient[op->slot[s]] = true;
            }
        }
    }
    for (int v = 0; v < model->n_values; v++) {
        if (model->value[v].kind == DL_VALUE_VIEW) {
            c->needs_gradient[v] = c->needs_gradient[model->value[v].source];
        }
    }
}

/* A new gradient of value v arrives in `slot`: the first one is kept, further ones are added. The gradient of
 * a view is one of what it views. */
static dl_status arrive(dl_compile *c, int v, int slot) {
    const dl_value *value = &c->model->value[v];
    if (value->kind == DL_VALUE_VIEW) {
        const dl_shape shape = c->program->slot[c->slot_of[value->source]].tensor.shape;
        int view = -1;
        DL_RETURN_IF_ERROR(
            dl_add_view(c->program, c->program->slot[slot].name, slot, 0, DL_F32, &shape, &view));
        return arrive(c, value->source, view);
    }
    if (c->gradient_of[v] < 0) {
        c->gradient_of[v] = slot;
        return DL_OK;
    }
    int sum = -1;
    const dl_shape shape = c->program->slot[slot].tensor.shape;
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, c->program->slot[slot].name, value->layer, c->micro,
                                   DL_STORE_ACTIVATION, DL_F32, &shape, &sum));
    const int slots[] = {c->gradient_of[v], slot, sum};
    c->gradient_of[v] = sum;
    return dl_add_operation(c->program, DL_OP_ADD, &(dl_op_attr){0}, DL_PHASE_BACKWARD, value->layer,
                            c->micro, slots, 3, NULL);
}

/* What the gradient of slot s of an operation looks like for this micro-batch. */
static dl_tensor_desc gradient_tensor(const dl_compile *c, const dl_model_op *op, int s) {
    dl_op_desc desc = {.kind = op->kind, .attr = op->attr};
    for (int i = 0; i < dl_op_info_of(op->kind)->n_slots; i++) {
        if (op->slot[i] >= 0 && c->slot_of[op->slot[i]] >= 0) {
            desc.slot[i] = c->program->slot[c->slot_of[op->slot[i]]].tensor;
        }
    }
    return dl_op_gradient_tensor(&desc, s);
}

/* The slot that slot `own` of a gradient kind stands for. Outputs get new slots; *made names the value whose
 * gradient was made, -1 otherwise. */
static dl_status match_slot(dl_compile *c, const dl_model_op *op, const dl_slot_info *own, int *slot,
                            int *made) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    const char *name = own->name;
    *slot = *made = -1;
    int s = dl_op_slot(info, name);
    if (own->optional && strcmp(name, "scale") == 0) {
        *slot = c->program->loss_scale;
        return DL_OK;
    }
    if (s >= 0) {
        *slot = op->slot[s] >= 0 ? c->slot_of[op->slot[s]] : -1;
        return DL_OK;
    }
    s = name[0] == 'd' ? dl_op_slot(info, name + 1) : -1;
    DL_RETURN_ERROR_IF(s < 0, DL_ERR_INTERNAL, "%s has no slot for '%s' of its gradient", info->name, name);
    const int v = op->slot[s];
    if (v < 0) {
        return DL_OK;
    }
    if (info->slots[s].role == DL_SLOT_OUT || own->role == DL_SLOT_IN) {
        *slot = c->gradient_of[v];
        return DL_OK;
    }
    if (!c->needs_gradient[v]) {
        return DL_OK;
    }
    char *text = NULL;
    const dl_slot of = c->program->slot[c->slot_of[v]];
    const dl_tensor_desc tensor = gradient_tensor(c, op, s);
    DL_RETURN_IF_ERROR(dl_pool_printf(c->program->pool, &text, "d(%s)", of.name));
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, text, of.layer, c->micro, DL_STORE_ACTIVATION, tensor.dtype,
                                   &tensor.shape, slot));
    c->program->slot[*slot].parameter = of.parameter;
    *made = v;
    return DL_OK;
}

static bool is_wanted(const dl_compile *c, const dl_model_op *op, const dl_op_gradient *gradient) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    for (int i = 0; i < DL_OP_MAX_GRADIENT_OF && gradient->of[i] != NULL; i++) {
        const int v = op->slot[dl_op_slot(info, gradient->of[i])];
        if (v >= 0 && c->needs_gradient[v]) {
            return true;
        }
    }
    return false;
}

/* Does the operation write this value? */
static bool writes_value(const dl_model_op *op, int value) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    for (int s = 0; s < info->n_slots; s++) {
        if (info->slots[s].role == DL_SLOT_OUT && op->slot[s] == value) {
            return true;
        }
    }
    return false;
}

/* Does anything below depend on this operation's outputs? Of the operations without an output gradient slot
 * the one that gives the model's loss starts the chain; others of its kind are metrics. */
static bool has_output_gradient(const dl_compile *c, const dl_model_op *op, const dl_op_info *kind_info) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    for (int i = 0; i < kind_info->n_slots; i++) {
        const char *name = kind_info->slots[i].name;
        const int s = name[0] == 'd' ? dl_op_slot(info, name + 1) : -1;
        if (dl_op_slot(info, name) < 0 && s >= 0 && info->slots[s].role == DL_SLOT_OUT) {
            return op->slot[s] >= 0 && c->gradient_of[op->slot[s]] >= 0;
        }
        if (s >= 0 &&
            kind_info->slots[i].role == DL_SLOT_IN) { /* of an input: made by another kind, or not */
            return op->slot[s] >= 0 && c->gradient_of[op->slot[s]] >= 0;
        }
    }
    return writes_value(op, c->model->output.loss);
}

/* An output of the forward kind that its gradient reads in a fused form only: fusion gives it. */
static bool is_for_fusion(const dl_op_info *forward, const dl_slot_info *slot) {
    const int s = dl_op_slot(forward, slot->name);
    return slot->optional && s >= 0 && forward->slots[s].role == DL_SLOT_OUT;
}

/* Where each rank of the tensor axis makes some features from the whole of `value` (a sum of parts is whole
 * once it is exchanged), it has a part of the value's gradient. */
static bool is_partial(const dl_compile *c, const dl_model_op *op, int value) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    bool splits = false;
    for (int s = 0; s < info->n_slots; s++) {
        splits = splits || (op->slot[s] >= 0 && info->slots[s].role == DL_SLOT_OUT &&
                            dl_spread_of(c, op->slot[s]) == DL_SPREAD_SPLIT);
    }
    return splits && dl_spread_of(c, value) != DL_SPREAD_SPLIT;
}

static dl_status emit_gradient(dl_compile *c, const dl_model_op *op, const dl_op_gradient *gradient,
                               int forward) {
    const dl_op_info *info = dl_op_info_of(gradient->kind);
    if (!is_wanted(c, op, gradient) || !has_output_gradient(c, op, info)) {
        return DL_OK;
    }
    int slots[DL_OP_MAX_SLOTS], made[DL_OP_MAX_SLOTS];
    for (int i = 0; i < info->n_slots; i++) {
        slots[i] = made[i] = -1;
        if (!is_for_fusion(dl_op_info_of(op->kind), &info->slots[i])) {
            DL_RETURN_IF_ERROR(match_slot(c, op, &info->slots[i], &slots[i], &made[i]));
        }
    }
    dl_instruction *instruction = NULL;
    DL_RETURN_IF_ERROR(dl_add_operation(c->program, gradient->kind, &op->attr, DL_PHASE_BACKWARD, op->layer,
                                        c->micro, slots, info->n_slots, &instruction));
    instruction->forward = forward;
    if (gradient->kind == DL_OP_CROSS_ENTROPY_BACKWARD || gradient->kind == DL_OP_ERROR_BACKWARD) {
        const int64_t rows = c->plan->options.batch_size * c->model->output.rows;
        instruction->attr.u.loss.scale = 1.0 / (double)rows;
    }
    for (int i = 0; i < info->n_slots; i++) {
        if (made[i] >= 0 && c->model->value[made[i]].kind != DL_VALUE_PARAMETER) {
            if (is_partial(c, op, made[i])) {
                DL_RETURN_IF_ERROR(dl_partition_tensor(c, slots[i], op->layer, DL_PHASE_BACKWARD));
            }
            DL_RETURN_IF_ERROR(arrive(c, made[i], slots[i]));
        }
    }
    return DL_OK;
}

/* Number of the forward instruction that came from model operation `op` in this micro-batch. */
static int forward_instruction(const dl_compile *c, const dl_model_op *op, int first) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    for (int i = first; i < c->program->n_instructions; i++) {
        const dl_instruction *instruction = &c->program->instruction[i];
        if (instruction->type == DL_DO_OPERATION && instruction->kind == op->kind) {
            for (int s = 0; s < info->n_slots; s++) {
                if (info->slots[s].role == DL_SLOT_OUT && op->slot[s] >= 0 && instruction->slot[s] >= 0 &&
                    instruction->slot[s] == c->slot_of[op->slot[s]]) {
                    return i;
                }
            }
        }
    }
    return -1;
}

/* The gradient of the output is that of each input. */
static dl_status pass_gradient(dl_compile *c, const dl_model_op *op) {
    const dl_op_info *info = dl_op_info_of(op->kind);
    int gradient = -1;
    for (int s = 0; s < info->n_slots; s++) {
        gradient = info->slots[s].role == DL_SLOT_OUT ? c->gradient_of[op->slot[s]] : gradient;
    }
    for (int s = 0; s < info->n_slots && gradient >= 0; s++) {
        const int v = op->slot[s];
        if (info->slots[s].role == DL_SLOT_IN && v >= 0 && c->needs_gradient[v]) {
            DL_RETURN_IF_ERROR(arrive(c, v, gradient));
        }
    }
    return DL_OK;
}

dl_status dl_emit_backward(dl_compile *c) {
    find_needs(c);
    for (int i = c->model->n_ops - 1; i >= 0; i--) {
        const dl_model_op *op = &c->model->op[i];
        const dl_op_info *info = dl_op_info_of(op->kind);
        if (op->when == DL_WHEN_EVALUATION) {
            continue;
        }
        if (info->passes_gradient) {
            DL_RETURN_IF_ERROR(pass_gradient(c, op));
            continue;
        }
        const int forward = forward_instruction(c, op, 0);
        /* weights first: their bucket can leave while the data gradient is computed */
        for (int g = info->n_gradients - 1; g >= 0; g--) {
            DL_RETURN_IF_ERROR(emit_gradient(c, op, &info->gradients[g], forward));
        }
    }
    return DL_OK;
}
