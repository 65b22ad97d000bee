/* Where a NaN or Inf came from: a run that looks at what every instruction wrote. */
#include "base/mem.h"
#include "kernels/common/half.h"
#include "program/execute.h"
#include "program/streams.h"

#include <math.h>

/* Is there a NaN or Inf among n_bytes of this type? */
static bool has_bad(dl_dtype dtype, const void *values, size_t n_bytes) {
    const uint16_t exponent = dtype == DL_BF16 ? 0x7f80 : 0x7c00; /* all bits set: not a number of its own */
    bool bad = false;
    for (size_t i = 0; i < n_bytes / sizeof(float) && dtype == DL_F32 && !bad; i++) {
        bad = !isfinite(((const float *)values)[i]);
    }
    for (size_t i = 0; i < n_bytes / sizeof(uint16_t) && dl_dtype_is_half(dtype) && !bad; i++) {
        bad = (((const uint16_t *)values)[i] & exponent) == exponent;
    }
    return bad;
}

/* The same on the device. */
static dl_status find_bad(const dl_plan *plan, const dl_slot *slot, const void *values, bool *bad) {
    dl_device *device = plan->options.device;
    char *copy = NULL;
    if (device->backend->own_memory) {
        DL_RETURN_IF_ERROR(dl_alloc(slot->n_bytes, 1, &copy));
        const dl_status status = device->backend->download(device, copy, values, slot->n_bytes, NULL);
        if (status != DL_OK) {
            dl_free(&copy);
            return status;
        }
    }
    *bad = has_bad(slot->tensor.dtype, copy != NULL ? copy : values, slot->n_bytes);
    dl_free(&copy);
    return DL_OK;
}

/* Is there one among the floats an instruction wrote? Layouts do not matter: padding is finite. */
static dl_status wrote_bad(const dl_run *r, int at, bool *bad) {
    const dl_instruction *instruction = &r->program->instruction[at];
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    *bad = false;
    for (int i = 0; i < info->n_slots && !*bad; i++) {
        const dl_slot *slot = instruction->slot[i] >= 0 ? &r->program->slot[instruction->slot[i]] : NULL;
        const bool floats =
            slot != NULL && (slot->tensor.dtype == DL_F32 || dl_dtype_is_half(slot->tensor.dtype));
        if (!floats || info->slots[i].role == DL_SLOT_IN) {
            continue;
        }
        DL_RETURN_IF_ERROR(
            find_bad(r->plan, slot, r->program->pointer[(size_t)at * DL_POINTERS + (size_t)i], bad));
    }
    return DL_OK;
}

dl_status dl_execute_until_bad(dl_plan *plan, int program, const dl_host_batch *batch, int *instruction) {
    dl_run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    *instruction = -1;
    for (int i = 0; i < r.program->n_instructions; i++) {
        const dl_instruction *at = &r.program->instruction[i];
        if (at->type == DL_DO_ALL_REDUCE && dl_has_streams(plan)) {
            /* Who waits for it does not wait for an event of the captured step. */
            DL_RETURN_IF_ERROR(dl_streams_record(plan, at));
        }
        if (at->phase >= DL_PHASE_REDUCE || at->type == DL_DO_ALL_REDUCE) {
            continue;
        }
        bool bad = false;
        DL_RETURN_IF_ERROR(dl_run_alone(&r, i));
        if (at->type == DL_DO_OPERATION) {
            DL_RETURN_IF_ERROR(wrote_bad(&r, i, &bad));
        }
        if (bad) {
            *instruction = i;
            return DL_OK;
        }
    }
    return DL_OK;
}
