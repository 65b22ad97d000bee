/* Runs on streams: the list is handed over, and events make its order. From the second run on a program goes
 * as one piece (a CUDA graph), where its device can keep one and no host has a part in it. */
#include "base/log.h"
#include "program/execute.h"
#include "program/streams.h"

static const dl_stream_functions *functions_of(const dl_plan *plan) {
    return plan->options.device->backend->streams;
}

/* --- one instruction after the other --- */

/* A communicator that knows no streams adds on the host, when the comm lane has come to this place: the
 * result is there for whatever is handed over from now on. */
static dl_status reduce_between(const dl_run *r, const dl_instruction *instruction) {
    const dl_plan_collective *collective = dl_collective_of(r->plan, instruction);
    if (r->plan->options.device->backend->own_memory) {
        return DL_OK; /* of one rank alone (collectives.c): the sum is there */
    }
    DL_RETURN_IF_ERROR(
        functions_of(r->plan)->synchronize(r->plan->options.device, r->plan->stream[instruction->lane]));
    DL_RETURN_IF_ERROR(dl_start_collective(collective, NULL));
    return dl_wait_for_collective(collective);
}

/* A communicator of the device works in the lane's stream. One that needs no host is looked after here, which
 * waits for nothing; for the others dl_finish_collectives() comes, when an instruction wants the result. */
static dl_status start_on_stream(const dl_run *r, const dl_instruction *instruction) {
    const dl_plan_collective *collective = dl_collective_of(r->plan, instruction);
    if (!collective->comm->functions->on_device) {
        return reduce_between(r, instruction);
    }
    DL_RETURN_IF_ERROR(dl_start_collective(collective, r->plan->stream[instruction->lane]));
    return dl_host_drives(r->plan, instruction) ? DL_OK : dl_wait_for_collective(collective);
}

static bool same_memory(const dl_run *r, const dl_instruction *a, const dl_instruction *b) {
    const dl_slot *x = &r->program->slot[a->slot[0]], *y = &r->program->slot[b->slot[0]];
    const char *begin_x = dl_slot_address(r->plan, r->program, a->slot[0]);
    const char *begin_y = dl_slot_address(r->plan, r->program, b->slot[0]);
    return begin_x < begin_y + y->n_bytes && begin_y < begin_x + x->n_bytes;
}

/* Within a lane the list is the order, but sums that the host drives come into the lane late: what may touch
 * one of them there has it finished first. */
static dl_status keep_lane_order(dl_run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    for (int i = at - 1; instruction->lane == DL_LANE_COMM && i >= r->comm_done; i--) {
        const dl_instruction *earlier = &r->program->instruction[i];
        if (earlier->type == DL_DO_ALL_REDUCE && dl_host_drives(r->plan, earlier) &&
            (instruction->type != DL_DO_ALL_REDUCE || same_memory(r, instruction, earlier))) {
            return dl_finish_collectives(r, i);
        }
    }
    return DL_OK;
}

static bool is_load(const dl_program *program, int event) {
    for (int i = 0; i < program->n_instructions; i++) {
        if (program->instruction[i].records == event) {
            return program->instruction[i].type == DL_DO_LOAD;
        }
    }
    return false;
}

/* A piece begins behind the loads. */
static dl_status wait_in_lane(const dl_run *r, const dl_instruction *instruction) {
    for (int w = 0; w < instruction->n_waits; w++) {
        if (!r->capturing || !is_load(r->program, instruction->waits[w])) {
            DL_RETURN_IF_ERROR(dl_streams_wait(r->plan, instruction->waits[w], instruction->lane));
        }
    }
    return DL_OK;
}

dl_status dl_hand_over(dl_run *r, int at) {
    const dl_instruction *instruction = &r->program->instruction[at];
    DL_RETURN_IF_ERROR(dl_wait_for_host(r, at));
    DL_RETURN_IF_ERROR(keep_lane_order(r, at));
    DL_RETURN_IF_ERROR(wait_in_lane(r, instruction));
    if (instruction->type != DL_DO_ALL_REDUCE) {
        DL_RETURN_IF_ERROR(dl_run_unordered(r, at));
        return dl_streams_record(r->plan, instruction);
    }
    DL_RETURN_IF_ERROR(start_on_stream(r, instruction));
    return dl_host_drives(r->plan, instruction) ? DL_OK : dl_streams_record(r->plan, instruction);
}

/* --- as one piece --- */

/* Nothing in it needs the host but loads, and those can all come first: what they write is used by nothing
 * before them. */
static bool can_be_captured(const dl_plan *plan, const dl_program *program) {
    const bool own_memory = plan->options.device->backend->own_memory;
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        const bool reduces = instruction->type == DL_DO_ALL_REDUCE;
        const dl_comm_functions *comm = reduces ? dl_collective_of(plan, instruction)->comm->functions : NULL;
        if ((instruction->type == DL_DO_LOAD) != (instruction->lane == DL_LANE_COPY) ||
            (instruction->type == DL_DO_LOAD && instruction->n_waits > 0) ||
            (reduces && !comm->in_stream && (comm->on_device || !own_memory))) {
            return false;
        }
    }
    return plan->landing > 0;
}

static dl_status hand_over_loads(dl_run *r) {
    for (int i = 0; i < r->program->n_instructions; i++) {
        if (r->program->instruction[i].type == DL_DO_LOAD) {
            DL_RETURN_IF_ERROR(dl_run_unordered(r, i));
        }
    }
    return dl_streams_land(r->plan, r->program);
}

static dl_status hand_over_rest(dl_run *r) {
    DL_RETURN_IF_ERROR(dl_streams_order(r->plan, DL_LANE_COMPUTE, DL_LANE_COMM));
    for (int i = 0; i < r->program->n_instructions; i++) {
        if (r->program->instruction[i].type != DL_DO_LOAD) {
            DL_RETURN_IF_ERROR(dl_hand_over(r, i));
        }
    }
    return dl_streams_order(r->plan, DL_LANE_COMM, DL_LANE_COMPUTE);
}

static dl_status capture(dl_run *r) {
    const dl_stream_functions *functions = functions_of(r->plan);
    dl_device *device = r->plan->options.device;
    dl_stream *stream = r->plan->stream[DL_LANE_COMPUTE];
    DL_RETURN_IF_ERROR(functions->capture_begin(device, stream));
    r->capturing = true;
    const dl_status status = hand_over_rest(r);
    r->capturing = false;
    const dl_status ended =
        functions->capture_end(device, stream, status == DL_OK ? &r->program->capture : NULL);
    return status == DL_OK ? ended : status;
}

/* What cannot be captured after all is handed over as before, which is slower and no less right. */
static void try_to_capture(dl_run *r) {
    dl_error error;
    if (capture(r) != DL_OK) {
        dl_error_take(&error);
        DL_WARN("steps are handed over one operation at a time, not as a CUDA graph: %s", error.message);
    } else {
        DL_DEBUG("%s program of %d instructions is a CUDA graph from now on",
                 r->program->kind == DL_PROGRAM_TRAIN ? "a training" : "another", r->program->n_instructions);
    }
}

static dl_status execute_piece(dl_run *r) {
    r->landing = true;
    DL_RETURN_IF_ERROR(dl_streams_begin(r->plan, true));
    DL_RETURN_IF_ERROR(hand_over_loads(r));
    return functions_of(r->plan)->capture_launch(r->plan->options.device, r->program->capture,
                                                 r->plan->stream[DL_LANE_COMPUTE]);
}

static dl_status execute_list(dl_run *r) {
    DL_RETURN_IF_ERROR(dl_streams_begin(r->plan, false));
    for (int i = 0; i < r->program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(dl_hand_over(r, i));
    }
    return dl_finish_collectives(r, r->program->n_instructions - 1);
}

dl_status dl_execute_on_streams(dl_run *r) {
    /* libraries set themselves up in the first run */
    if (r->program->n_runs++ == 1 && can_be_captured(r->plan, r->program)) {
        try_to_capture(r);
    }
    DL_RETURN_IF_ERROR(r->program->capture != NULL ? execute_piece(r) : execute_list(r));
    return dl_streams_end(r->plan);
}
