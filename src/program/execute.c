/* The executor: one loop over the list. It does nothing that is not in it. */
#include "base/clock.h"
#include "base/mem.h"
#include "kernels/common/half.h"
#include "program/fence.h"
#include "program/streams.h"

#include <math.h>
#include <string.h>

enum { ROW = DL_OP_MAX_SLOTS + 1 };

/* What one run needs. */
typedef struct run {
    dl_plan *plan;
    dl_program *program;
    const dl_host_batch *batch;
    int comm_done;       /* all collectives of the list before this instruction have been waited for */
    dl_profile *profile; /* NULL: not measured */
    double waited;       /* seconds of this run spent in waits for collectives, when measured */
} run;

/* Addresses of one part: its samples of batched slots, its place among summed outputs, its own workspace. */
static dl_status run_part(void *context, int p) {
    const run *r = ((void **)context)[0];
    const dl_instruction *instruction = ((void **)context)[1];
    const dl_part *part = &instruction->part[p];
    if (part->op == NULL) {
        return DL_OK;
    }
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    void *const *whole = &r->program->pointer[(size_t)(instruction - r->program->instruction) * ROW];
    void *slots[ROW] = {0};
    for (int i = 0; i < info->n_slots; i++) {
        if (whole[i] == NULL) {
            continue;
        }
        const dl_slot *slot = &r->program->slot[instruction->slot[i]];
        size_t offset = 0;
        if (info->slots[i].batched) {
            offset = slot->n_bytes / (size_t)slot->tensor.shape.dim[0] * (size_t)part->samples.begin;
        } else if (info->slots[i].role == DL_SLOT_OUT) {
            offset = slot->n_bytes / (size_t)instruction->n_parts * (size_t)p;
        }
        slots[i] = (char *)whole[i] + offset;
    }
    const int workspace = instruction->slot[DL_OP_MAX_SLOTS];
    if (workspace >= 0) {
        const size_t each = r->program->slot[workspace].n_bytes / (size_t)instruction->n_parts;
        slots[info->n_slots] = (char *)whole[info->n_slots] + each * (size_t)p;
    }
    return part->op->functions->run(part->op, slots, r->plan->stream[instruction->lane]);
}

static dl_status run_operation(const run *r, const dl_instruction *instruction) {
    if (instruction->n_parts > 0) {
        const void *context[] = {r, instruction};
        return dl_device_for_each(r->plan->options.device, instruction->n_parts, run_part, (void *)context);
    }
    const size_t row = (size_t)(instruction - r->program->instruction) * ROW;
    return instruction->op->functions->run(instruction->op, &r->program->pointer[row],
                                           r->plan->stream[instruction->lane]);
}

static dl_status load(const run *r, const dl_instruction *instruction) {
    const dl_slot *slot = &r->program->slot[instruction->slot[0]];
    void *to = r->program->pointer[(size_t)(instruction - r->program->instruction) * ROW];
    const char *from = NULL;
    if (slot->n_bytes == 0) {
        return DL_OK; /* a rank without samples that takes part in exchanges */
    }
    if (instruction->load == DL_LOAD_STEP) {
        from = (const char *)r->batch->step;
    } else {
        const size_t sample = slot->n_bytes / (size_t)slot->tensor.shape.dim[0];
        const void *field =
            instruction->load == DL_LOAD_IDS ? r->batch->ids : r->batch->field[instruction->load];
        from = (const char *)field + sample * (size_t)instruction->load_samples.begin;
    }
    return r->plan->options.device->backend->upload(r->plan->options.device, to, from, slot->n_bytes,
                                                    r->plan->stream[instruction->lane]);
}

static bool has_streams(const dl_plan *plan) {
    return plan->options.device->backend->streams != NULL;
}

/* An all-reduce on streams that goes on only while the host waits for it (staged). */
static bool host_drives(const run *r, const dl_instruction *instruction) {
    const dl_comm_functions *functions = r->plan->collective[instruction->collective].comm->functions;
    return functions->on_device && !functions->in_stream;
}

static dl_status wait_for(const dl_plan_collective *collective) {
    return collective->comm->functions->wait(collective->collective);
}

/* Time in a wait belongs to the collective, not to the instruction that came to use its result. */
static dl_status finish_collective(run *r, int at) {
    const dl_plan_collective *collective = &r->plan->collective[r->program->instruction[at].collective];
    if (r->profile == NULL) {
        return wait_for(collective);
    }
    const double before = dl_clock_seconds();
    DL_RETURN_IF_ERROR(wait_for(collective));
    const double seconds = dl_clock_seconds() - before;
    r->profile->seconds[at] += seconds;
    r->waited += seconds;
    return DL_OK;
}

/* Waits for the collectives of the list up to and with instruction `last`: a lane finishes in its order. On
 * streams they are those that the host drives (start_on_stream); only then has their event a place. */
static dl_status finish_collectives(run *r, int last) {
    for (; r->comm_done <= last; r->comm_done++) {
        const dl_instruction *instruction = &r->program->instruction[r->comm_done];
        if (instruction->type != DL_DO_ALL_REDUCE || (has_streams(r->plan) && !host_drives(r, instruction))) {
            continue;
        }
        DL_RETURN_IF_ERROR(finish_collective(r, r->comm_done));
        if (has_streams(r->plan)) {
            DL_RETURN_IF_ERROR(dl_streams_record(r->plan, instruction));
        }
    }
    return DL_OK;
}

/* Waits for events of the comm lane that the host has a part in; other lanes run in the order of the list, or
 * in their streams'. */
static dl_status wait_for_events(run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    for (int w = 0; w < instruction->n_waits; w++) {
        for (int i = r->comm_done; i < at; i++) {
            const dl_instruction *maker = &r->program->instruction[i];
            if (maker->records == instruction->waits[w] && maker->lane == DL_LANE_COMM) {
                DL_RETURN_IF_ERROR(finish_collectives(r, i));
            }
        }
    }
    return DL_OK;
}

static dl_status start_collective(const dl_plan_collective *collective, dl_stream *stream) {
    return collective->comm->functions->start(collective->collective, stream);
}

static dl_status run_unordered(run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    switch (instruction->type) {
    case DL_DO_OPERATION:
        return run_operation(r, instruction);
    case DL_DO_LOAD:
        return load(r, instruction);
    case DL_DO_ALL_REDUCE:
        return start_collective(&r->plan->collective[instruction->collective], NULL);
    case DL_DO_NOTHING:
        break;
    }
    return DL_OK;
}

static dl_status run_instruction(run *r, int at) {
    DL_RETURN_IF_ERROR(wait_for_events(r, at));
    return run_unordered(r, at);
}

/* Collectives touch their buffers while they are waited for, before the fence is closed. */
static dl_status run_fenced(run *r, int at) {
    DL_RETURN_IF_ERROR(wait_for_events(r, at));
    DL_RETURN_IF_ERROR(dl_fence_close(r->plan, r->program, at));
    const dl_status status = run_unordered(r, at);
    DL_RETURN_IF_ERROR(dl_fence_open(r->plan, r->program, at));
    return status;
}

/* --- on streams: the list is handed over, and events make its order --- */

/* A communicator that knows no streams adds on the host, when the comm lane has come to this place: the
 * result is there for whatever is handed over from now on. */
static dl_status reduce_between(const run *r, const dl_instruction *instruction) {
    const dl_plan_collective *collective = &r->plan->collective[instruction->collective];
    if (r->plan->options.device->backend->own_memory) {
        return DL_OK; /* of one rank alone (collectives.c): the sum is there */
    }
    DL_RETURN_IF_ERROR(r->plan->options.device->backend->streams->synchronize(
        r->plan->options.device, r->plan->stream[instruction->lane]));
    DL_RETURN_IF_ERROR(start_collective(collective, NULL));
    return wait_for(collective);
}

/* A communicator of the device works in the lane's stream. One that needs no host is looked after here, which
 * waits for nothing; for the others finish_collectives() comes, when an instruction wants the result. */
static dl_status start_on_stream(const run *r, const dl_instruction *instruction) {
    const dl_plan_collective *collective = &r->plan->collective[instruction->collective];
    if (!collective->comm->functions->on_device) {
        return reduce_between(r, instruction);
    }
    DL_RETURN_IF_ERROR(start_collective(collective, r->plan->stream[instruction->lane]));
    return host_drives(r, instruction) ? DL_OK : wait_for(collective);
}

static bool same_memory(const run *r, const dl_instruction *a, const dl_instruction *b) {
    const dl_slot *x = &r->program->slot[a->slot[0]], *y = &r->program->slot[b->slot[0]];
    const char *begin_x = dl_slot_address(r->plan, r->program, a->slot[0]);
    const char *begin_y = dl_slot_address(r->plan, r->program, b->slot[0]);
    return begin_x < begin_y + y->n_bytes && begin_y < begin_x + x->n_bytes;
}

/* Within a lane the list is the order, but sums that the host drives come into the lane late: what may touch
 * one of them there has it finished first. */
static dl_status keep_lane_order(run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    for (int i = at - 1; instruction->lane == DL_LANE_COMM && i >= r->comm_done; i--) {
        const dl_instruction *earlier = &r->program->instruction[i];
        if (earlier->type == DL_DO_ALL_REDUCE && host_drives(r, earlier) &&
            (instruction->type != DL_DO_ALL_REDUCE || same_memory(r, instruction, earlier))) {
            return finish_collectives(r, i);
        }
    }
    return DL_OK;
}

static dl_status hand_over(run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    DL_RETURN_IF_ERROR(wait_for_events(r, at));
    DL_RETURN_IF_ERROR(keep_lane_order(r, at));
    DL_RETURN_IF_ERROR(dl_streams_wait(r->plan, instruction));
    if (instruction->type != DL_DO_ALL_REDUCE) {
        DL_RETURN_IF_ERROR(run_unordered(r, at));
        return dl_streams_record(r->plan, instruction);
    }
    DL_RETURN_IF_ERROR(start_on_stream(r, instruction));
    return host_drives(r, instruction) ? DL_OK : dl_streams_record(r->plan, instruction);
}

static dl_status execute_on_streams(run *r) {
    DL_RETURN_IF_ERROR(dl_streams_begin(r->plan));
    for (int i = 0; i < r->program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(hand_over(r, i));
    }
    DL_RETURN_IF_ERROR(finish_collectives(r, r->program->n_instructions - 1));
    return dl_streams_end(r->plan);
}

/* One instruction alone, done on return: for looking at it. */
static dl_status run_alone(run *r, int at) {
    if (!has_streams(r->plan)) {
        return run_instruction(r, at);
    }
    DL_RETURN_IF_ERROR(hand_over(r, at));
    DL_RETURN_IF_ERROR(finish_collectives(r, at));
    return dl_device_synchronize(r->plan->options.device);
}

dl_status dl_execute(dl_plan *plan, int program, const dl_host_batch *batch) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    const bool strict = plan->options.device->backend->strict;
    if (has_streams(plan)) {
        return execute_on_streams(&r);
    }
    for (int i = 0; i < r.program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(strict ? run_fenced(&r, i) : run_instruction(&r, i));
    }
    return finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

dl_status dl_execute_profiled(dl_plan *plan, int program, const dl_host_batch *batch, dl_profile *profile) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch, .profile = profile};
    DL_RETURN_IF_ERROR(dl_device_synchronize(plan->options.device));
    for (int i = 0; i < r.program->n_instructions; i++) {
        const double before = dl_clock_seconds(), waited = r.waited;
        DL_RETURN_IF_ERROR(run_alone(&r, i));
        profile->seconds[i] += dl_clock_seconds() - before - (r.waited - waited);
    }
    profile->n_runs++;
    if (has_streams(plan)) {
        return DL_OK;
    }
    return finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

dl_status dl_execute_observed(dl_plan *plan, int program, const dl_host_batch *batch,
                              const dl_observer *observer) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    DL_RETURN_IF_ERROR(dl_device_synchronize(plan->options.device));
    for (int i = 0; i < r.program->n_instructions; i++) {
        if (!has_streams(plan)) {
            DL_RETURN_IF_ERROR(wait_for_events(&r, i));
        }
        DL_RETURN_IF_ERROR(observer->before(observer->context, i));
        DL_RETURN_IF_ERROR(run_alone(&r, i));
        DL_RETURN_IF_ERROR(observer->after(observer->context, i));
    }
    return has_streams(plan) ? DL_OK
                             : finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

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
static dl_status wrote_bad(const run *r, int at, bool *bad) {
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
        DL_RETURN_IF_ERROR(find_bad(r->plan, slot, r->program->pointer[(size_t)at * ROW + (size_t)i], bad));
    }
    return DL_OK;
}

dl_status dl_execute_until_bad(dl_plan *plan, int program, const dl_host_batch *batch, int *instruction) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    *instruction = -1;
    for (int i = 0; i < r.program->n_instructions; i++) {
        const dl_instruction *at = &r.program->instruction[i];
        if (at->phase >= DL_PHASE_REDUCE || at->type == DL_DO_ALL_REDUCE) {
            continue;
        }
        bool bad = false;
        DL_RETURN_IF_ERROR(run_alone(&r, i));
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
