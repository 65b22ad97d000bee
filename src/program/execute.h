/* One run of a program, as its executors see it. Internal to src/program. */
#ifndef DLTRAIN_PROGRAM_EXECUTE_H
#define DLTRAIN_PROGRAM_EXECUTE_H

#include "program/run.h"

enum { DL_POINTERS = DL_OP_MAX_SLOTS + 1 }; /* addresses of an instruction in dl_program.pointer */

/* What one run needs. */
typedef struct dl_run {
    dl_plan *plan;
    dl_program *program;
    const dl_host_batch *batch;
    int comm_done;       /* all collectives of the list before this instruction have been waited for */
    bool landing;        /* loads go to where they land (streams.h) */
    bool capturing;      /* what is handed over becomes a piece that is launched later */
    dl_profile *profile; /* NULL: not measured */
    double waited;       /* seconds of this run spent in waits for collectives, when measured */
} dl_run;

static inline bool dl_has_streams(const dl_plan *plan) {
    return plan->options.device->backend->streams != NULL;
}

static inline const dl_plan_collective *dl_collective_of(const dl_plan *plan,
                                                         const dl_instruction *instruction) {
    return &plan->collective[instruction->collective];
}

static inline dl_status dl_start_collective(const dl_plan_collective *collective, dl_stream *stream) {
    return collective->comm->functions->start(collective->collective, stream);
}

static inline dl_status dl_wait_for_collective(const dl_plan_collective *collective) {
    return collective->comm->functions->wait(collective->collective);
}

/* An all-reduce on streams that goes on only while the host waits for it (staged). */
bool dl_host_drives(const dl_plan *plan, const dl_instruction *instruction);

/* Runs instruction `at`, or puts it into its lane's stream, whatever it waits for. */
DL_NODISCARD dl_status dl_run_unordered(dl_run *r, int at);

/* Waits for events of the comm lane that the host has a part in; other lanes run in the order of the list, or
 * in their streams'. */
DL_NODISCARD dl_status dl_wait_for_host(dl_run *r, int at);

/* Waits for the collectives of the list up to and with instruction `last`: a lane finishes in its order. On
 * streams they are those that the host drives; only then has their event a place. */
DL_NODISCARD dl_status dl_finish_collectives(dl_run *r, int last);

/* One instruction alone, done on return: for looking at it. */
DL_NODISCARD dl_status dl_run_alone(dl_run *r, int at);

/* --- on streams (execute_streams.c) --- */

/* Puts an instruction into its lane's stream, behind what it waits for. */
DL_NODISCARD dl_status dl_hand_over(dl_run *r, int at);

/* The whole list. */
DL_NODISCARD dl_status dl_execute_on_streams(dl_run *r);

#endif
