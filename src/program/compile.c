/* From a model to one program: the passes in their order. */
#include "program/compile.h"

#include "program/choose.h"

#include <stddef.h>
#include <string.h>

static dl_status control_slot(dl_program *program, const char *name, dl_dtype dtype, int64_t n, size_t offset,
                              int *slot) {
    DL_RETURN_IF_ERROR(dl_add_slot(program, name, -1, -1, DL_STORE_CONTROL, dtype, &DL_SHAPE(n), slot));
    program->slot[*slot].offset = offset;
    return DL_OK;
}

/* Copies a field of the step block: the rank's weight into the totals, its requests into the control word. */
static dl_status copy_from_step(dl_program *program, size_t offset, int to, size_t to_offset, dl_dtype dtype,
                                int64_t n) {
    int slots[2] = {-1, -1};
    DL_RETURN_IF_ERROR(dl_add_view(program, "step", program->step, offset, dtype, &DL_SHAPE(n), &slots[0]));
    DL_RETURN_IF_ERROR(
        dl_add_view(program, program->slot[to].name, to, to_offset, dtype, &DL_SHAPE(n), &slots[1]));
    return dl_add_operation(program, DL_OP_COPY, &(dl_op_attr){0}, DL_PHASE_LOAD, -1, -1, slots, 2, NULL);
}

static dl_status clear_totals(dl_program *program) {
    DL_RETURN_IF_ERROR(dl_add_operation(program, DL_OP_FILL_ZERO, &(dl_op_attr){0}, DL_PHASE_LOAD, -1, -1,
                                        &program->totals, 1, NULL));
    if (program->moments >= 0) {
        DL_RETURN_IF_ERROR(dl_add_operation(program, DL_OP_FILL_ZERO, &(dl_op_attr){0}, DL_PHASE_LOAD, -1, -1,
                                            &program->moments, 1, NULL));
    }
    return copy_from_step(program, offsetof(dl_step_block, weight), program->totals,
                          DL_TOTAL_WEIGHT * sizeof(double), DL_F64, 1);
}

/* Where steps are handed over before the one before them was seen, its word says what becomes of this one. */
static dl_status begin_control(const dl_compile *c) {
    dl_program *program = c->program;
    const int slots[] = {program->step, program->control};
    if (program->kind == DL_PROGRAM_TRAIN && c->plan->options.device->backend->steps_in_flight > 0) {
        return dl_add_operation(program, DL_OP_BEGIN_CONTROL, &(dl_op_attr){0}, DL_PHASE_LOAD, -1, -1, slots,
                                2, NULL);
    }
    return copy_from_step(program, offsetof(dl_step_block, control), program->control, 0, DL_I32,
                          DL_N_CONTROLS);
}

/* What every step begins with: the step block from the host, cleared totals. Scores alone need neither, but
 * what they carry to the next batch is committed by the control word. */
static dl_status emit_prelude(const dl_compile *c, bool scores_alone) {
    dl_program *program = c->program;
    dl_instruction load = {.type = DL_DO_LOAD,
                           .collective = -1,
                           .load = DL_LOAD_STEP,
                           .lane = DL_LANE_COPY,
                           .phase = DL_PHASE_LOAD,
                           .micro = -1,
                           .layer = -1,
                           .forward = -1,
                           .records = -1};
    for (int i = 0; i <= DL_OP_MAX_SLOTS; i++) {
        load.slot[i] = i == 0 ? program->step : -1;
    }
    DL_RETURN_IF_ERROR(dl_add_instruction(program, &load));
    DL_RETURN_IF_ERROR(scores_alone ? DL_OK : clear_totals(program));
    return begin_control(c);
}

static dl_status start_micro(dl_compile *c, int micro) {
    const dl_plan_options *options = &c->plan->options;
    const bool training = c->program->kind == DL_PROGRAM_TRAIN;
    const int n_micro = training ? options->accumulate : 1;
    const dl_range range = dl_share_samples(c->program->global_samples, options->n_ranks, options->rank,
                                            n_micro, micro, options->reproducible);
    c->micro = micro;
    c->micro_range = (dl_range){range.begin - c->program->local_begin, range.end - c->program->local_begin};
    c->micro_samples = range.end - range.begin;
    for (int v = 0; v < c->model->n_values; v++) {
        c->slot_of[v] = c->gradient_of[v] = -1;
    }
    return DL_OK;
}

static void set_shares(dl_compile *c) {
    const dl_plan_options *options = &c->plan->options;
    const dl_range mine = dl_share_samples(c->program->global_samples, options->n_ranks, options->rank, 1, 0,
                                           options->reproducible);
    c->program->local_begin = mine.begin;
    c->program->local_samples = mine.end - mine.begin;
}

static dl_status emit_all(dl_compile *c) {
    const bool training = c->program->kind == DL_PROGRAM_TRAIN;
    const int n_micro = training ? c->plan->options.accumulate : 1;
    const bool scores_alone = c->plan->options.forward_only;
    if (!scores_alone || c->model->stateful) {
        DL_RETURN_IF_ERROR(emit_prelude(c, scores_alone));
    }
    for (int micro = 0; micro < n_micro; micro++) {
        DL_RETURN_IF_ERROR(start_micro(c, micro));
        if (c->micro_samples == 0 && !(training && dl_model_exchanges(c->plan))) {
            continue;
        }
        DL_RETURN_IF_ERROR(dl_emit_forward(c));
        DL_RETURN_IF_ERROR(dl_note_carries(c));
        if (training) {
            DL_RETURN_IF_ERROR(dl_emit_backward(c));
        }
    }
    return DL_OK;
}

static dl_status run_passes(dl_compile *c) {
    dl_program *program = c->program;
    DL_RETURN_IF_ERROR(
        control_slot(program, "step", DL_U8, sizeof(dl_step_block), DL_STEP_OFFSET, &program->step));
    DL_RETURN_IF_ERROR(
        control_slot(program, "totals", DL_F64, DL_N_TOTALS, DL_TOTALS_OFFSET, &program->totals));
    DL_RETURN_IF_ERROR(
        control_slot(program, "control", DL_I32, DL_N_CONTROLS, DL_CONTROL_OFFSET, &program->control));
    if (program->kind == DL_PROGRAM_REFRESH) {
        return DL_OK;
    }
    const int64_t n_moments =
        dl_n_moments(c->model); /* in evaluation none are added; the totals' exchange is one */
    if (n_moments > 0) {
        DL_RETURN_IF_ERROR(
            control_slot(program, "moments", DL_F64, n_moments, DL_MOMENTS_OFFSET, &program->moments));
    }
    if (program->kind == DL_PROGRAM_TRAIN && c->plan->options.clip_norm > 0) {
        DL_RETURN_IF_ERROR(control_slot(program, "norm", DL_F64, DL_N_NORMS, DL_NORM_OFFSET, &program->norm));
    }
    DL_RETURN_IF_ERROR(dl_loss_scale_slot(c));
    set_shares(c);
    DL_RETURN_IF_ERROR(emit_all(c));
    if (c->plan->options.fuse) {
        DL_RETURN_IF_ERROR(dl_fuse(c));
    }
    DL_RETURN_IF_ERROR(dl_choose_precision(c));
    DL_RETURN_IF_ERROR(dl_choose_layouts(c));
    DL_RETURN_IF_ERROR(dl_lower(c));
    DL_RETURN_IF_ERROR(dl_partition_data(c));
    DL_RETURN_IF_ERROR(program->kind == DL_PROGRAM_TRAIN ? dl_emit_update(c) : dl_partition_control(c));
    return dl_emit_carries(c);
}

static dl_status compile(dl_plan *plan, dl_program *program) {
    const dl_model *model = plan->options.model;
    const size_t n_values = (size_t)model->n_values;
    dl_compile c = {.plan = plan, .program = program, .model = model, .micro = -1};
    dl_status status = dl_alloc(n_values, sizeof *c.slot_of, &c.slot_of);
    if (status == DL_OK) {
        status = dl_alloc(n_values, sizeof *c.gradient_of, &c.gradient_of);
    }
    if (status == DL_OK) {
        status = dl_alloc(n_values, sizeof *c.needs_gradient, &c.needs_gradient);
    }
    if (status == DL_OK) {
        status = dl_alloc((size_t)(model->table.n * plan->n_blocks), sizeof *c.gradient_written,
                          &c.gradient_written);
    }
    if (status == DL_OK) {
        status = run_passes(&c);
    }
    dl_free(&c.slot_of);
    dl_free(&c.gradient_of);
    dl_free(&c.needs_gradient);
    dl_free(&c.gradient_written);
    dl_free(&c.carry);
    return status;
}

dl_status dl_plan_add(dl_plan *plan, dl_program_kind kind, int64_t global_samples, int *index) {
    return dl_plan_add_length(plan, kind, global_samples, 0, index);
}

dl_status dl_plan_add_length(dl_plan *plan, dl_program_kind kind, int64_t global_samples, int64_t length,
                             int *index) {
    for (int i = 0; i < plan->n_programs; i++) {
        const dl_program *known = plan->program[i];
        if (known->kind == kind && known->global_samples == global_samples && known->length == length) {
            *index = i;
            return DL_OK;
        }
    }
    DL_RETURN_ERROR_IF(plan->sealed || plan->n_programs == DL_MAX_PROGRAMS, DL_ERR_INTERNAL,
                       "no program can be added to the plan any more");
    dl_program *program = NULL;
    DL_RETURN_IF_ERROR(dl_program_create(kind, &program));
    program->global_samples = global_samples;
    program->length = length;
    *index = plan->n_programs;
    plan->program[plan->n_programs++] = program;
    DL_RETURN_IF_ERROR_DOING(compile(plan, program), "compiling a program for %lld samples",
                             (long long)global_samples);
    return DL_OK;
}

/* Packs of the copies this program must leave fresh: after an update those that training reads, in a refresh
 * all. */
static dl_status emit_packs(dl_compile *c) {
    for (int i = 0; i < c->plan->n_copies; i++) {
        const dl_copy copy = c->plan->copy[i];
        if (c->program->kind == DL_PROGRAM_TRAIN && !copy.in_training) {
            continue;
        }
        const dl_parameter *parameter = &c->model->table.parameter[copy.parameter];
        if (c->program->kind == DL_PROGRAM_TRAIN && !parameter->trainable) {
            continue;
        }
        int slots[2] = {-1, -1};
        DL_RETURN_IF_ERROR(dl_parameter_slot(c, copy.parameter, copy.averaged, &slots[0]));
        DL_RETURN_IF_ERROR(
            dl_copy_slot(c, copy.parameter, copy.averaged, copy.dtype, copy.layout, &slots[1]));
        DL_RETURN_IF_ERROR(dl_add_operation(c->program, DL_OP_PACK, &(dl_op_attr){0}, DL_PHASE_PACK,
                                            parameter->layer_index, -1, slots, 2, NULL));
    }
    return DL_OK;
}

dl_status dl_compile_finish(dl_plan *plan, dl_program *program) {
    dl_compile c = {.plan = plan, .program = program, .model = plan->options.model, .micro = -1};
    if (program->kind != DL_PROGRAM_EVALUATE) {
        DL_RETURN_IF_ERROR(emit_packs(&c));
    }
    DL_RETURN_IF_ERROR(dl_prepare_rest(&c));
    DL_RETURN_IF_ERROR(dl_place_slots(program, plan->options.device->backend->strict));
    return dl_order_lanes(program);
}
