/* Lowering: every operation is prepared on its device. What the kernels want is then given to them:
 * parameters in their layout (copies), room for their workspace, a way for their sums (lower_sums.c). In
 * reproducible mode sums over samples run in pieces, one part each. */
#include "program/lower.h"

#include <string.h>

static void classify(const dl_plan *plan, const dl_program *program, dl_lowering *l) {
    for (int i = 0; i < l->info->n_slots; i++) {
        const int s = l->instruction.slot[i];
        const dl_slot *slot = s >= 0 ? &program->slot[s] : NULL;
        l->is_parameter_gradient[i] = slot != NULL && l->info->slots[i].role == DL_SLOT_OUT &&
                                      slot->parameter >= 0 && slot->storage == DL_STORE_ACTIVATION;
        l->sums_gradients = l->sums_gradients || l->is_parameter_gradient[i];
    }
    l->statistic = -1;
    for (int i = 0; i < l->info->n_slots && l->info->batch == DL_BATCH_SUMS_SAMPLES; i++) {
        if (l->info->slots[i].role == DL_SLOT_OUT &&
            dl_is_global_statistic(plan, l->instruction.kind, &l->instruction.attr)) {
            l->statistic = i;
        }
    }
}

/* The desc to prepare: free choice of layout for parameters, their gradients and what is saved for backward.
 */
static dl_op_desc free_desc(const dl_compile *c, const dl_lowering *l) {
    const dl_program *program = c->program;
    dl_op_desc desc = dl_precise_desc(c, &l->instruction);
    for (int i = 0; i < l->info->n_slots; i++) {
        const dl_slot_info *info = &l->info->slots[i];
        if (!desc.slot[i].present) {
            continue;
        }
        const bool parameter = dl_is_parameter(&program->slot[l->instruction.slot[i]]);
        if ((info->layout_free && (parameter || l->is_parameter_gradient[i])) ||
            (info->saved && info->role == DL_SLOT_OUT)) {
            desc.slot[i].layout = &dl_layout_any;
        }
    }
    return desc;
}

static const dl_op *forward_op(const dl_program *program, const dl_lowering *l) {
    return l->instruction.forward >= 0 ? program->instruction[l->instruction.forward].op : NULL;
}

/* --- parts --- */

/* Prepares the operation once per piece, on one thread each; all with the layouts the first one wants. */
static dl_status prepare_parts(dl_compile *c, dl_lowering *l) {
    dl_program *program = c->program;
    const dl_range mine = l->pieces;
    const int n = (int)(mine.end - mine.begin);
    DL_RETURN_IF_ERROR(dl_pool_alloc(program->pool, (size_t)n, sizeof(dl_part), &l->instruction.part));
    l->instruction.n_parts = n;
    dl_op_desc desc = free_desc(c, l);
    const int64_t begin = dl_piece_samples(program->global_samples, mine.begin).begin;
    for (int p = 0; p < n; p++) {
        dl_part *part = &l->instruction.part[p];
        part->samples = dl_piece_samples(program->global_samples, mine.begin + p);
        part->samples.begin -= begin;
        part->samples.end -= begin;
        if (part->samples.end == part->samples.begin) {
            continue;
        }
        const dl_op_desc piece = dl_op_with_samples(&desc, part->samples.end - part->samples.begin);
        DL_RETURN_IF_ERROR(dl_op_prepare(c->plan->single, &piece, NULL, &part->op));
        for (int i = 0; i < l->info->n_slots; i++) {
            if (desc.slot[i].layout == &dl_layout_any) {
                desc.slot[i].layout = part->op->layout[i];
            }
        }
    }
    return DL_OK;
}

const dl_op *dl_lowering_op(const dl_instruction *instruction) {
    for (int p = 0; p < instruction->n_parts; p++) {
        if (instruction->part[p].op != NULL) {
            return instruction->part[p].op;
        }
    }
    return instruction->op;
}

static size_t workspace_of(const dl_instruction *instruction) {
    size_t largest = instruction->op != NULL ? instruction->op->workspace_bytes : 0;
    for (int p = 0; p < instruction->n_parts; p++) {
        const dl_op *op = instruction->part[p].op;
        if (op != NULL && op->workspace_bytes > largest) {
            largest = op->workspace_bytes;
        }
    }
    return dl_round_up(largest, DL_WORKSPACE_ALIGN) *
           (size_t)(instruction->n_parts > 0 ? instruction->n_parts : 1);
}

static dl_status give_workspace(dl_compile *c, dl_instruction *instruction) {
    const size_t n_bytes = workspace_of(instruction);
    if (n_bytes == 0) {
        return DL_OK;
    }
    return dl_add_slot(c->program, "workspace", instruction->layer, instruction->micro, DL_STORE_WORKSPACE,
                       DL_U8, &DL_SHAPE((int64_t)n_bytes), &instruction->slot[DL_OP_MAX_SLOTS]);
}

/* --- parameters and their gradients --- */

/* Bytes of what is saved for backward: of all samples, also where `op` is one of several parts. */
static size_t saved_bytes(const dl_lowering *l, const dl_op *op, int i, const dl_slot *slot) {
    if (l->instruction.n_parts == 0 || !l->info->slots[i].batched) {
        return dl_op_slot_bytes(op, i);
    }
    const size_t sample = dl_op_slot_bytes(op, i) / (size_t)op->desc.slot[i].shape.dim[0];
    return sample * (size_t)slot->tensor.shape.dim[0];
}

static dl_status bind_layouts(dl_compile *c, dl_lowering *l, const dl_op *op) {
    for (int i = 0; i < l->info->n_slots; i++) {
        const int s = l->instruction.slot[i];
        if (s < 0) {
            continue;
        }
        dl_slot *slot = &c->program->slot[s];
        const dl_dtype dtype = op->desc.slot[i].dtype;
        if (dl_is_parameter(slot) && (op->layout[i] != NULL || dtype != slot->tensor.dtype)) {
            DL_RETURN_IF_ERROR(dl_copy_slot(c, slot->parameter, slot->storage == DL_STORE_STATE, dtype,
                                            op->layout[i], &l->instruction.slot[i]));
        } else if (l->info->slots[i].saved && l->info->slots[i].role == DL_SLOT_OUT) {
            slot->tensor.layout = op->layout[i];
            slot->n_bytes = saved_bytes(l, op, i, slot);
        }
    }
    return DL_OK;
}

/* --- one operation --- */

static dl_status append(dl_compile *c, dl_lowering *l) {
    DL_RETURN_IF_ERROR(dl_add_instruction(c->program, &l->instruction));
    l->at = c->program->n_instructions - 1;
    l->appended = true;
    return DL_OK;
}

static dl_status finish(dl_compile *c, dl_lowering *l) {
    DL_RETURN_IF_ERROR(dl_bind_sums(c, l));
    DL_RETURN_IF_ERROR(give_workspace(c, &l->instruction));
    DL_RETURN_IF_ERROR(append(c, l));
    return dl_collect_sums(c, l);
}

static dl_status lower_whole_or_parts(dl_compile *c, dl_lowering *l) {
    const dl_plan_options *options = &c->plan->options;
    const int micro = l->instruction.micro;
    const bool pieces = options->reproducible && micro >= 0;
    if (pieces) {
        const int n_micro = c->program->kind == DL_PROGRAM_TRAIN ? options->accumulate : 1;
        l->pieces = dl_share_pieces(options->n_ranks, options->rank, n_micro, micro);
    }
    const bool sums = l->info->batch == DL_BATCH_SUMS_SAMPLES && (l->sums_gradients || l->statistic >= 0);
    if (!(pieces && sums)) {
        const dl_op_desc desc = free_desc(c, l);
        DL_RETURN_IF_ERROR(
            dl_op_prepare(options->device, &desc, forward_op(c->program, l), &l->instruction.op));
        const bool in_parts =
            pieces && l->info->batch == DL_BATCH_PER_SAMPLE && !l->instruction.op->batch_invariant;
        if (!in_parts) {
            DL_RETURN_IF_ERROR(bind_layouts(c, l, l->instruction.op));
            return finish(c, l);
        }
        dl_op_destroy(&l->instruction.op);
    }
    DL_RETURN_IF_ERROR(prepare_parts(c, l));
    if (dl_lowering_op(&l->instruction) != NULL) {
        DL_RETURN_IF_ERROR(bind_layouts(c, l, dl_lowering_op(&l->instruction)));
    }
    return finish(c, l);
}

/* What is computed from sums over all ranks is the same on each: as a part of the gradients, which ranks add
 * up, the first block of the first rank keeps it alone. */
static bool is_replicated(const dl_compile *c, const dl_instruction *instruction) {
    return instruction->kind == DL_OP_BATCH_NORM_BACKWARD_WEIGHTS &&
           dl_is_global_statistic(c->plan, instruction->kind, &instruction->attr);
}

/* The other blocks bring zeros, in the last micro-batch: so the last contribution has the same place in the
 * list of every rank, which orders the exchanges. */
static dl_status lower_replicated(dl_compile *c, dl_lowering *l) {
    int rows[DL_OP_MAX_SLOTS];
    const bool keeps = c->plan->options.rank == 0;
    for (int i = 0; i < l->info->n_slots; i++) {
        rows[i] = l->is_parameter_gradient[i] ? c->program->slot[l->instruction.slot[i]].parameter : -1;
    }
    if (keeps) {
        DL_RETURN_IF_ERROR(lower_whole_or_parts(c, l));
    }
    const bool last = l->instruction.micro + 1 == c->plan->options.accumulate;
    return last ? dl_zero_other_blocks(c, l, rows, keeps ? 1 : 0) : DL_OK;
}

static dl_status lower_operation(dl_compile *c, const dl_instruction *instruction, int *at) {
    dl_lowering l = {.instruction = *instruction, .info = dl_op_info_of(instruction->kind)};
    classify(c->plan, c->program, &l);
    const dl_status status =
        is_replicated(c, instruction) ? lower_replicated(c, &l) : lower_whole_or_parts(c, &l);
    if (!l.appended) {
        dl_op_destroy(&l.instruction.op);
        for (int p = 0; p < l.instruction.n_parts; p++) {
            dl_op_destroy(&l.instruction.part[p].op);
        }
    }
    *at = l.at;
    return status;
}

dl_status dl_lower(dl_compile *c) {
    dl_program *program = c->program;
    dl_instruction *before = program->instruction;
    const int n = program->n_instructions;
    int *moved = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *moved, &moved));
    program->instruction = NULL;
    program->n_instructions = 0;
    program->capacity_instructions = 0;
    dl_status status = DL_OK;
    for (int i = 0; i < n && status == DL_OK; i++) {
        if (before[i].type == DL_DO_OPERATION) {
            before[i].forward = before[i].forward >= 0 ? moved[before[i].forward] : -1;
            status = lower_operation(c, &before[i], &moved[i]);
        } else {
            status = dl_add_instruction(program, &before[i]);
            moved[i] = program->n_instructions - 1;
        }
    }
    dl_free(&before);
    dl_free(&moved);
    if (status == DL_OK && program->kind == DL_PROGRAM_TRAIN) {
        status = dl_zero_missing_gradients(c);
    }
    return status;
}

dl_status dl_prepare_rest(dl_compile *c) {
    for (int i = 0; i < c->program->n_instructions; i++) {
        dl_instruction *instruction = &c->program->instruction[i];
        if (instruction->type != DL_DO_OPERATION || instruction->op != NULL || instruction->n_parts > 0) {
            continue;
        }
        const dl_op_desc desc = dl_instruction_desc(c->program, instruction);
        DL_RETURN_IF_ERROR(dl_op_prepare(c->plan->options.device, &desc, NULL, &instruction->op));
        DL_RETURN_IF_ERROR(give_workspace(c, instruction));
    }
    return DL_OK;
}
