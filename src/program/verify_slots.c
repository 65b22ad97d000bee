/* The checker's view of slots: places, values, faults that show without walking the list. */
#include "program/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

dl_status dl_verify_fault(const dl_program *program, int at, int slot, const char *format, ...) {
    char text[512], name[64] = "", place[160] = "";
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (at >= 0) {
        (void)snprintf(place, sizeof place, ", instruction %d (%s)", at,
                       dl_instruction_name(&program->instruction[at], name));
    }
    DL_RETURN_ERROR(DL_ERR_INTERNAL, "%s program%s%s%s%s: %s", dl_program_kind_name(program->kind), place,
                    slot >= 0 ? ", slot '" : "", slot >= 0 ? program->slot[slot].name : "",
                    slot >= 0 ? "'" : "", text);
}

static dl_status check_view(const dl_program *program, int slot) {
    const dl_slot *view = &program->slot[slot];
    if (view->view_of < 0) {
        return DL_OK;
    }
    if (view->view_of >= program->n_slots || program->slot[view->view_of].storage != view->storage) {
        return dl_verify_fault(program, -1, slot, "is a view of slot %d, which is not of its storage",
                               view->view_of);
    }
    const dl_dtype dtype = program->slot[view->view_of].tensor.dtype;
    if (view->storage == DL_STORE_ACTIVATION && view->tensor.dtype != dtype &&
        dl_dtype_bytes(view->tensor.dtype) != dl_dtype_bytes(dtype)) {
        return dl_verify_fault(program, -1, slot, "is %s, a view of '%s', which is %s",
                               dl_dtype_name(view->tensor.dtype), program->slot[view->view_of].name,
                               dl_dtype_name(dtype));
    }
    const size_t have = program->slot[view->view_of].n_bytes;
    if (view->n_bytes > have || view->view_offset > have - view->n_bytes) {
        return dl_verify_fault(program, -1, slot, "is a view of bytes %zu..%zu of '%s', which has %zu",
                               view->view_offset, view->view_offset + view->n_bytes,
                               program->slot[view->view_of].name, have);
    }
    return DL_OK;
}

static dl_status locate(const dl_program *program, int slot, dl_location *out) {
    size_t offset = 0;
    int root = slot;
    for (int steps = 0; program->slot[root].view_of >= 0; steps++) {
        if (steps > program->n_slots) {
            return dl_verify_fault(program, -1, slot, "is a view of itself");
        }
        DL_RETURN_IF_ERROR(check_view(program, root));
        offset += program->slot[root].view_offset;
        root = program->slot[root].view_of;
    }
    const dl_slot *memory = &program->slot[root];
    if (memory->offset > SIZE_MAX / 4 || memory->n_bytes > SIZE_MAX / 4) {
        return dl_verify_fault(program, -1, slot, "%zu bytes at %zu are not a place", memory->n_bytes,
                               memory->offset);
    }
    *out = (dl_location){.begin = memory->offset + offset,
                         .end = memory->offset + offset + program->slot[slot].n_bytes,
                         .value = slot};
    return DL_OK;
}

/* Does output `s` of the instruction take the place of the input that its kind allows? */
static bool is_in_place(const dl_verifier *v, const dl_instruction *instruction, int s) {
    const dl_slot_info *info = &dl_op_info_of(instruction->kind)->slots[s];
    const int out = instruction->slot[s];
    const int in = info->in_place_of >= 0 ? instruction->slot[info->in_place_of] : -1;
    return out >= 0 && in >= 0 && in != out &&
           v->program->slot[in].storage == v->program->slot[out].storage &&
           v->location[in].begin == v->location[out].begin && v->location[in].end == v->location[out].end;
}

static dl_status check_numbers(const dl_program *program, int at) {
    const dl_instruction *instruction = &program->instruction[at];
    for (int s = 0; s <= DL_OP_MAX_SLOTS; s++) {
        const int slot = instruction->slot[s];
        const bool known = s == DL_OP_MAX_SLOTS || instruction->type != DL_DO_OPERATION ||
                           s < dl_op_info_of(instruction->kind)->n_slots;
        if (slot >= program->n_slots || (slot >= 0 && !known) || (slot < 0 && s == 0)) {
            return dl_verify_fault(program, at, -1, "number %d has slot %d of %d", s, slot, program->n_slots);
        }
    }
    return DL_OK;
}

/* A view means the value of what it views, up to the output that took its input's place. */
static dl_status find_values(dl_verifier *v) {
    const dl_program *program = v->program;
    bool *begins = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_slots, sizeof *begins, &begins));
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        const bool operation = instruction->type == DL_DO_OPERATION;
        for (int s = 0; operation && s < dl_op_info_of(instruction->kind)->n_slots; s++) {
            if (is_in_place(v, instruction, s)) {
                begins[instruction->slot[s]] = true;
            }
        }
    }
    for (int s = 0; s < program->n_slots; s++) {
        int value = s;
        while (!begins[value] && program->slot[value].view_of >= 0) {
            value = program->slot[value].view_of;
        }
        v->location[s].value = value;
    }
    dl_free(&begins);
    return DL_OK;
}

static bool is_placed(dl_storage storage) {
    return storage == DL_STORE_ACTIVATION || storage == DL_STORE_WORKSPACE || storage == DL_STORE_INPUT;
}

static dl_status check_used(const dl_verifier *v, int at, int slot) {
    const dl_slot *used = &v->program->slot[slot];
    const size_t have = v->program->placed_bytes[used->storage];
    if (is_placed(used->storage) && v->location[slot].end > have) {
        return dl_verify_fault(v->program, at, slot, "ends at byte %zu of %s, which has %zu",
                               v->location[slot].end, dl_storage_name(used->storage), have);
    }
    return DL_OK;
}

/* --- parameters --- */

typedef struct span {
    const dl_slot *slot;
    size_t begin, end;
} span;

static int by_place(const void *left, const void *right) {
    const span *a = left, *b = right;
    if (a->slot->storage != b->slot->storage) {
        return a->slot->storage < b->slot->storage ? -1 : 1;
    }
    if (a->begin != b->begin) {
        return a->begin < b->begin ? -1 : 1;
    }
    return a->end < b->end ? -1 : a->end > b->end;
}

static bool is_arena(dl_storage storage) {
    return storage == DL_STORE_PARAMETER || storage == DL_STORE_FROZEN || storage == DL_STORE_GRADIENT ||
           storage == DL_STORE_COPY;
}

static bool one_tensor(const span *a, const span *b) {
    return a->slot->parameter == b->slot->parameter && a->begin == b->begin && a->end == b->end &&
           a->slot->tensor.layout == b->slot->tensor.layout && a->slot->tensor.dtype == b->slot->tensor.dtype;
}

/* Slots of parameters are whole tensors: two of them are in one place, or apart. */
static dl_status check_tensors(const dl_verifier *v) {
    const dl_program *program = v->program;
    span *spans = NULL;
    int n = 0;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_slots, sizeof *spans, &spans));
    for (int s = 0; s < program->n_slots; s++) {
        const dl_slot *slot = &program->slot[s];
        if (is_arena(slot->storage) && slot->parameter >= 0 && slot->n_bytes > 0) {
            spans[n++] = (span){slot, v->location[s].begin, v->location[s].end};
        }
    }
    qsort(spans, (size_t)n, sizeof *spans, by_place);
    dl_status status = DL_OK;
    for (int i = 1; i < n && status == DL_OK; i++) {
        if (spans[i].slot->storage == spans[i - 1].slot->storage && spans[i].begin < spans[i - 1].end &&
            !one_tensor(&spans[i], &spans[i - 1])) {
            status = dl_verify_fault(program, -1, (int)(spans[i].slot - program->slot), "overlaps '%s' in %s",
                                     spans[i - 1].slot->name, dl_storage_name(spans[i].slot->storage));
        }
    }
    dl_free(&spans);
    return status;
}

dl_status dl_verify_slots(dl_verifier *v) {
    const dl_program *program = v->program;
    for (int s = 0; s < program->n_slots; s++) {
        DL_RETURN_IF_ERROR(locate(program, s, &v->location[s]));
    }
    for (int i = 0; i < program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(check_numbers(program, i));
        for (int s = 0; s <= DL_OP_MAX_SLOTS; s++) {
            if (program->instruction[i].slot[s] >= 0) {
                DL_RETURN_IF_ERROR(check_used(v, i, program->instruction[i].slot[s]));
            }
        }
    }
    DL_RETURN_IF_ERROR(find_values(v));
    return check_tensors(v);
}
