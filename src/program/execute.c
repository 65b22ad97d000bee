/* The executor: one loop over the list. It does nothing that is not in it. */
#include "base/clock.h"
#include "program/fence.h"
#include "program/program.h"

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
    return part->op->functions->run(part->op, slots, NULL);
}

static dl_status run_operation(const run *r, const dl_instruction *instruction) {
    if (instruction->n_parts > 0) {
        const void *context[] = {r, instruction};
        return dl_device_for_each(r->plan->options.device, instruction->n_parts, run_part, (void *)context);
    }
    const size_t row = (size_t)(instruction - r->program->instruction) * ROW;
    return instruction->op->functions->run(instruction->op, &r->program->pointer[row], NULL);
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
    return r->plan->options.device->backend->upload(r->plan->options.device, to, from, slot->n_bytes, NULL);
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

/* Waits for the collectives of the list up to and with instruction `last`: a lane finishes in its order. */
static dl_status finish_collectives(run *r, int last) {
    for (; r->comm_done <= last; r->comm_done++) {
        if (r->program->instruction[r->comm_done].type == DL_DO_ALL_REDUCE) {
            DL_RETURN_IF_ERROR(finish_collective(r, r->comm_done));
        }
    }
    return DL_OK;
}

/* Waits for events of the comm lane; other lanes run in the order of the list on this backend. */
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

static dl_status start_collective(const dl_plan_collective *collective) {
    return collective->comm->functions->start(collective->collective);
}

static dl_status run_unordered(run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    switch (instruction->type) {
    case DL_DO_OPERATION:
        return run_operation(r, instruction);
    case DL_DO_LOAD:
        return load(r, instruction);
    case DL_DO_ALL_REDUCE:
        return start_collective(&r->plan->collective[instruction->collective]);
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

dl_status dl_execute(dl_plan *plan, int program, const dl_host_batch *batch) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    const bool strict = plan->options.device->backend->strict;
    for (int i = 0; i < r.program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(strict ? run_fenced(&r, i) : run_instruction(&r, i));
    }
    return finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

dl_status dl_execute_profiled(dl_plan *plan, int program, const dl_host_batch *batch, dl_profile *profile) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch, .profile = profile};
    for (int i = 0; i < r.program->n_instructions; i++) {
        const double before = dl_clock_seconds(), waited = r.waited;
        DL_RETURN_IF_ERROR(run_instruction(&r, i));
        profile->seconds[i] += dl_clock_seconds() - before - (r.waited - waited);
    }
    profile->n_runs++;
    return finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

dl_status dl_execute_observed(dl_plan *plan, int program, const dl_host_batch *batch,
                              const dl_observer *observer) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    for (int i = 0; i < r.program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(wait_for_events(&r, i));
        DL_RETURN_IF_ERROR(observer->before(observer->context, i));
        DL_RETURN_IF_ERROR(run_unordered(&r, i));
        DL_RETURN_IF_ERROR(observer->after(observer->context, i));
    }
    return finish_collectives(&r, r.program->n_instructions - 1); /* for the host */
}

/* Is there a NaN or Inf among the floats an instruction wrote? Layouts do not matter: padding is finite. */
static bool wrote_bad(const run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    for (int i = 0; i < info->n_slots; i++) {
        const dl_slot *slot = instruction->slot[i] >= 0 ? &r->program->slot[instruction->slot[i]] : NULL;
        if (slot == NULL || info->slots[i].role == DL_SLOT_IN || slot->tensor.dtype != DL_F32) {
            continue;
        }
        const float *value = r->program->pointer[(size_t)at * ROW + (size_t)i];
        for (size_t e = 0; e < slot->n_bytes / sizeof(float); e++) {
            if (!isfinite(value[e])) {
                return true;
            }
        }
    }
    return false;
}

dl_status dl_execute_until_bad(dl_plan *plan, int program, const dl_host_batch *batch, int *instruction) {
    run r = {.plan = plan, .program = plan->program[program], .batch = batch};
    *instruction = -1;
    for (int i = 0; i < r.program->n_instructions; i++) {
        const dl_instruction *at = &r.program->instruction[i];
        if (at->phase >= DL_PHASE_REDUCE || at->type == DL_DO_ALL_REDUCE) {
            continue;
        }
        DL_RETURN_IF_ERROR(run_instruction(&r, i));
        if (at->type == DL_DO_OPERATION && wrote_bad(&r, i)) {
            *instruction = i;
            return DL_OK;
        }
    }
    return DL_OK;
}
