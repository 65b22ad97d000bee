#include "program/streams.h"

static const dl_stream_functions *functions_of(const dl_plan *plan) {
    return plan->options.device->backend->streams;
}

/* Runs that may be under way at once: one more than wait for their end to be read. */
static int n_ends(const dl_plan *plan) {
    return plan->options.device->backend->steps_in_flight + 1;
}

static dl_status create_events(dl_plan *plan, int n, dl_event ***out) {
    DL_RETURN_IF_ERROR(dl_pool_alloc(plan->pool, (size_t)n, sizeof **out, out));
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(functions_of(plan)->event_create(plan->options.device, &(*out)[i]));
    }
    return DL_OK;
}

dl_status dl_streams_create(dl_plan *plan) {
    const dl_stream_functions *functions = functions_of(plan);
    if (functions == NULL) {
        return DL_OK;
    }
    for (int i = 0; i < plan->n_programs; i++) {
        const int n = plan->program[i]->n_events;
        plan->n_events = n > plan->n_events ? n : plan->n_events;
    }
    DL_RETURN_IF_ERROR(create_events(plan, plan->n_events, &plan->event));
    DL_RETURN_IF_ERROR(create_events(plan, n_ends(plan), &plan->end));
    DL_RETURN_IF_ERROR(create_events(plan, DL_N_LANES, &plan->lane_end));
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        /* exchanges first: other ranks wait for them */
        DL_RETURN_IF_ERROR(
            functions->create(plan->options.device, lane == DL_LANE_COMM, &plan->stream[lane]));
    }
    return DL_OK;
}

static void destroy_events(dl_plan *plan, dl_event **event, int n) {
    for (int i = 0; event != NULL && i < n; i++) {
        if (event[i] != NULL) {
            functions_of(plan)->event_destroy(plan->options.device, event[i]);
        }
    }
}

void dl_streams_destroy(dl_plan *plan) {
    if (plan->options.device == NULL || functions_of(plan) == NULL) {
        return;
    }
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        functions_of(plan)->destroy(plan->options.device, plan->stream[lane]);
        plan->stream[lane] = NULL;
    }
    destroy_events(plan, plan->event, plan->n_events);
    destroy_events(plan, plan->end, n_ends(plan));
    destroy_events(plan, plan->lane_end, DL_N_LANES);
    plan->event = plan->end = plan->lane_end = NULL;
}

dl_status dl_streams_begin(dl_plan *plan) {
    const dl_stream_functions *functions = functions_of(plan);
    dl_device *device = plan->options.device;
    const int n = n_ends(plan);
    /* the event that this run will record: recorded n runs ago, or never */
    DL_RETURN_IF_ERROR(functions->event_synchronize(device, plan->end[plan->n_runs % n]));
    for (int lane = 0; plan->n_runs > 0 && lane < DL_N_LANES; lane++) {
        if (lane != DL_LANE_COMPUTE) { /* which is where runs end */
            DL_RETURN_IF_ERROR(
                functions->event_wait(device, plan->end[(plan->n_runs - 1) % n], plan->stream[lane]));
        }
    }
    return DL_OK;
}

dl_status dl_streams_end(dl_plan *plan) {
    const dl_stream_functions *functions = functions_of(plan);
    dl_device *device = plan->options.device;
    dl_stream *compute = plan->stream[DL_LANE_COMPUTE];
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        if (lane != DL_LANE_COMPUTE) {
            DL_RETURN_IF_ERROR(functions->event_record(device, plan->lane_end[lane], plan->stream[lane]));
            DL_RETURN_IF_ERROR(functions->event_wait(device, plan->lane_end[lane], compute));
        }
    }
    DL_RETURN_IF_ERROR(functions->event_record(device, plan->end[plan->n_runs % n_ends(plan)], compute));
    plan->n_runs++;
    return DL_OK;
}

dl_status dl_streams_wait(dl_plan *plan, const dl_instruction *instruction) {
    for (int w = 0; w < instruction->n_waits; w++) {
        DL_RETURN_IF_ERROR(functions_of(plan)->event_wait(
            plan->options.device, plan->event[instruction->waits[w]], plan->stream[instruction->lane]));
    }
    return DL_OK;
}

dl_status dl_streams_record(dl_plan *plan, const dl_instruction *instruction) {
    if (instruction->records < 0) {
        return DL_OK;
    }
    return functions_of(plan)->event_record(plan->options.device, plan->event[instruction->records],
                                            plan->stream[instruction->lane]);
}
