/* Order between lanes: where an instruction touches bytes that another lane touched before, one of the two
 * writing, the earlier one records an event and the later one waits for it. Within a lane the list is the
 * order. What is ordered already, by way of other waits, is not waited for again: vector clocks tell (Fidge,
 * 1988; Mattern, 1989). So no wait and no event can be left out. */
#include "program/compile.h"

#include <string.h>

/* While the list is walked: for each instruction the last one of each lane that is done before it starts, or
 * that is itself; and the last one of each lane. */
typedef struct clocks {
    int (*seen)[DL_N_LANES];
    int last[DL_N_LANES];
} clocks;

/* Bytes of a slot in its storage, which have been given out by now. */
static void bytes_of(const dl_program *program, int slot, size_t *begin, size_t *end) {
    const size_t n_bytes = program->slot[slot].n_bytes;
    *begin = 0;
    while (program->slot[slot].view_of >= 0) {
        *begin += program->slot[slot].view_offset;
        slot = program->slot[slot].view_of;
    }
    *begin += program->slot[slot].offset;
    *end = *begin + n_bytes;
}

static bool overlap(const dl_program *program, int a, int b) {
    size_t begin_a, end_a, begin_b, end_b;
    if (program->slot[a].storage != program->slot[b].storage) {
        return false;
    }
    bytes_of(program, a, &begin_a, &end_a);
    bytes_of(program, b, &begin_b, &end_b);
    return begin_a < end_b && begin_b < end_a;
}

static bool writes(const dl_instruction *instruction, int s) {
    if (instruction->type != DL_DO_OPERATION) {
        return true; /* loads and reductions write all their slots */
    }
    return s == DL_OP_MAX_SLOTS || dl_op_info_of(instruction->kind)->slots[s].role != DL_SLOT_IN;
}

static bool conflict(const dl_program *program, const dl_instruction *a, const dl_instruction *b) {
    for (int i = 0; i <= DL_OP_MAX_SLOTS; i++) {
        for (int j = 0; j <= DL_OP_MAX_SLOTS && a->slot[i] >= 0; j++) {
            if (b->slot[j] >= 0 && (writes(a, i) || writes(b, j)) &&
                overlap(program, a->slot[i], b->slot[j])) {
                return true;
            }
        }
    }
    return false;
}

/* The last instruction of `lane` before `later` that conflicts with it and is not known to be done; -1: none.
 */
static int last_conflict(const dl_program *program, const clocks *c, int later, dl_lane lane) {
    for (int i = later - 1; i > c->seen[later][lane]; i--) {
        const dl_instruction *earlier = &program->instruction[i];
        if (earlier->lane == lane && conflict(program, earlier, &program->instruction[later])) {
            return i;
        }
    }
    return -1;
}

/* Is instruction `at` done whenever one of the others is? */
static bool is_implied(const clocks *c, int at, dl_lane lane, const int others[DL_N_LANES]) {
    for (int other = 0; other < DL_N_LANES; other++) {
        if (other != (int)lane && others[other] >= 0 && c->seen[others[other]][lane] >= at) {
            return true;
        }
    }
    return false;
}

static dl_status add_wait(dl_program *program, clocks *c, int later, int earlier) {
    dl_instruction *instruction = &program->instruction[later];
    int *event = &program->instruction[earlier].records;
    DL_RETURN_ERROR_IF(instruction->n_waits >= DL_MAX_WAITS, DL_ERR_INTERNAL,
                       "instruction %d waits for too much", later);
    if (*event < 0) {
        *event = program->n_events++;
    }
    instruction->waits[instruction->n_waits++] = *event;
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        const int seen = c->seen[earlier][lane];
        c->seen[later][lane] = seen > c->seen[later][lane] ? seen : c->seen[later][lane];
    }
    return DL_OK;
}

/* Makes `later` wait for the last conflicting instruction of each other lane. */
static dl_status order_one(dl_program *program, clocks *c, int later) {
    const dl_lane own = program->instruction[later].lane;
    int found[DL_N_LANES];
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        c->seen[later][lane] = c->last[own] >= 0 ? c->seen[c->last[own]][lane] : -1;
    }
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        found[lane] = lane == (int)own ? -1 : last_conflict(program, c, later, (dl_lane)lane);
    }
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        if (found[lane] >= 0 && !is_implied(c, found[lane], (dl_lane)lane, found)) {
            DL_RETURN_IF_ERROR(add_wait(program, c, later, found[lane]));
        }
    }
    c->seen[later][own] = c->last[own] = later;
    return DL_OK;
}

dl_status dl_order_lanes(dl_program *program) {
    clocks c = {.seen = NULL};
    memset(c.last, -1, sizeof c.last);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_instructions, sizeof *c.seen, &c.seen));
    dl_status status = DL_OK;
    for (int i = 0; i < program->n_instructions && status == DL_OK; i++) {
        status = order_one(program, &c, i);
    }
    dl_free(&c.seen);
    return status;
}
