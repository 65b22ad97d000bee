/* Saving beside training: between two steps the state is copied into memory of its own, a thread of each rank
 * writes it while training goes on, and when all ranks' parts are on disk rank 0's thread commits the
 * checkpoint. When older ones may go then, each rank's thread reads its part again, and rank 0's removes
 * them.
 *
 * How far each rank is travels in the control word of every step (DL_CONTROL_PART, reduced by maximum), so
 * all ranks take the next turn at the same step and nobody waits. */
#ifndef DLTRAIN_TRAIN_SAVER_H
#define DLTRAIN_TRAIN_SAVER_H

#include "train/console.h"
#include "train/inject.h"
#include "train/session.h"

#include <jansson.h>
#include <stdatomic.h>

typedef struct dl_saver dl_saver;

typedef struct dl_saver_options {
    const dl_session *session;
    const char *checkpoints;   /* RUN/checkpoints; copied */
    const char *config_digest; /* copied */
    dl_console *console;       /* NULL on ranks other than 0 */
    dl_injections *injections; /* NULL: nothing is to fail on purpose */
    int metrics;               /* rank 0: metrics.jsonl, which is brought to disk before a commit; -1: none */
    const atomic_bool *stop;   /* set: what is under way is given up; may be NULL, may differ between ranks */
} dl_saver_options;

/* Makes room for a copy of the state, and touches it. Not collective. */
DL_NODISCARD dl_status dl_saver_create(const dl_saver_options *options, dl_saver **out);
/* A save that is under way is left to itself until its thread has ended. Not collective. */
void dl_saver_destroy(dl_saver **saver); /* NULL-safe */

/* What this rank puts into the step's control word as DL_CONTROL_PART. */
int dl_saver_word(dl_saver *saver);

/* Is a save under way? The same on all ranks. */
bool dl_saver_is_busy(const dl_saver *saver);

/* Where training stands: what a checkpoint says of itself. */
typedef struct dl_saver_position {
    int64_t step, epoch, samples;
    const json_t *trainer; /* the trainer's own state (trainer_state.h), rank 0's counts */
    bool best;             /* the best epoch so far ended here: once committed it is pinned */
} dl_saver_position;

/* Begins a save of the state after step position->step; nothing may be under way. All ranks call it after the
 * same step. */
DL_NODISCARD dl_status dl_saver_begin(dl_saver *saver, const dl_saver_position *position);

/* After each step, with the control word's DL_CONTROL_PART: goes on with what is under way. Collective when
 * that is what all ranks wait for. A failed save is told once and does not fail the call, unless
 * checkpoint.on_error is `stop`; one that was given up by options.stop never does. */
DL_NODISCARD dl_status dl_saver_step(dl_saver *saver, int word);

/* What is under way is to be over soon, at the cost of the steps beside it. Until the next save begins. Not
 * collective. */
void dl_saver_hurry(dl_saver *saver);

/* Waits until nothing is under way any more. Collective over the world. */
DL_NODISCARD dl_status dl_saver_finish(dl_saver *saver);

/* Was a save given up because options.stop was set on some rank? The same on all ranks; nothing more is to be
 * saved then. */
bool dl_saver_gave_up(const dl_saver *saver);

/* Seconds until a checkpoint that is begun now, and waited for, will be there, as the last one took, or by
 * its size. */
double dl_saver_cost(const dl_saver *saver);

/* The step of the newest checkpoint that was committed here, 0: none. */
int64_t dl_saver_committed(const dl_saver *saver);

/* Rank 0, before anything is saved: the checkpoint of this step, of the best epoch so far, is not deleted
 * until one of a better epoch is committed. 0: there is none. */
void dl_saver_pin(dl_saver *saver, int64_t step);

/* The step of the newest checkpoint is told to a saver of a resumed run. */
void dl_saver_set_committed(dl_saver *saver, int64_t step);

#endif
