/* The executor: one loop over the list. It does nothing that is not in it. */
#include "program/execute.h"

#include "base/clock.h"
#include "program/fence.h"
#include "program/streams.h"

/* Addresses of one part: its samples of batched slots, its place among summed outputs, its own workspace. */
static dl_status run_part(void *context, int p) {
    const dl_run *r = ((void **)context)[0];
    const dl_instruction *instruction = ((void **)context)[1];
    const dl_part *part = &instruction->part[p];
    if (part->op == NULL) {
        return DL_OK;
    }
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    void *const *whole = &r->program->pointer[(size_t)(instruction - r->program->instruction) * DL_POINTERS];
    void *slots[DL_POINTERS] = {0};
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

static dl_status run_operation(const dl_run *r, const dl_instruction *instruction) {
    if (instruction->n_parts > 0) {
        const void *context[] = {r, instruction};
        return dl_device_for_each(r->plan->options.device, instruction->n_parts, run_part, (void *)context);
    }
    const size_t row = (size_t)(instruction - r->program->instruction) * DL_POINTERS;
    return instruction->op->functions->run(instruction->op, &r->program->pointer[row],
                                           r->plan->stream[instruction->lane]);
}

static dl_status load(const dl_run *r, const dl_instruction *instruction) {
    const dl_slot *slot = &r->program->slot[instruction->slot[0]];
    void *to = r->landing
                   ? dl_streams_landing(r->plan, r->program, instruction->slot[0])
                   : r->program->pointer[(size_t)(instruction - r->program->instruction) * DL_POINTERS];
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

bool dl_host_drives(const dl_plan *plan, const dl_instruction *instruction) {
    const dl_comm_functions *functions = dl_collective_of(plan, instruction)->comm->functions;
    return functions->on_device && !functions->in_stream;
}

/* Time in a wait belongs to the collective, not to the instruction that came to use its result. */
static dl_status finish_collective(dl_run *r, int at) {
    const dl_plan_collective *collective = dl_collective_of(r->plan, &r->program->instruction[at]);
    if (r->profile == NULL) {
        return dl_wait_for_collective(collective);
    }
    const double before = dl_clock_seconds();
    DL_RETURN_IF_ERROR(dl_wait_for_collective(collective));
    const double seconds = dl_clock_seconds() - before;
    r->profile->seconds[at] += seconds;
    r->waited += seconds;
    return DL_OK;
}

dl_status dl_finish_collectives(dl_run *r, int last) {
    for (; r->comm_done <= last; r->comm_done++) {
        const dl_instruction *instruction = &r->program->instruction[r->comm_done];
        if (instruction->type != DL_DO_ALL_REDUCE ||
            (dl_has_streams(r->plan) && !dl_host_drives(r->plan, instruction))) {
            continue;
        }
        DL_RETURN_IF_ERROR(finish_collective(r, r->comm_done));
        if (dl_has_streams(r->plan)) {
            DL_RETURN_IF_ERROR(dl_streams_record(r->plan, instruction));
        }
    }
    return DL_OK;
}

dl_status dl_wait_for_host(dl_run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    for (int w = 0; w < instruction->n_waits; w++) {
        for (int i = r->comm_done; i < at; i++) {
            const dl_instruction *maker = &r->program->instruction[i];
            if (maker->records == instruction->waits[w] && maker->lane == DL_LANE_COMM) {
                DL_RETURN_IF_ERROR(dl_finish_collectives(r, i));
            }
        }
    }
    return DL_OK;
}

dl_status dl_run_unordered(dl_run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    switch (instruction->type) {
    case DL_DO_OPERATION:
        return run_operation(r, instruction);
    case DL_DO_LOAD:
        return load(r, instruction);
    case DL_DO_ALL_REDUCE:
        return dl_start_collective(dl_collective_of(r->plan, instruction), NULL);
    case DL_DO_NOTHING:
        break;
    }
    return DL_OK;
}

static dl_status run_instruction(dl_run *r, int at) {
    DL_RETURN_IF_ERROR(dl_wait_for_host(r, at));
    return dl_run_unordered(r, at);
}

/* Collectives touch their buffers while they are waited for, before the fence is closed. */
static dl_status run_fenced(dl_run *r, int at) {
    DL_RETURN_IF_ERROR(dl_wait_for_host(r, at));
    DL_RETURN_IF_ERROR(dl_fence_close(r->plan, r->program, at));
    const dl_status status = dl_run_unordered(r, at);
    DL_RETURN_IF_ERROR(dl_fence_open(r->plan, r->program, at));
    return status;
}

dl_status dl_run_alone(dl_run *r, int at) {
    if (!dl_has_streams(r->plan)) {
        return run_instruction(r, at);
    }
    DL_RETURN_IF_ERROR(dl_hand_over(r, at));
    DL_RETURN_IF_ERROR(dl_finish_collectives(r, at));
    return dl_device_synchronize(r->plan->options.device);
}

dl_status dl_execute(dl_plan *plan, int program, const dl_host_batch *batch) {
    dl_run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    const bool strict = plan->options.device->backend->strict;
    if (dl_has_streams(plan)) {
        return dl_execute_on_streams(&r);
    }
    for (int i = 0; i < r.program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(strict ? run_fenced(&r, i) : run_instruction(&r, i));
    }
    plan->n_runs++;
    return dl_finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

dl_status dl_execute_profiled(dl_plan *plan, int program, const dl_host_batch *batch, dl_profile *profile) {
    dl_run r = {.plan = plan, .program = plan->program[program], .batch = batch, .profile = profile};
    DL_RETURN_IF_ERROR(dl_has_streams(plan) ? dl_streams_begin(plan, false) : DL_OK);
    DL_RETURN_IF_ERROR(dl_device_synchronize(plan->options.device));
    for (int i = 0; i < r.program->n_instructions; i++) {
        const double before = dl_clock_seconds(), waited = r.waited;
        DL_RETURN_IF_ERROR(dl_run_alone(&r, i));
        profile->seconds[i] += dl_clock_seconds() - before - (r.waited - waited);
    }
    profile->n_runs++;
    if (dl_has_streams(plan)) {
        return dl_streams_end(plan);
    }
    plan->n_runs++;
    return dl_finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

dl_status dl_execute_observed(dl_plan *plan, int program, const dl_host_batch *batch,
                              const dl_observer *observer) {
    dl_run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    DL_RETURN_IF_ERROR(dl_device_synchronize(plan->options.device));
    for (int i = 0; i < r.program->n_instructions; i++) {
        if (!dl_has_streams(plan)) {
            DL_RETURN_IF_ERROR(dl_wait_for_host(&r, i));
        }
        DL_RETURN_IF_ERROR(observer->before(observer->context, i));
        DL_RETURN_IF_ERROR(dl_run_alone(&r, i));
        DL_RETURN_IF_ERROR(observer->after(observer->context, i));
    }
    return dl_has_streams(plan) ? DL_OK
                                : dl_finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}
