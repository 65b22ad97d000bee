/* What is carried from step to step besides parameters: states of a model's layers, a row for each sample of
 * this rank's batch. Training and evaluation carry their own. A step reads the old rows and, in the update
 * phase, commits the new ones: a step that is forbidden carries nothing on. */
#include "program/compile.h"

static size_t alignment(const dl_plan *plan) {
    return plan->options.device->backend->strict ? DL_PAGE_BYTES : DL_CACHE_LINE;
}

static dl_range share_of(const dl_plan *plan) {
    const dl_plan_options *options = &plan->options;
    return dl_share_samples(options->batch_size, options->n_ranks, options->rank, 1, 0,
                            options->reproducible);
}

static int64_t rows_of(const dl_plan *plan) {
    const dl_range mine = share_of(plan);
    return mine.end - mine.begin;
}

/* Bytes of all states up to value `end`, of one kind of program. */
static size_t bytes_below(const dl_plan *plan, int end) {
    const dl_model *model = plan->options.model;
    size_t n_bytes = 0;
    for (int v = 0; v < end; v++) {
        if (model->value[v].kind == DL_VALUE_STATE) {
            n_bytes += dl_round_up((size_t)(rows_of(plan) * dl_shape_elements(&model->value[v].shape)) *
                                       sizeof(float),
                                   alignment(plan));
        }
    }
    return n_bytes;
}

size_t dl_state_bytes(const dl_plan *plan) {
    const size_t carried = 2 * bytes_below(plan, plan->options.model->n_values);
    return carried == 0 ? 0 : dl_state_begin(plan) + carried;
}

/* Behind the samples seen, the averaged parameters and the loss scale. */
size_t dl_state_begin(const dl_plan *plan) {
    return dl_loss_scale_offset(plan) + (dl_plan_scales(plan) ? alignment(plan) : 0);
}

dl_status dl_state_slot(dl_compile *c, int v, const dl_shape *shape, int *slot) {
    const dl_value *value = &c->model->value[v];
    DL_RETURN_ERROR_IF(c->program->global_samples != c->plan->options.batch_size, DL_ERR_INTERNAL,
                       "'%s' is carried between batches of %lld samples, but here are %lld", value->name,
                       (long long)c->plan->options.batch_size, (long long)c->program->global_samples);
    const bool training = c->program->kind == DL_PROGRAM_TRAIN;
    DL_RETURN_IF_ERROR(
        dl_add_slot(c->program, value->name, value->layer, c->micro, DL_STORE_STATE, DL_F32, shape, slot));
    c->program->slot[*slot].offset =
        dl_state_begin(c->plan) + (training ? 0 : bytes_below(c->plan, c->model->n_values)) +
        bytes_below(c->plan, v) +
        (size_t)(c->micro_range.begin * dl_shape_elements(&value->shape)) * sizeof(float);
    return DL_OK;
}

dl_status dl_note_carries(dl_compile *c) {
    for (int v = 0; v < c->model->n_values; v++) {
        const dl_value *value = &c->model->value[v];
        if (value->kind == DL_VALUE_STATE && c->slot_of[v] >= 0) {
            DL_RETURN_IF_ERROR(dl_grow(&c->carry, &c->capacity_carries, c->n_carries + 1, sizeof *c->carry));
            c->carry[c->n_carries++] = (dl_carry){.state = c->slot_of[v], .next = c->slot_of[value->next]};
        }
    }
    return DL_OK;
}

dl_status dl_emit_carries(dl_compile *c) {
    for (int i = 0; i < c->n_carries; i++) {
        const int slots[] = {c->carry[i].state, c->carry[i].next, c->program->control};
        const dl_slot *state = &c->program->slot[slots[0]];
        DL_RETURN_IF_ERROR(dl_add_operation(c->program, DL_OP_COMMIT, &(dl_op_attr){0}, DL_PHASE_UPDATE,
                                            state->layer, state->micro, slots, 3, NULL));
    }
    return DL_OK;
}

dl_status dl_plan_clear_state(dl_plan *plan, dl_program_kind kind) {
    const size_t n_bytes = bytes_below(plan, plan->options.model->n_values);
    if (n_bytes == 0) {
        return DL_OK;
    }
    char *state = plan->memory[DL_STORE_STATE];
    state += dl_state_begin(plan) + (kind == DL_PROGRAM_TRAIN ? 0 : n_bytes);
    return plan->options.device->backend->upload(plan->options.device, state, plan->zeros, n_bytes, NULL);
}

bool dl_plan_carried(const dl_plan *plan, int v, dl_carried *out) {
    const dl_value *value = &plan->options.model->value[v];
    if (value->kind != DL_VALUE_STATE) {
        return false;
    }
    *out = (dl_carried){.shape = {.n_dims = value->shape.n_dims + 1, .dim = {plan->options.batch_size}},
                        .rows = share_of(plan),
                        .device = (char *)plan->memory[DL_STORE_STATE] + dl_state_begin(plan) +
                                  bytes_below(plan, v)};
    for (int d = 0; d < value->shape.n_dims; d++) {
        out->shape.dim[d + 1] = value->shape.dim[d];
    }
    return true;
}
