/* Lifetimes and offsets. A value placed by liveness lives from the instruction that writes it first to the
 * one that reads it last; two values may share bytes when their lives do not meet. Placement is greedy: the
 * largest first, each at the lowest free offset (the "greedy by size" of Pisarchyk and Lee,
 * arXiv:2001.03288). */
#include "program/compile.h"

#include <stdlib.h>
#include <string.h>

static void live_at(dl_slot *slot, int at) {
    if (slot->first < 0) {
        slot->first = at;
    }
    slot->last = at;
}

static void find_lives(dl_program *program) {
    for (int s = 0; s < program->n_slots; s++) {
        program->slot[s].first = program->slot[s].last = -1;
    }
    for (int i = 0; i < program->n_instructions; i++) {
        for (int s = 0; s <= DL_OP_MAX_SLOTS; s++) {
            const int slot = program->instruction[i].slot[s];
            if (slot >= 0) {
                live_at(&program->slot[slot], i);
                live_at(&program->slot[dl_root_slot(program, slot)], i);
            }
        }
    }
}

/* Does one slot alone of the instruction name what lies at `root`? */
static bool is_named_once(const dl_program *program, const dl_instruction *instruction, int root) {
    int n = 0;
    for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
        n += instruction->slot[s] >= 0 && dl_root_slot(program, instruction->slot[s]) == root;
    }
    return n == 1;
}

/* Lets an output take the memory of an input that dies in the same instruction, where the kind allows it. */
static void rewrite_in_place(dl_program *program, int at) {
    dl_instruction *instruction = &program->instruction[at];
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    for (int s = 0; s < info->n_slots; s++) {
        const int from = info->slots[s].in_place_of, out = instruction->slot[s];
        const int in = from >= 0 ? instruction->slot[from] : -1;
        if (in < 0 || out < 0 || in == out || program->slot[out].view_of >= 0) {
            continue;
        }
        const dl_slot *source = &program->slot[dl_root_slot(program, in)];
        dl_slot *target = &program->slot[out];
        if (source->storage == DL_STORE_ACTIVATION && target->storage == DL_STORE_ACTIVATION &&
            source->last == at && target->first == at &&
            is_named_once(program, instruction, dl_root_slot(program, in)) &&
            program->slot[in].n_bytes == source->n_bytes && target->n_bytes == source->n_bytes &&
            program->slot[in].tensor.layout == target->tensor.layout) {
            target->view_of = dl_root_slot(program, in);
            target->view_offset = 0;
            find_lives(program);
        }
    }
}

typedef struct candidate {
    dl_slot *slot;
    int number;
} candidate;

static int larger_first(const void *left, const void *right) {
    const candidate *a = left, *b = right;
    if (a->slot->n_bytes != b->slot->n_bytes) {
        return a->slot->n_bytes > b->slot->n_bytes ? -1 : 1;
    }
    return a->number < b->number ? -1 : 1;
}

/* The lowest offset at which `slot` meets none of the first n placed ones that live at the same time. */
static size_t lowest_offset(const candidate *placed, int n, const dl_slot *slot, size_t align) {
    size_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < n; i++) {
            const dl_slot *other = placed[i].slot;
            const bool together = other->first <= slot->last && slot->first <= other->last;
            if (together && offset < other->offset + other->n_bytes &&
                other->offset < offset + slot->n_bytes) {
                offset = dl_round_up(other->offset + other->n_bytes, align);
                moved = true;
            }
        }
    }
    return offset;
}

static dl_status place_storage(dl_program *program, dl_storage storage, bool share, size_t align) {
    candidate *order = NULL;
    int n = 0;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_slots, sizeof *order, &order));
    for (int s = 0; s < program->n_slots; s++) {
        dl_slot *slot = &program->slot[s];
        if (slot->storage == storage && slot->view_of < 0 && slot->first >= 0) {
            order[n++] = (candidate){slot, s};
        }
    }
    qsort(order, (size_t)n, sizeof *order, larger_first);
    size_t end = 0;
    for (int i = 0; i < n; i++) {
        order[i].slot->offset =
            share ? lowest_offset(order, i, order[i].slot, align) : dl_round_up(end, align);
        const size_t slot_end = order[i].slot->offset + order[i].slot->n_bytes;
        end = slot_end > end ? slot_end : end;
    }
    program->placed_bytes[storage] = dl_round_up(end, align);
    dl_free(&order);
    return DL_OK;
}

dl_status dl_place_slots(dl_program *program, bool strict) {
    const size_t align = strict ? DL_PAGE_BYTES : DL_CACHE_LINE;
    find_lives(program);
    for (int i = 0; i < program->n_instructions && !strict; i++) {
        if (program->instruction[i].type == DL_DO_OPERATION) {
            rewrite_in_place(program, i);
        }
    }
    DL_RETURN_IF_ERROR(place_storage(program, DL_STORE_ACTIVATION, !strict, align));
    DL_RETURN_IF_ERROR(place_storage(program, DL_STORE_WORKSPACE, !strict, align));
    return place_storage(program, DL_STORE_INPUT, false, align);
}
