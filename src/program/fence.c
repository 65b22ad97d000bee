#define _GNU_SOURCE
#include "program/fence.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static dl_status protect(void *begin, size_t n_bytes, int access) {
    if (n_bytes == 0) {
        return DL_OK;
    }
    char *first = (char *)begin - ((uintptr_t)begin & (DL_PAGE_BYTES - 1));
    const size_t size = dl_round_up((size_t)((char *)begin - first) + n_bytes, DL_PAGE_BYTES);
    DL_RETURN_ERROR_IF(mprotect(first, size, access) != 0, DL_ERR_INTERNAL,
                       "mprotect of %zu bytes failed: %s", size, strerror(errno));
    return DL_OK;
}

static dl_status protect_all(const dl_plan *plan, int access) {
    for (int s = 0; s < DL_N_STORAGES; s++) {
        if (plan->memory[s] != NULL) {
            DL_RETURN_IF_ERROR(protect(plan->memory[s], plan->bytes[s], access));
        }
    }
    return DL_OK;
}

static bool is_read_only(const dl_instruction *instruction, int s) {
    return instruction->type == DL_DO_OPERATION && s < DL_OP_MAX_SLOTS &&
           dl_op_info_of(instruction->kind)->slots[s].role == DL_SLOT_IN;
}

dl_status dl_fence_close(const dl_plan *plan, const dl_program *program, int at) {
    const dl_instruction *instruction = &program->instruction[at];
    if (instruction->lane == DL_LANE_COMM) {
        return DL_OK; /* collectives touch their buffers when they are waited for */
    }
    DL_RETURN_IF_ERROR(protect_all(plan, PROT_NONE));
    for (int writable = 0; writable < 2; writable++) { /* writable last: slots may share a page */
        for (int s = 0; s <= DL_OP_MAX_SLOTS; s++) {
            const int slot = instruction->slot[s];
            if (slot >= 0 && is_read_only(instruction, s) == !writable) {
                DL_RETURN_IF_ERROR(protect(dl_slot_address(plan, program, slot), program->slot[slot].n_bytes,
                                           writable ? PROT_READ | PROT_WRITE : PROT_READ));
            }
        }
    }
    return DL_OK;
}

dl_status dl_fence_open(const dl_plan *plan, const dl_program *program, int at) {
    DL_RETURN_IF_ERROR(protect_all(plan, PROT_READ | PROT_WRITE));
    for (int s = 0; s < program->n_slots; s++) {
        const dl_slot *slot = &program->slot[s];
        if (slot->view_of < 0 && slot->last == at &&
            (slot->storage == DL_STORE_ACTIVATION || slot->storage == DL_STORE_WORKSPACE)) {
            memset(dl_slot_address(plan, program, s), 0xFF, slot->n_bytes); /* NaN in every float format */
        }
    }
    return DL_OK;
}
