/* Lowering of sums over samples: parameter gradients on their way to the arenas, statistics on theirs to an
 * exchange. What runs in parts brings a result for each, side by side; they are added in the fixed tree of
 * pieces. */
#include "program/lower.h"

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
static dl_status unpack(dl_compile *c, const dl_lowering *l, int from, int row, int block) {
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
static dl_status bind_whole_gradient(dl_compile *c, dl_lowering *l, int i) {
    dl_slot *slot = &c->program->slot[l->instruction.slot[i]];
    int *written = &c->gradient_written[slot->parameter * c->plan->n_blocks];
    if (l->instruction.op->layout[i] == NULL && *written == 0) {
        (*written)++;
        return dl_gradient_slot(c, slot->parameter, 0, &l->instruction.slot[i]);
    }
    slot->tensor.layout = l->instruction.op->layout[i];
    slot->n_bytes = dl_op_slot_bytes(l->instruction.op, i);
    l->unpacked[i] = slot->parameter;
    return DL_OK;
}

/* The part results of slot i, side by side, and zeros for parts without samples: [parts, elements]. */
static dl_status make_part_results(dl_compile *c, dl_lowering *l, int i) {
    dl_program *program = c->program;
    const dl_op *op = dl_lowering_op(&l->instruction);
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

/* Appends the sum of the parts of one aligned block, in the fixed tree, into slot `to`. */
static dl_status add_tree(dl_compile *c, const dl_lowering *l, int results, dl_range block, int to) {
    const dl_slot slot = c->program->slot[results];
    const int64_t n = slot.tensor.shape.dim[1], k = block.end - block.begin;
    const int64_t first = (block.begin - l->pieces.begin) * n;
    int slots[2] = {-1, to};
    DL_RETURN_IF_ERROR(dl_add_view(c->program, slot.name, results,
                                   (size_t)first * dl_dtype_bytes(slot.tensor.dtype), slot.tensor.dtype,
                                   &DL_SHAPE(k, n), &slots[0]));
    return dl_add_operation(c->program, DL_OP_TREE_SUM, &(dl_op_attr){0}, l->instruction.phase, slot.layer,
                            slot.micro, slots, 2, NULL);
}

/* Adds the parts of each aligned block, then moves the sum to that block's arena. */
static dl_status collect_gradient(dl_compile *c, const dl_lowering *l, int i) {
    dl_program *program = c->program;
    const dl_slot slot = program->slot[l->instruction.slot[i]];
    const int64_t n = slot.tensor.shape.dim[1];
    const dl_op *op = dl_lowering_op(&l->instruction);
    const dl_layout *layout = op != NULL ? op->layout[i] : NULL;
    const dl_shape *plain = &c->model->table.parameter[slot.parameter].shape;
    dl_range blocks[DL_MAX_BLOCKS];
    const int n_blocks = dl_aligned_blocks(l->pieces, blocks);
    for (int b = 0; b < n_blocks; b++) {
        int sum = -1, shaped = -1;
        DL_RETURN_IF_ERROR(dl_add_slot(program, slot.name, slot.layer, slot.micro, DL_STORE_ACTIVATION,
                                       DL_F32, &DL_SHAPE(n), &sum));
        DL_RETURN_IF_ERROR(add_tree(c, l, l->instruction.slot[i], blocks[b], sum));
        DL_RETURN_IF_ERROR(
            dl_add_view(program, slot.name, sum, 0, DL_F32, layout == NULL ? plain : &DL_SHAPE(n), &shaped));
        program->slot[shaped].tensor.shape = *plain;
        program->slot[shaped].tensor.layout = layout;
        program->slot[shaped].n_bytes = (size_t)n * sizeof(float);
        DL_RETURN_IF_ERROR(unpack(c, l, shaped, slot.parameter, block_number(c->plan, blocks[b])));
    }
    return DL_OK;
}

/* The sums lie where they are exchanged, so that all that reads them reads the exchange's result: the first
 * block's slot takes the place of the sums'. */
static dl_status bind_statistic(dl_compile *c, dl_lowering *l) {
    const int sums = l->instruction.slot[l->statistic];
    const dl_shape shape = c->program->slot[sums].tensor.shape;
    if (l->instruction.n_parts > 0) {
        DL_RETURN_IF_ERROR(make_part_results(c, l, l->statistic));
    }
    DL_RETURN_IF_ERROR(dl_exchange_slots(c, &l->instruction, &shape, l->exchange));
    c->program->slot[sums] = c->program->slot[l->exchange[0]];
    l->exchange[0] = sums;
    return DL_OK;
}

/* Adds the parts of each aligned block into that block of the exchange. */
static dl_status collect_statistic(dl_compile *c, const dl_lowering *l) {
    dl_range blocks[DL_MAX_BLOCKS];
    const int n_blocks = dl_aligned_blocks(l->pieces, blocks);
    for (int b = 0; b < n_blocks; b++) {
        DL_RETURN_IF_ERROR(add_tree(c, l, l->instruction.slot[l->statistic], blocks[b],
                                    l->exchange[block_number(c->plan, blocks[b])]));
    }
    return DL_OK;
}

dl_status dl_bind_sums(dl_compile *c, dl_lowering *l) {
    const bool parts = l->instruction.n_parts > 0;
    if (l->statistic >= 0) {
        DL_RETURN_IF_ERROR(bind_statistic(c, l));
    }
    for (int i = 0; i < l->info->n_slots; i++) {
        l->unpacked[i] = -1;
        if (l->is_parameter_gradient[i]) {
            DL_RETURN_IF_ERROR(parts ? make_part_results(c, l, i) : bind_whole_gradient(c, l, i));
        }
    }
    return DL_OK;
}

dl_status dl_collect_sums(dl_compile *c, const dl_lowering *l) {
    const bool parts = l->instruction.n_parts > 0;
    for (int i = 0; i < l->info->n_slots; i++) {
        if (parts && l->is_parameter_gradient[i]) {
            DL_RETURN_IF_ERROR(collect_gradient(c, l, i));
        } else if (l->unpacked[i] >= 0) {
            DL_RETURN_IF_ERROR(unpack(c, l, l->instruction.slot[i], l->unpacked[i], 0));
        }
    }
    return parts && l->statistic >= 0 ? collect_statistic(c, l) : DL_OK;
}

/* --- gradients that nobody computes --- */

/* Zeros for one gradient, unless something was written there. */
static dl_status zero_gradient(dl_compile *c, int row, int block, int layer, int micro) {
    int slot = -1;
    if (c->gradient_written[row * c->plan->n_blocks + block]++ > 0) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_gradient_slot(c, row, block, &slot));
    return dl_add_operation(c->program, DL_OP_FILL_ZERO, &(dl_op_attr){0}, DL_PHASE_BACKWARD, layer, micro,
                            &slot, 1, NULL);
}

dl_status dl_zero_other_blocks(dl_compile *c, const dl_lowering *l, const int *rows, int first_block) {
    for (int i = 0; i < l->info->n_slots; i++) {
        for (int block = first_block; block < c->plan->n_blocks && rows[i] >= 0; block++) {
            DL_RETURN_IF_ERROR(zero_gradient(c, rows[i], block, l->instruction.layer, l->instruction.micro));
        }
    }
    return DL_OK;
}

dl_status dl_zero_missing_gradients(dl_compile *c) {
    const dl_parameter_table *table = &c->model->table;
    for (int row = 0; row < table->n && table->parameter[row].trainable; row++) {
        for (int block = 0; block < c->plan->n_blocks; block++) {
            DL_RETURN_IF_ERROR(zero_gradient(c, row, block, table->parameter[row].layer_index, -1));
        }
    }
    return DL_OK;
}
