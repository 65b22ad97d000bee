/* Order between lanes: where an instruction touches memory that another lane touched before, one of the two
 * writing, the earlier one records an event and the later one waits for it. Within a lane the list is the
 * order. */
#include "program/compile.h"

#include <string.h>

/* Do two slots share bytes? Storages placed by liveness are compared by owner (their addresses come later,
 * and only the compute lane touches them); the others by place. */
static bool overlap(const dl_program *program, int a, int b) {
    const int root_a = dl_root_slot(program, a), root_b = dl_root_slot(program, b);
    if (root_a == root_b) {
        return true;
    }
    const dl_slot *x = &program->slot[root_a], *y = &program->slot[root_b];
    if (x->storage != y->storage || x->storage == DL_STORE_ACTIVATION || x->storage == DL_STORE_WORKSPACE ||
        x->storage == DL_STORE_INPUT) {
        return false;
    }
    return x->offset < y->offset + y->n_bytes && y->offset < x->offset + x->n_bytes;
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

/* Makes `later` wait for the last conflicting instruction of each other lane. */
static dl_status order_one(dl_program *program, int later, int waited[DL_N_LANES][DL_N_LANES]) {
    dl_instruction *instruction = &program->instruction[later];
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        if (lane == (int)instruction->lane) {
            continue;
        }
        for (int i = later - 1; i > waited[instruction->lane][lane]; i--) {
            dl_instruction *earlier = &program->instruction[i];
            if ((int)earlier->lane != lane || !conflict(program, earlier, instruction)) {
                continue;
            }
            if (earlier->records < 0) {
                earlier->records = program->n_events++;
            }
            DL_RETURN_ERROR_IF(instruction->n_waits >= DL_MAX_WAITS, DL_ERR_INTERNAL,
                               "instruction %d waits for too much", later);
            instruction->waits[instruction->n_waits++] = earlier->records;
            waited[instruction->lane][lane] = i;
            break;
        }
    }
    return DL_OK;
}

dl_status dl_order_lanes(dl_program *program) {
    int waited[DL_N_LANES][DL_N_LANES];
    memset(waited, -1, sizeof waited);
    for (int i = 0; i < program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(order_one(program, i, waited));
    }
    return DL_OK;
}
