/* Lowering: every operation is prepared on its device. What the kernels want is then given to them:
 * parameters in their layout (copies), room for their workspace, and the way of parameter gradients from a
 * kernel's layout to the arena (unpack). In reproducible mode sums over samples run in pieces, whose results
 * are added in a fixed tree. */
#include "program/compile.h"

#include <string.h>

/* One operation while it is lowered. */
typedef struct lowering {
    dl_instruction instruction;
    const dl_op_info *info;
    bool is_parameter_gradient[DL_OP_MAX_SLOTS];
    bool sums_gradients; /* it writes parameter gradients */
    int statistic;       /* slot number of sums that are wanted over all ranks amid the step, -1 */
    dl_range pieces;     /* of this micro-batch, when it runs in parts */
    int at;              /* its number in the new list */
    bool appended;       /* the program owns its prepared operations */
} lowering;

/* A parameter, or its average, where it lies. */
static bool is_parameter(const dl_slot *slot) {
    return slot->storage == DL_STORE_PARAMETER || slot->storage == DL_STORE_FROZEN ||
           (slot->storage == DL_STORE_STATE && slot->parameter >= 0);
}

static void classify(const dl_plan *plan, const dl_program *program, lowering *l) {
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
static dl_op_desc free_desc(const dl_program *program, const lowering *l) {
    dl_op_desc desc = dl_instruction_desc(program, &l->instruction);
    for (int i = 0; i < l->info->n_slots; i++) {
        const dl_slot_info *info = &l->info->slots[i];
        if (!desc.slot[i].present) {
            continue;
        }
        const bool parameter = is_parameter(&program->slot[l->instruction.slot[i]]);
        if ((info->layout_free && (parameter || l->is_parameter_gradient[i])) ||
            (info->saved && info->role == DL_SLOT_OUT)) {
            desc.slot[i].layout = &dl_layout_any;
        }
    }
    return desc;
}

static const dl_op *forward_op(const dl_program *program, const lowering *l) {
    return l->instruction.forward >= 0 ? program->instruction[l->instruction.forward].op : NULL;
}

/* --- parts --- */

/* Prepares the operation once per piece, on one thread each; all with the layouts the first one wants. */
static dl_status prepare_parts(dl_compile *c, lowering *l) {
    dl_program *program = c->program;
    const dl_range mine = l->pieces;
    const int n = (int)(mine.end - mine.begin);
    DL_RETURN_IF_ERROR(dl_pool_alloc(program->pool, (size_t)n, sizeof(dl_part), &l->instruction.part));
    l->instruction.n_parts = n;
    dl_op_desc desc = free_desc(program, l);
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

static const dl_op *any_op(const dl_instruction *instruction) {
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
    return dl_round_up(largest, DL_CACHE_LINE) *
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
static size_t saved_bytes(const lowering *l, const dl_op *op, int i, const dl_slot *slot) {
    if (l->instruction.n_parts == 0 || !l->info->slots[i].batched) {
        return dl_op_slot_bytes(op, i);
    }
    const size_t sample = dl_op_slot_bytes(op, i) / (size_t)op->desc.slot[i].shape.dim[0];
    return sample * (size_t)slot->tensor.shape.dim[0];
}

static dl_status bind_layouts(dl_compile *c, lowering *l, const dl_op *op) {
    for (int i = 0; i < l->info->n_slots; i++) {
        const int s = l->instruction.slot[i];
        if (s < 0) {
            continue;
        }
        dl_slot *slot = &c->program->slot[s];
        if (is_parameter(slot) && op->layout[i] != NULL) {
            DL_RETURN_IF_ERROR(dl_copy_slot(c, slot->parameter, slot->storage == DL_STORE_STATE,
                                            op->layout[i], &l->instruction.slot[i]));
        } else if (l->info->slots[i].saved && l->info->slots[i].role == DL_SLOT_OUT) {
            slot->tensor.layout = op->layout[i];
            slot->n_bytes = saved_bytes(l, op, i, slot);
        }
    }
    return DL_OK;
}

dl_status dl_gradient_slot(dl_compile *c, int row, int block, int *slot) {
    const dl_parameter_table *table = &c->model->table;
    const dl_parameter *parameter = &table->parameter[row];
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, parameter->path, parameter->layer_index, -1, DL_STORE_GRADIENT,
                                   DL_F32, &parameter->shape, slot));
    c->program->slot[*slot].parameter = row;
    c->program->slot[*slot].offset =
        (size_t)(block * table->trainable_elements + parameter->offset) * sizeof(float);
    return DL_OK;
}

/* Appends the move of a gradient in kernel layout to the arena: written by the first contribution, added by
 * others. */
static dl_status unpack(dl_compile *c, const lowering *l, int from, int row, int block) {
    int *written = &c->gradient_written[row * c->plan->n_blocks + block];
    const dl_op_attr attr = {.accumulate = *written > 0};
    int to = -1;
    (*written)++;
    DL_RETURN_IF_ERROR(dl_gradient_slot(c, row, block, &to));
    const int slots[] = {from, to};
    return dl_add_operation(c->program, DL_OP_UNPACK, &attr, DL_PHASE_BACKWARD, l->instruction.layer,
                            l->instruction.micro, slots, 2, NULL);
}

/* The gradient slot of a whole operation: the arena itself where the kernel writes it plainly and first. */
static dl_status bind_whole_gradient(dl_compile *c, lowering *l, int i, int *unpack_row) {
    dl_slot *slot = &c->program->slot[l->instruction.slot[i]];
    int *written = &c->gradient_written[slot->parameter * c->plan->n_blocks];
    *unpack_row = -1;
    if (l->instruction.op->layout[i] == NULL && *written == 0) {
        (*written)++;
        return dl_gradient_slot(c, slot->parameter, 0, &l->instruction.slot[i]);
    }
    slot->tensor.layout = l->instruction.op->layout[i];
    slot->n_bytes = dl_op_slot_bytes(l->instruction.op, i);
    *unpack_row = slot->parameter;
    return DL_OK;
}

/* The part results of slot i, side by side, and zeros for parts without samples: [parts, elements]. */
static dl_status make_part_results(dl_compile *c, lowering *l, int i) {
    dl_program *program = c->program;
    const dl_op *op = any_op(&l->instruction);
    const dl_slot gradient = program->slot[l->instruction.slot[i]];
    const dl_dtype dtype = gradient.tensor.dtype;
    const int64_t element = (int64_t)dl_dtype_bytes(dtype);
    const int64_t n = (int64_t)(op != NULL ? dl_op_slot_bytes(op, i) : gradient.n_bytes) / element;
    int results = -1;
    DL_RETURN_IF_ERROR(dl_add_slot(program, gradient.name, gradient.layer, gradient.micro,
                                   DL_STORE_ACTIVATION, dtype, &DL_SHAPE(l->instruction.n_parts, n),
                                   &results));
    program->slot[results].parameter = gradient.parameter;
    for (int p = 0; p < l->instruction.n_parts; p++) {
        if (l->instruction.part[p].op == NULL) {
            int view = -1;
            DL_RETURN_IF_ERROR(dl_add_view(program, gradient.name, results, (size_t)(p * n * element), dtype,
                                           &DL_SHAPE(n), &view));
            DL_RETURN_IF_ERROR(dl_add_operation(program, DL_OP_FILL_ZERO, &(dl_op_attr){0},
                                                l->instruction.phase, gradient.layer, gradient.micro, &view,
                                                1, NULL));
        }
    }
    l->instruction.slot[i] = results;
    return DL_OK;
}

/* Number of the plan's gradient arena for an aligned block of pieces. */
static int block_number(const dl_plan *plan, dl_range pieces) {
    for (int b = 0; b < plan->n_blocks; b++) {
        if (plan->block_pieces[b].begin == pieces.begin && plan->block_pieces[b].end == pieces.end) {
            return b;
        }
    }
    return -1;
}

/* Adds the parts of each aligned block in the fixed tree, then moves the sum to that block's arena. */
static dl_status sum_parts(dl_compile *c, const lowering *l, int i) {
    dl_program *program = c->program;
    const int results = l->instruction.slot[i];
    const dl_slot slot = program->slot[results];
    const int64_t n = slot.tensor.shape.dim[1];
    const dl_op *op = any_op(&l->instruction);
    const dl_layout *layout = op != NULL ? op->layout[i] : NULL;
    const dl_shape *plain = &c->model->table.parameter[slot.parameter].shape;
    dl_range blocks[DL_MAX_BLOCKS];
    const int n_blocks = dl_aligned_blocks(l->pieces, blocks);
    for (int b = 0; b < n_blocks; b++) {
        const int64_t k = blocks[b].end - blocks[b].begin;
        const size_t offset = (size_t)((blocks[b].begin - l->pieces.begin) * n) * sizeof(float);
        int parts = -1, sum = -1, shaped = -1;
        DL_RETURN_IF_ERROR(dl_add_view(program, slot.name, results, offset, DL_F32, &DL_SHAPE(k, n), &parts));
        DL_RETURN_IF_ERROR(dl_add_slot(program, slot.name, slot.layer, slot.micro, DL_STORE_ACTIVATION,
                                       DL_F32, &DL_SHAPE(n), &sum));
        const int slots[] = {parts, sum};
        DL_RETURN_IF_ERROR(dl_add_operation(program, DL_OP_TREE_SUM, &(dl_op_attr){0}, DL_PHASE_BACKWARD,
                                            slot.layer, slot.micro, slots, 2, NULL));
        DL_RETURN_IF_ERROR(
            dl_add_view(program, slot.name, sum, 0, DL_F32, layout == NULL ? plain : &DL_SHAPE(n), &shaped));
        program->slot[shaped].tensor.shape = *plain;
        program->slot[shaped].tensor.layout = layout;
        program->slot[shaped].n_bytes = (size_t)n * sizeof(float);
        DL_RETURN_IF_ERROR(unpack(c, l, shaped, slot.parameter, block_number(c->plan, blocks[b])));
    }
    return DL_OK;
}

/* --- statistics over all ranks --- */

/* Adds the parts of each aligned block in the fixed tree into that block of the exchange; the first block
 * then stands for the sums. */
static dl_status exchange_parts(dl_compile *c, lowering *l, int results,
                                const int blocks_slots[DL_MAX_BLOCKS]) {
    dl_program *program = c->program;
    const dl_slot slot = program->slot[results];
    const int64_t n = slot.tensor.shape.dim[1];
    dl_range blocks[DL_MAX_BLOCKS];
    const int n_blocks = dl_aligned_blocks(l->pieces, blocks);
    for (int b = 0; b < n_blocks; b++) {
        const size_t offset = (size_t)((blocks[b].begin - l->pieces.begin) * n) * sizeof(double);
        int slots[2] = {-1, blocks_slots[block_number(c->plan, blocks[b])]};
        DL_RETURN_IF_ERROR(dl_add_view(program, slot.name, results, offset, DL_F64,
                                       &DL_SHAPE(blocks[b].end - blocks[b].begin, n), &slots[0]));
        DL_RETURN_IF_ERROR(dl_add_operation(program, DL_OP_TREE_SUM, &(dl_op_attr){0}, l->instruction.phase,
                                            slot.layer, slot.micro, slots, 2, NULL));
    }
    return DL_OK;
}

/* Lets all that reads the sums read them where they are exchanged. */
static dl_status move_statistic(dl_compile *c, lowering *l, int blocks_slots[DL_MAX_BLOCKS]) {
    const int sums = l->instruction.slot[l->statistic];
    const dl_shape shape = c->program->slot[sums].tensor.shape;
    DL_RETURN_IF_ERROR(dl_exchange_slots(c, &l->instruction, &shape, blocks_slots));
    c->program->slot[sums] = c->program->slot[blocks_slots[0]];
    blocks_slots[0] = sums;
    return DL_OK;
}

/* --- one operation --- */

static dl_status append(dl_compile *c, lowering *l) {
    DL_RETURN_IF_ERROR(dl_add_instruction(c->program, &l->instruction));
    l->at = c->program->n_instructions - 1;
    l->appended = true;
    return DL_OK;
}

static dl_status finish_parts(dl_compile *c, lowering *l) {
    int results = -1, blocks_slots[DL_MAX_BLOCKS];
    if (l->statistic >= 0) {
        const int sums = l->instruction.slot[l->statistic];
        DL_RETURN_IF_ERROR(make_part_results(c, l, l->statistic));
        results = l->instruction.slot[l->statistic];
        l->instruction.slot[l->statistic] = sums;
        DL_RETURN_IF_ERROR(move_statistic(c, l, blocks_slots));
        l->instruction.slot[l->statistic] = results;
    }
    for (int i = 0; i < l->info->n_slots; i++) {
        if (l->is_parameter_gradient[i]) {
            DL_RETURN_IF_ERROR(make_part_results(c, l, i));
        }
    }
    DL_RETURN_IF_ERROR(give_workspace(c, &l->instruction));
    DL_RETURN_IF_ERROR(append(c, l));
    for (int i = 0; i < l->info->n_slots; i++) {
        if (l->is_parameter_gradient[i]) {
            DL_RETURN_IF_ERROR(sum_parts(c, l, i));
        }
    }
    return results >= 0 ? exchange_parts(c, l, results, blocks_slots) : DL_OK;
}

static dl_status finish_whole(dl_compile *c, lowering *l) {
    int rows[DL_OP_MAX_SLOTS], blocks_slots[DL_MAX_BLOCKS];
    if (l->statistic >= 0) {
        DL_RETURN_IF_ERROR(move_statistic(c, l, blocks_slots));
    }
    for (int i = 0; i < l->info->n_slots; i++) {
        rows[i] = -1;
        if (l->is_parameter_gradient[i]) {
            DL_RETURN_IF_ERROR(bind_whole_gradient(c, l, i, &rows[i]));
        }
    }
    DL_RETURN_IF_ERROR(give_workspace(c, &l->instruction));
    DL_RETURN_IF_ERROR(append(c, l));
    for (int i = 0; i < l->info->n_slots; i++) {
        if (rows[i] >= 0) {
            DL_RETURN_IF_ERROR(unpack(c, l, l->instruction.slot[i], rows[i], 0));
        }
    }
    return DL_OK;
}

static dl_status lower_whole_or_parts(dl_compile *c, lowering *l) {
    const dl_plan_options *options = &c->plan->options;
    const int micro = l->instruction.micro;
    const bool pieces = options->reproducible && micro >= 0;
    if (pieces) {
        const int n_micro = c->program->kind == DL_PROGRAM_TRAIN ? options->accumulate : 1;
        l->pieces = dl_share_pieces(options->n_ranks, options->rank, n_micro, micro);
    }
    const bool sums = l->info->batch == DL_BATCH_SUMS_SAMPLES && (l->sums_gradients || l->statistic >= 0);
    if (!(pieces && sums)) {
        const dl_op_desc desc = free_desc(c->program, l);
        DL_RETURN_IF_ERROR(
            dl_op_prepare(options->device, &desc, forward_op(c->program, l), &l->instruction.op));
        const bool in_parts =
            pieces && l->info->batch == DL_BATCH_PER_SAMPLE && !l->instruction.op->batch_invariant;
        if (!in_parts) {
            DL_RETURN_IF_ERROR(bind_layouts(c, l, l->instruction.op));
            return finish_whole(c, l);
        }
        dl_op_destroy(&l->instruction.op);
    }
    DL_RETURN_IF_ERROR(prepare_parts(c, l));
    if (any_op(&l->instruction) != NULL) {
        DL_RETURN_IF_ERROR(bind_layouts(c, l, any_op(&l->instruction)));
    }
    return finish_parts(c, l);
}

/* What is computed from sums over all ranks is the same on each: as a part of the gradients, which ranks add
 * up, the first block of the first rank keeps it alone. */
static bool is_replicated(const dl_compile *c, const dl_instruction *instruction) {
    return instruction->kind == DL_OP_BATCH_NORM_BACKWARD_WEIGHTS &&
           dl_is_global_statistic(c->plan, instruction->kind, &instruction->attr);
}

/* The other blocks bring zeros, in the last micro-batch: so the last contribution has the same place in the
 * list of every rank, which orders the exchanges. */
static dl_status bring_zeros(dl_compile *c, const int *rows, int n_rows, const lowering *l, int first_block) {
    const bool last = l->instruction.micro + 1 == c->plan->options.accumulate;
    for (int i = 0; i < n_rows && last; i++) {
        for (int block = first_block; block < c->plan->n_blocks && rows[i] >= 0; block++) {
            int slot = -1;
            if (c->gradient_written[rows[i] * c->plan->n_blocks + block]++ > 0) {
                continue;
            }
            DL_RETURN_IF_ERROR(dl_gradient_slot(c, rows[i], block, &slot));
            DL_RETURN_IF_ERROR(dl_add_operation(c->program, DL_OP_FILL_ZERO, &(dl_op_attr){0},
                                                DL_PHASE_BACKWARD, l->instruction.layer, l->instruction.micro,
                                                &slot, 1, NULL));
        }
    }
    return DL_OK;
}

static dl_status lower_replicated(dl_compile *c, lowering *l) {
    int rows[DL_OP_MAX_SLOTS];
    const bool keeps = c->plan->options.rank == 0;
    for (int i = 0; i < l->info->n_slots; i++) {
        rows[i] = l->is_parameter_gradient[i] ? c->program->slot[l->instruction.slot[i]].parameter : -1;
    }
    if (keeps) {
        DL_RETURN_IF_ERROR(lower_whole_or_parts(c, l));
    }
    return bring_zeros(c, rows, l->info->n_slots, l, keeps ? 1 : 0);
}

static dl_status lower_operation(dl_compile *c, const dl_instruction *instruction, int *at) {
    lowering l = {.instruction = *instruction, .info = dl_op_info_of(instruction->kind)};
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

/* Without samples in a micro-batch its gradients are zero. */
static dl_status zero_missing_gradients(dl_compile *c) {
    const dl_parameter_table *table = &c->model->table;
    for (int row = 0; row < table->n && table->parameter[row].trainable; row++) {
        for (int block = 0; block < c->plan->n_blocks; block++) {
            if (c->gradient_written[row * c->plan->n_blocks + block] > 0) {
                continue;
            }
            int slot = -1;
            DL_RETURN_IF_ERROR(dl_gradient_slot(c, row, block, &slot));
            DL_RETURN_IF_ERROR(dl_add_operation(c->program, DL_OP_FILL_ZERO, &(dl_op_attr){0},
                                                DL_PHASE_BACKWARD, table->parameter[row].layer_index, -1,
                                                &slot, 1, NULL));
        }
    }
    return DL_OK;
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
        status = zero_missing_gradients(c);
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
