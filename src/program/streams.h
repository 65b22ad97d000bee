/* The lanes of a plan as streams of its device, and the events of its programs. On backends without streams
 * all of this is empty and nothing here is called in a step. Internal to src/program. */
#ifndef DLTRAIN_PROGRAM_STREAMS_H
#define DLTRAIN_PROGRAM_STREAMS_H

#include "program/program.h"

/* A stream for each lane and the events of the programs, once they are sealed. */
DL_NODISCARD dl_status dl_streams_create(dl_plan *plan);
/* Waits for what is in them. */
void dl_streams_destroy(dl_plan *plan);

/* Before a run: the host waits while more runs than the backend's steps_in_flight are under way; all lanes
 * wait for the run before, whose memory this one uses again. */
DL_NODISCARD dl_status dl_streams_begin(dl_plan *plan);
/* Behind a run: where it ends, on all lanes. */
DL_NODISCARD dl_status dl_streams_end(dl_plan *plan);

/* What an instruction waits for and records, in its lane's stream. */
DL_NODISCARD dl_status dl_streams_wait(dl_plan *plan, const dl_instruction *instruction);
DL_NODISCARD dl_status dl_streams_record(dl_plan *plan, const dl_instruction *instruction);

#endif
