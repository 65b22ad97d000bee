/* What one instruction touches. */
#include "program/verify.h"

/* The part of a slot that part p of an instruction works on, as the executor gives it out. */
static void cut(const dl_program *program, const dl_instruction *instruction, int p, dl_touch *touch) {
    const dl_slot *slot = &program->slot[touch->slot];
    const bool workspace = touch->number == DL_OP_MAX_SLOTS;
    const dl_slot_info *info = workspace ? NULL : &dl_op_info_of(instruction->kind)->slots[touch->number];
    if (!workspace && info->batched) {
        const size_t row = slot->n_bytes / (size_t)slot->tensor.shape.dim[0];
        const dl_range samples = instruction->part[p].samples;
        touch->end = touch->begin + row * (size_t)samples.end;
        touch->begin += row * (size_t)samples.begin;
    } else if (workspace || info->role == DL_SLOT_OUT) {
        const size_t each = slot->n_bytes / (size_t)instruction->n_parts;
        touch->begin += each * (size_t)p;
        touch->end = touch->begin + each;
    }
}

static dl_touch whole(const dl_verifier *v, const dl_instruction *instruction, int s) {
    const int slot = instruction->slot[s];
    dl_touch touch = {.slot = slot,
                      .number = s,
                      .begin = v->location[slot].begin,
                      .end = v->location[slot].end,
                      .op = instruction->op};
    if (instruction->type == DL_DO_ALL_REDUCE) {
        touch.reads = touch.writes = true;
    } else if (instruction->type == DL_DO_LOAD || s == DL_OP_MAX_SLOTS) {
        touch.writes = true;
    } else {
        const dl_slot_role role = dl_op_info_of(instruction->kind)->slots[s].role;
        touch.writes = role != DL_SLOT_IN;
        touch.reads = role != DL_SLOT_OUT || instruction->attr.accumulate;
    }
    return touch;
}

static bool overlap(const dl_verifier *v, const dl_touch *a, const dl_touch *b) {
    const dl_slot *slots = v->program->slot;
    return slots[a->slot].storage == slots[b->slot].storage && a->begin < b->end && b->begin < a->end;
}

static bool in_place(const dl_verifier *v, const dl_instruction *instruction, const dl_touch *in,
                     const dl_touch *out) {
    if (instruction->type != DL_DO_OPERATION || in->number >= DL_OP_MAX_SLOTS ||
        out->number >= DL_OP_MAX_SLOTS) {
        return false;
    }
    const dl_slot *slots = v->program->slot;
    return !in->writes && !out->reads &&
           dl_op_info_of(instruction->kind)->slots[out->number].in_place_of == in->number &&
           in->begin == out->begin && in->end == out->end &&
           slots[in->slot].tensor.layout == slots[out->slot].tensor.layout;
}

static dl_status check_overlaps(const dl_verifier *v, int at, const dl_touch *touches, int n) {
    const dl_instruction *instruction = &v->program->instruction[at];
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) {
            const dl_touch *a = &touches[i], *b = &touches[j];
            if ((a->writes || b->writes) && overlap(v, a, b) && !in_place(v, instruction, a, b) &&
                !in_place(v, instruction, b, a)) {
                return dl_verify_fault(v->program, at, a->slot, "overlaps '%s' of the same instruction",
                                       v->program->slot[b->slot].name);
            }
        }
    }
    return DL_OK;
}

/* An operation finds slots of the size and layout that it was prepared for. */
static dl_status check_size(const dl_verifier *v, int at, const dl_touch *touch, bool part) {
    const size_t have = touch->end - touch->begin;
    if (touch->number == DL_OP_MAX_SLOTS) {
        if (have < touch->op->workspace_bytes) {
            return dl_verify_fault(v->program, at, touch->slot, "has %zu bytes, the operation wants %zu",
                                   have, touch->op->workspace_bytes);
        }
        return DL_OK;
    }
    const dl_dtype dtype = v->program->slot[touch->slot].tensor.dtype;
    if (dtype != touch->op->desc.slot[touch->number].dtype) {
        return dl_verify_fault(v->program, at, touch->slot, "is %s, the operation was prepared for %s",
                               dl_dtype_name(dtype),
                               dl_dtype_name(touch->op->desc.slot[touch->number].dtype));
    }
    const size_t want = dl_op_slot_bytes(touch->op, touch->number);
    if (have != want) {
        return dl_verify_fault(v->program, at, touch->slot, "has %zu bytes, the operation touches %zu", have,
                               want);
    }
    if (!part && v->program->slot[touch->slot].tensor.layout != touch->op->layout[touch->number]) {
        return dl_verify_fault(v->program, at, touch->slot, "is in another layout than the operation wants");
    }
    return DL_OK;
}

static dl_status check_load(const dl_verifier *v, int at) {
    const dl_instruction *load = &v->program->instruction[at];
    const dl_slot *slot = &v->program->slot[load->slot[0]];
    const dl_range samples = load->load_samples;
    if (load->load != DL_LOAD_STEP &&
        (samples.begin < 0 || samples.end > v->program->local_samples || slot->tensor.shape.n_dims < 1 ||
         slot->tensor.shape.dim[0] != samples.end - samples.begin)) {
        return dl_verify_fault(
            v->program, at, load->slot[0], "does not take the samples %lld..%lld of the %lld of this rank",
            (long long)samples.begin, (long long)samples.end, (long long)v->program->local_samples);
    }
    return DL_OK;
}

static dl_status check_prepared(const dl_verifier *v, int at) {
    const dl_instruction *instruction = &v->program->instruction[at];
    const dl_op *op = instruction->op;
    if (op == NULL && (instruction->n_parts < 1 || instruction->n_parts > DL_PIECES)) {
        return dl_verify_fault(v->program, at, -1, "is not prepared");
    }
    for (int p = 0; p < instruction->n_parts && op == NULL; p++) {
        op = instruction->part[p].op;
    }
    if (op != NULL && op->workspace_bytes > 0 && instruction->slot[DL_OP_MAX_SLOTS] < 0) {
        return dl_verify_fault(v->program, at, -1, "has no workspace, the operation wants %zu bytes",
                               op->workspace_bytes);
    }
    return DL_OK;
}

static dl_status touch_parts(const dl_verifier *v, int at, dl_touch *touches, int *n) {
    const dl_instruction *instruction = &v->program->instruction[at];
    const int n_whole = *n;
    dl_touch slots[DL_OP_MAX_SLOTS + 1];
    for (int i = 0; i < n_whole; i++) {
        slots[i] = touches[i];
    }
    *n = 0;
    for (int p = 0; p < instruction->n_parts; p++) {
        for (int i = 0; i < n_whole && instruction->part[p].op != NULL; i++) {
            dl_touch touch = slots[i];
            touch.op = instruction->part[p].op;
            cut(v->program, instruction, p, &touch);
            DL_RETURN_IF_ERROR(check_size(v, at, &touch, true));
            touches[(*n)++] = touch;
        }
    }
    return DL_OK;
}

dl_status dl_verify_touches(const dl_verifier *v, int at, dl_touch *touches, int *n) {
    const dl_instruction *instruction = &v->program->instruction[at];
    *n = 0;
    for (int s = 0; s <= DL_OP_MAX_SLOTS && instruction->type != DL_DO_NOTHING; s++) {
        if (instruction->slot[s] >= 0) {
            touches[(*n)++] = whole(v, instruction, s);
        }
    }
    DL_RETURN_IF_ERROR(check_overlaps(v, at, touches, *n));
    if (instruction->type != DL_DO_OPERATION) {
        return instruction->type == DL_DO_LOAD ? check_load(v, at) : DL_OK;
    }
    DL_RETURN_IF_ERROR(check_prepared(v, at));
    if (instruction->n_parts > 0) {
        return touch_parts(v, at, touches, n);
    }
    for (int i = 0; i < *n; i++) {
        DL_RETURN_IF_ERROR(check_size(v, at, &touches[i], false));
    }
    return DL_OK;
}
