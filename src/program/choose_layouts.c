/* Puts layouts and algorithms into a list. */
#include "program/choose_parts.h"

/* The list while layouts are being put in: for each slot, its twin in another layout, -1: none yet. */
typedef struct rewriter {
    dl_compile *c;
    int *twin;
    int64_t capacity;
} rewriter;

/* The slot that holds the value of `slot` in `layout`: itself, or a reordered twin made here. */
static dl_status slot_in_layout(rewriter *r, int slot, const dl_layout *layout, const dl_instruction *reader,
                                int *out) {
    dl_program *program = r->c->program;
    *out = slot;
    if (program->slot[slot].tensor.layout == layout) {
        return DL_OK;
    }
    if (slot < r->capacity && r->twin[slot] >= 0 && program->slot[r->twin[slot]].tensor.layout == layout) {
        *out = r->twin[slot];
        return DL_OK;
    }
    const dl_slot source = program->slot[slot];
    DL_RETURN_IF_ERROR(dl_add_slot(program, source.name, source.layer, source.micro, DL_STORE_ACTIVATION,
                                   source.tensor.dtype, &source.tensor.shape, out));
    program->slot[*out].tensor.layout = layout;
    if (layout != NULL) {
        program->slot[*out].n_bytes = layout->n_bytes;
    }
    if (slot < r->capacity) {
        r->twin[slot] = *out;
    }
    const int slots[] = {slot, *out};
    return dl_add_operation(program, DL_OP_REORDER, &(dl_op_attr){0}, reader->phase, reader->layer,
                            reader->micro, slots, 2, NULL);
}

/* The slot to read for `slot` when plain bytes are wanted: views look through to a plain twin of what they
 * view. */
static dl_status plain_slot(rewriter *r, int slot, const dl_instruction *reader, int *out) {
    dl_program *program = r->c->program;
    const int source = program->slot[slot].view_of;
    if (source < 0) {
        return slot_in_layout(r, slot, NULL, reader, out);
    }
    int plain = -1;
    DL_RETURN_IF_ERROR(plain_slot(r, source, reader, &plain));
    program->slot[slot].view_of = plain;
    *out = slot;
    return DL_OK;
}

/* What works element by element takes the layout its inputs come in: gradients pass through in theirs. Where
 * one comes plain and another not, as at the sum behind a shortcut that was padded, the plain one is
 * reordered: else all that follows would be plain, with a reorder before each convolution. */
static const dl_layout *inputs_layout(const dl_program *program, const dl_instruction *instruction) {
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    const dl_layout *found = NULL;
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].role == DL_SLOT_IN && dl_is_free_image(program, instruction, i)) {
            const dl_layout *layout = program->slot[instruction->slot[i]].tensor.layout;
            found = layout != NULL ? layout : found;
        }
    }
    return found;
}

/* Layout in which an instruction wants its slot s. */
static const dl_layout *wanted_layout(const rewriter *r, const dl_instruction *instruction, int s) {
    const dl_program *program = r->c->program;
    const int pass = dl_choice_pass(instruction);
    if (!dl_is_free_image(program, instruction, s) || instruction->layer < 0) {
        return NULL;
    }
    if (pass == DL_PASS_ELEMENTWISE) {
        return inputs_layout(program, instruction);
    }
    const bool blocked = r->c->plan->choices->layer[instruction->layer].blocked;
    return blocked ? dl_own_layout(r->c->plan->options.device, &program->slot[instruction->slot[s]]) : NULL;
}

static void set_layout(dl_slot *slot, const dl_layout *layout) {
    slot->tensor.layout = layout;
    if (layout != NULL) {
        slot->n_bytes = layout->n_bytes;
    }
}

static dl_status rewrite(rewriter *r, dl_instruction instruction) {
    dl_program *program = r->c->program;
    if (instruction.type != DL_DO_OPERATION) {
        return dl_add_instruction(program, &instruction);
    }
    const dl_op_info *info = dl_op_info_of(instruction.kind);
    const int pass = dl_choice_pass(&instruction);
    const dl_layout *wanted[DL_OP_MAX_SLOTS] = {0};
    for (int s = 0; s < info->n_slots; s++) {
        wanted[s] = instruction.slot[s] >= 0 && pass >= 0 ? wanted_layout(r, &instruction, s) : NULL;
    }
    for (int s = 0; s < info->n_slots; s++) {
        if (instruction.slot[s] < 0 || program->slot[instruction.slot[s]].storage != DL_STORE_ACTIVATION) {
            continue;
        }
        if (info->slots[s].role != DL_SLOT_IN) {
            set_layout(&program->slot[instruction.slot[s]], wanted[s]);
        } else if (info->slots[s].saved) {
            continue;
        } else if (wanted[s] == NULL) {
            DL_RETURN_IF_ERROR(plain_slot(r, instruction.slot[s], &instruction, &instruction.slot[s]));
        } else {
            DL_RETURN_IF_ERROR(
                slot_in_layout(r, instruction.slot[s], wanted[s], &instruction, &instruction.slot[s]));
        }
    }
    if (pass >= 0 && pass < DL_N_CHOICE_KINDS && instruction.layer >= 0) {
        const dl_layer_choice *choice = &r->c->plan->choices->layer[instruction.layer];
        const dl_op_desc desc = dl_precise_desc(r->c, &instruction);
        instruction.algorithm = choice->algorithm[choice->blocked][pass];
        if (instruction.algorithm < 0 ||
            dl_device_algorithm_name(r->c->plan->options.device, &desc, instruction.algorithm) == NULL) {
            instruction.algorithm = 0; /* not offered for this number of samples */
        }
    }
    return dl_add_instruction(program, &instruction);
}

dl_status dl_apply_layouts(dl_compile *c) {
    dl_program *program = c->program;
    dl_instruction *before = program->instruction;
    const int n = program->n_instructions;
    int *moved = NULL;
    rewriter r = {.c = c, .capacity = program->n_slots};
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *moved, &moved));
    dl_status status = dl_alloc((size_t)program->n_slots, sizeof *r.twin, &r.twin);
    for (int s = 0; s < program->n_slots && status == DL_OK; s++) {
        r.twin[s] = -1;
    }
    program->instruction = NULL;
    program->n_instructions = 0;
    program->capacity_instructions = 0;
    for (int i = 0; i < n && status == DL_OK; i++) {
        before[i].forward = before[i].forward >= 0 ? moved[before[i].forward] : -1;
        status = rewrite(&r, before[i]);
        moved[i] = program->n_instructions - 1;
    }
    dl_free(&before);
    dl_free(&moved);
    dl_free(&r.twin);
    return status;
}
