/* Precision: which values of a program are 16-bit floats, and the casts between them and float32.
 *
 * The description of a kind says which of its slots may be 16 bits: activations, their gradients, the weights
 * of products. A value is one where it is written into such a slot. Parameters, their gradients, statistics,
 * losses and all that ranks add stay float32. Where an instruction wants a value in the other type it reads a
 * twin of it, made by one cast for all who read it. Mixed precision as in Micikevicius et al.,
 * arXiv:1710.03740. */
#include "program/compile.h"

#include "kernels/common/half.h"

/* The list while casts are being put in. */
typedef struct narrower {
    dl_compile *c;
    dl_dtype half;
    int n;     /* slots before */
    int *twin; /* [n] the same value in the other type, -1: none yet */
    int *now;  /* [n] the slot that has the value from here on: another one behind an exchange */
} narrower;

static bool is_half_slot(const dl_program *program, int slot) {
    return dl_dtype_is_half(program->slot[slot].tensor.dtype);
}

/* --- which values --- */

static void set_dtype(dl_slot *slot, dl_dtype dtype) {
    const size_t before = dl_dtype_bytes(slot->tensor.dtype), after = dl_dtype_bytes(dtype);
    slot->tensor.dtype = dtype;
    slot->n_bytes = slot->n_bytes / before * after;
    slot->view_offset = slot->view_offset / before * after;
}

/* Looks at who writes activations: written[root] 1: into slots that may be 16 bits, 2: into others too. */
static void find_writers(const dl_program *program, char *written) {
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->type != DL_DO_OPERATION) {
            continue;
        }
        const dl_op_info *info = dl_op_info_of(instruction->kind);
        for (int s = 0; s < info->n_slots; s++) {
            if (instruction->slot[s] >= 0 && info->slots[s].role != DL_SLOT_IN) {
                char *root = &written[dl_root_slot(program, instruction->slot[s])];
                *root = info->slots[s].half && *root < 2 ? 1 : 2;
            }
        }
    }
}

static dl_status narrow_values(const narrower *n) {
    dl_program *program = n->c->program;
    char *written = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_slots, 1, &written));
    find_writers(program, written);
    for (int s = 0; s < program->n_slots; s++) {
        dl_slot *slot = &program->slot[s];
        if (slot->storage == DL_STORE_ACTIVATION && slot->tensor.dtype == DL_F32 &&
            written[dl_root_slot(program, s)] == 1) {
            set_dtype(slot, n->half);
        }
    }
    dl_free(&written);
    return DL_OK;
}

/* --- casts --- */

static dl_status add_cast(narrower *n, int from, dl_dtype dtype, const dl_instruction *user, int *out) {
    dl_program *program = n->c->program;
    const dl_slot source = program->slot[from];
    DL_RETURN_IF_ERROR(dl_add_slot(program, source.name, source.layer, source.micro, DL_STORE_ACTIVATION,
                                   dtype, &source.tensor.shape, out));
    const int slots[] = {from, *out};
    return dl_add_operation(program, DL_OP_CAST, &(dl_op_attr){0}, user->phase, user->layer, user->micro,
                            slots, 2, NULL);
}

/* The slot to read for `slot` in `dtype`: itself, or its twin. */
static dl_status read_as(narrower *n, int slot, dl_dtype dtype, const dl_instruction *reader, int *out) {
    *out = n->now[slot];
    if (n->c->program->slot[*out].tensor.dtype == dtype) {
        return DL_OK;
    }
    if (n->twin[slot] < 0) {
        DL_RETURN_IF_ERROR(add_cast(n, *out, dtype, reader, &n->twin[slot]));
    }
    *out = n->twin[slot];
    return DL_OK;
}

/* May slots of the instruction be 16 bits, and is one of them? Then all of them are. */
static bool runs_in_half(const narrower *n, const dl_instruction *instruction) {
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    for (int s = 0; s < info->n_slots; s++) {
        if (instruction->slot[s] >= 0 && info->slots[s].half &&
            is_half_slot(n->c->program, n->now[instruction->slot[s]])) {
            return true;
        }
    }
    return false;
}

static bool is_float(const dl_program *program, int slot) {
    return program->slot[slot].tensor.dtype == DL_F32 || is_half_slot(program, slot);
}

static dl_status cast_operation(narrower *n, dl_instruction instruction) {
    dl_program *program = n->c->program;
    const dl_op_info *info = dl_op_info_of(instruction.kind);
    const bool half = runs_in_half(n, &instruction);
    for (int s = 0; s < info->n_slots; s++) {
        const int slot = instruction.slot[s];
        if (slot < 0 || program->slot[slot].parameter >= 0) {
            continue; /* weights are cast by their packs (lower.c) */
        }
        if (info->slots[s].role != DL_SLOT_IN || !is_float(program, slot)) {
            instruction.slot[s] = n->now[slot];
            continue;
        }
        const dl_dtype wanted = half && info->slots[s].half ? n->half : DL_F32;
        DL_RETURN_IF_ERROR(read_as(n, slot, wanted, &instruction, &instruction.slot[s]));
    }
    return dl_add_instruction(program, &instruction);
}

/* Ranks add float32: their parts are cast, and the sum is cast back. */
static dl_status cast_exchange(narrower *n, dl_instruction reduce) {
    dl_program *program = n->c->program;
    const int slot = reduce.slot[0];
    if (!is_half_slot(program, slot)) {
        return dl_add_instruction(program, &reduce);
    }
    DL_RETURN_IF_ERROR(add_cast(n, slot, DL_F32, &reduce, &reduce.slot[0]));
    program->slot[reduce.slot[0]].partial = program->slot[slot].partial;
    program->slot[slot].partial = false;
    DL_RETURN_IF_ERROR(dl_add_instruction(program, &reduce));
    DL_RETURN_IF_ERROR(add_cast(n, reduce.slot[0], n->half, &reduce, &n->now[slot]));
    n->twin[slot] = reduce.slot[0];
    for (int s = 0; s < n->n; s++) {
        if (program->slot[s].view_of == slot) {
            program->slot[s].view_of = n->now[slot];
        }
    }
    return DL_OK;
}

/* What is carried to the next step is kept in float32. */
static dl_status cast_carries(narrower *n) {
    for (int i = 0; i < n->c->n_carries; i++) {
        const int next = n->c->carry[i].next;
        const dl_instruction end = {
            .phase = DL_PHASE_FORWARD, .layer = -1, .micro = n->c->program->slot[next].micro};
        DL_RETURN_IF_ERROR(read_as(n, next, DL_F32, &end, &n->c->carry[i].next));
    }
    return DL_OK;
}

static dl_status cast_all(narrower *n, dl_instruction *before, int n_before, int *moved) {
    dl_program *program = n->c->program;
    for (int i = 0; i < n_before; i++) {
        before[i].forward = before[i].forward >= 0 ? moved[before[i].forward] : -1;
        switch (before[i].type) {
        case DL_DO_OPERATION:
            DL_RETURN_IF_ERROR(cast_operation(n, before[i]));
            break;
        case DL_DO_ALL_REDUCE:
            DL_RETURN_IF_ERROR(cast_exchange(n, before[i]));
            break;
        default:
            DL_RETURN_IF_ERROR(dl_add_instruction(program, &before[i]));
        }
        moved[i] = program->n_instructions - 1;
    }
    return cast_carries(n);
}

static dl_status rewrite(narrower *n) {
    dl_program *program = n->c->program;
    dl_instruction *before = program->instruction;
    const int n_before = program->n_instructions;
    int *moved = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_before, sizeof *moved, &moved));
    program->instruction = NULL;
    program->n_instructions = 0;
    program->capacity_instructions = 0;
    const dl_status status = cast_all(n, before, n_before, moved);
    dl_free(&before);
    dl_free(&moved);
    return status;
}

dl_status dl_choose_precision(dl_compile *c) {
    narrower n = {.c = c, .half = c->plan->options.half, .n = c->program->n_slots};
    if (!dl_dtype_is_half(n.half)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n.n, sizeof *n.twin, &n.twin));
    dl_status status = dl_alloc((size_t)n.n, sizeof *n.now, &n.now);
    for (int s = 0; s < n.n && status == DL_OK; s++) {
        n.twin[s] = -1;
        n.now[s] = s;
    }
    if (status == DL_OK) {
        status = narrow_values(&n);
    }
    if (status == DL_OK) {
        status = rewrite(&n);
    }
    dl_free(&n.twin);
    dl_free(&n.now);
    return status;
}

/* --- weights --- */

bool dl_is_parameter(const dl_slot *slot) {
    return slot->storage == DL_STORE_PARAMETER || slot->storage == DL_STORE_FROZEN ||
           (slot->storage == DL_STORE_STATE && slot->parameter >= 0);
}

dl_op_desc dl_precise_desc(const dl_compile *c, const dl_instruction *instruction) {
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    dl_op_desc desc = dl_instruction_desc(c->program, instruction);
    for (int s = 0; s < info->n_slots && dl_dtype_is_half(c->plan->options.half); s++) {
        if (desc.slot[s].present && info->slots[s].half &&
            dl_is_parameter(&c->program->slot[instruction->slot[s]])) {
            desc.slot[s].dtype = c->plan->options.half;
        }
    }
    return desc;
}
