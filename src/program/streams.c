#define _GNU_SOURCE
#include "program/streams.h"

#include <sched.h>
#include <time.h>

static const dl_stream_functions *functions_of(const dl_plan *plan) {
    return plan->options.device->backend->streams;
}

/* Runs that may be under way at once: one more than wait for their end to be read. */
static int n_ends(const dl_plan *plan) {
    return plan->options.device->backend->steps_in_flight + 1;
}

static size_t outcome_bytes(const dl_plan *plan) {
    return (size_t)n_ends(plan) * sizeof *plan->outcome;
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
    DL_RETURN_IF_ERROR(create_events(plan, 1, &plan->landed));
    void *outcomes = NULL;
    DL_RETURN_IF_ERROR(functions->host_create(plan->options.device, outcome_bytes(plan), &outcomes));
    plan->outcome = outcomes;
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
    for (int i = 0; i < plan->n_programs; i++) {
        if (plan->program[i]->capture != NULL) {
            functions_of(plan)->capture_destroy(plan->options.device, plan->program[i]->capture);
            plan->program[i]->capture = NULL;
        }
    }
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        functions_of(plan)->destroy(plan->options.device, plan->stream[lane]);
        plan->stream[lane] = NULL;
    }
    destroy_events(plan, plan->event, plan->n_events);
    destroy_events(plan, plan->end, n_ends(plan));
    destroy_events(plan, plan->lane_end, DL_N_LANES);
    destroy_events(plan, plan->landed, 1);
    plan->event = plan->end = plan->lane_end = plan->landed = NULL;
    if (plan->outcome != NULL) {
        functions_of(plan)->host_destroy(plan->options.device, plan->outcome, outcome_bytes(plan));
        plan->outcome = NULL;
    }
}

/* Has any communicator failed? Those of the axes are the world itself or have failures of their own. */
static dl_status look(const dl_grid *grid) {
    DL_RETURN_IF_ERROR(grid->world->functions->check(grid->world));
    for (int i = 0; i < DL_N_AXES; i++) {
        dl_comm *comm = grid->axis[i].comm;
        if (comm != NULL && comm != grid->world) {
            DL_RETURN_IF_ERROR(comm->functions->check(comm));
        }
    }
    return DL_OK;
}

/* A device that waits for other ranks does not notice that one has failed, so the host looks. */
static dl_status wait_looking(const dl_plan *plan, dl_event *event) {
    enum { YIELDS = 200, QUERIES_PER_LOOK = 16 };
    const struct timespec pause = {0, 20000};
    bool happened = false;
    for (int64_t n = 1;; n++) {
        DL_RETURN_IF_ERROR(functions_of(plan)->event_query(plan->options.device, event, &happened));
        if (happened) {
            return DL_OK;
        }
        if (n % QUERIES_PER_LOOK == 0) {
            DL_RETURN_IF_ERROR(look(plan->options.grid));
        }
        if (n < YIELDS) {
            (void)sched_yield();
        } else {
            (void)nanosleep(&pause, NULL);
        }
    }
}

static dl_status wait_for_event(const dl_plan *plan, dl_event *event) {
    dl_comm *comm = plan->options.grid != NULL ? plan->options.grid->world : NULL;
    if (comm != NULL && comm->functions->in_stream && functions_of(plan)->event_query != NULL) {
        DL_RETURN_IF_ERROR(wait_looking(plan, event));
    }
    return functions_of(plan)->event_synchronize(plan->options.device,
                                                 event); /* tells failures of the work */
}

dl_status dl_streams_wait_for_end(const dl_plan *plan, int number) {
    return wait_for_event(plan, plan->end[number]);
}

dl_status dl_plan_wait(const dl_plan *plan) {
    if (functions_of(plan) == NULL || plan->n_runs == 0) {
        return DL_OK;
    }
    return wait_for_event(plan, plan->end[(plan->n_runs - 1) % n_ends(plan)]);
}

/* --- where loads land --- */

/* Exchanges that the host drives are never part of a piece. */
static bool loads_land(const dl_plan *plan) {
    const dl_stream_functions *functions = functions_of(plan);
    const dl_comm *comm = plan->options.grid != NULL ? plan->options.grid->world : NULL;
    return functions != NULL && functions->capture_begin != NULL && plan->options.capture &&
           (comm == NULL || !comm->functions->on_device || comm->functions->in_stream);
}

size_t dl_streams_input_bytes(dl_plan *plan, size_t n_bytes) {
    if (!loads_land(plan)) {
        return n_bytes;
    }
    plan->landing = dl_round_up(n_bytes + (n_bytes == 0), DL_PAGE_BYTES);
    return 2 * plan->landing + dl_round_up(sizeof(dl_step_block), DL_PAGE_BYTES);
}

void *dl_streams_landing(const dl_plan *plan, const dl_program *program, int slot) {
    char *input = plan->memory[DL_STORE_INPUT];
    if (slot == program->step) {
        return input + 2 * plan->landing;
    }
    return (char *)dl_slot_address(plan, program, slot) + plan->landing;
}

dl_status dl_streams_land(dl_plan *plan, const dl_program *program) {
    const dl_stream_functions *functions = functions_of(plan);
    dl_device *device = plan->options.device;
    dl_stream *compute = plan->stream[DL_LANE_COMPUTE];
    char *input = plan->memory[DL_STORE_INPUT];
    const size_t n_bytes = program->placed_bytes[DL_STORE_INPUT];
    DL_RETURN_IF_ERROR(dl_streams_order(plan, DL_LANE_COPY, DL_LANE_COMPUTE));
    if (n_bytes > 0) {
        DL_RETURN_IF_ERROR(functions->copy(device, input, input + plan->landing, n_bytes, compute));
    }
    DL_RETURN_IF_ERROR(functions->copy(device, dl_slot_address(plan, program, program->step),
                                       dl_streams_landing(plan, program, program->step),
                                       sizeof(dl_step_block), compute));
    return functions->event_record(device, plan->landed[0], compute);
}

dl_status dl_streams_begin(dl_plan *plan, bool landing) {
    const dl_stream_functions *functions = functions_of(plan);
    dl_device *device = plan->options.device;
    const int n = n_ends(plan);
    /* the event that this run will record: recorded n runs ago, or never */
    DL_RETURN_IF_ERROR(wait_for_event(plan, plan->end[plan->n_runs % n]));
    for (int lane = 0; plan->n_runs > 0 && lane < DL_N_LANES; lane++) {
        dl_event *before =
            landing && lane == DL_LANE_COPY ? plan->landed[0] : plan->end[(plan->n_runs - 1) % n];
        if (lane != DL_LANE_COMPUTE) { /* which is where runs end */
            DL_RETURN_IF_ERROR(functions->event_wait(device, before, plan->stream[lane]));
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
            DL_RETURN_IF_ERROR(dl_streams_order(plan, (dl_lane)lane, DL_LANE_COMPUTE));
        }
    }
    const int number = (int)(plan->n_runs % n_ends(plan));
    DL_RETURN_IF_ERROR(dl_streams_send_outcome(plan, number));
    DL_RETURN_IF_ERROR(functions->event_record(device, plan->end[number], compute));
    plan->n_runs++;
    return DL_OK;
}

dl_status dl_streams_order(dl_plan *plan, dl_lane before, dl_lane after) {
    const dl_stream_functions *functions = functions_of(plan);
    dl_device *device = plan->options.device;
    DL_RETURN_IF_ERROR(functions->event_record(device, plan->lane_end[before], plan->stream[before]));
    return functions->event_wait(device, plan->lane_end[before], plan->stream[after]);
}

dl_status dl_streams_wait(dl_plan *plan, int event, dl_lane lane) {
    return functions_of(plan)->event_wait(plan->options.device, plan->event[event], plan->stream[lane]);
}

dl_status dl_streams_record(dl_plan *plan, const dl_instruction *instruction) {
    if (instruction->records < 0) {
        return DL_OK;
    }
    return functions_of(plan)->event_record(plan->options.device, plan->event[instruction->records],
                                            plan->stream[instruction->lane]);
}
