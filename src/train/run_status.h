/* status.json of a run: {"state", "exit", "step", "message"}, for scripts; replaced atomically. Rank 0's. */
#ifndef DLTRAIN_TRAIN_RUN_STATUS_H
#define DLTRAIN_TRAIN_RUN_STATUS_H

#include "base/status.h"

#include <stdint.h>

typedef enum dl_run_state {
    DL_RUN_RUNNING,
    DL_RUN_DONE,
    DL_RUN_STOPPED,
    DL_RUN_FAILED,
    DL_N_RUN_STATES
} dl_run_state;

typedef struct dl_run_status dl_run_status;

/* Of the run in the directory `path`; writes nothing yet. Release with dl_run_status_destroy. */
DL_NODISCARD dl_status dl_run_status_create(const char *path, dl_run_status **out);
void dl_run_status_destroy(dl_run_status **status); /* NULL-safe */

/* Replaces the file. `exit_code` is the program's exit code, 0 while running. On a full disk the file is
 * overwritten in place. */
DL_NODISCARD dl_status dl_run_status_write(dl_run_status *status, dl_run_state state, int exit_code,
                                           int64_t step, const char *message);

/* Any thread: the run, which has not said how it ends, may be ended from outside any moment: says that it was
 * stopped, with this exit code and the step noted last. What is said of a run that is running has no effect
 * from then on, any other state has. */
DL_NODISCARD dl_status dl_run_status_write_ahead(dl_run_status *status, int exit_code, const char *message);

/* The run has come to this step; writes nothing. */
void dl_run_status_note_step(dl_run_status *status, int64_t step);

/* From now on the file has a key "inject" with this text: the run is a rehearsal (inject.h). */
DL_NODISCARD dl_status dl_run_status_set_inject(dl_run_status *status, const char *what);

/* The step with which the run in the directory `path` has come to its end, and said so; -1: it has not. */
int64_t dl_run_status_done(const char *path);

#endif
