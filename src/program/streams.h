/* The lanes of a plan as streams of its device, and the events of its programs. On backends without streams
 * all of this is empty and nothing here is called in a step. Internal to src/program. */
#ifndef DLTRAIN_PROGRAM_STREAMS_H
#define DLTRAIN_PROGRAM_STREAMS_H

#include "program/run.h"

/* A stream for each lane and the events of the programs, once they are sealed. */
DL_NODISCARD dl_status dl_streams_create(dl_plan *plan);
/* Waits for what is in them. */
void dl_streams_destroy(dl_plan *plan);

/* A run that goes as one piece is loaded while the one before is at work: its loads land in a second half of
 * DL_STORE_INPUT, the step block behind it, and are copied into their slots when that is over. Bytes of the
 * storage for `n_bytes` of slots; sets plan->landing. */
size_t dl_streams_input_bytes(dl_plan *plan, size_t n_bytes);
/* Where a load into a slot lands. */
void *dl_streams_landing(const dl_plan *plan, const dl_program *program, int slot);
/* Behind the loads of a run, in the compute lane: into their slots. */
DL_NODISCARD dl_status dl_streams_land(dl_plan *plan, const dl_program *program);

/* Before a run: the host waits while more runs than the backend's steps_in_flight are under way; all lanes
 * wait for the run before, whose memory this one uses again; but with `landing` that of copies only until
 * what landed for it is in its slots. */
DL_NODISCARD dl_status dl_streams_begin(dl_plan *plan, bool landing);
/* Behind a run: what it leaves goes to the host; where it ends, on all lanes. */
DL_NODISCARD dl_status dl_streams_end(dl_plan *plan);

/* The host waits for the event behind one of the last runs, plan->end[number]. */
DL_NODISCARD dl_status dl_streams_wait_for_end(const dl_plan *plan, int number);
/* Puts what the run leaves on its way to plan->outcome[number] (outcome.c). */
DL_NODISCARD dl_status dl_streams_send_outcome(dl_plan *plan, int number);

/* What is put into lane `after` from now on waits for what is in lane `before`. */
DL_NODISCARD dl_status dl_streams_order(dl_plan *plan, dl_lane before, dl_lane after);

/* An event of the list that a lane waits for; what an instruction records, in its lane's stream. */
DL_NODISCARD dl_status dl_streams_wait(dl_plan *plan, int event, dl_lane lane);
DL_NODISCARD dl_status dl_streams_record(dl_plan *plan, const dl_instruction *instruction);

#endif
