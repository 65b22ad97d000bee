/* When checkpoints are begun: by steps, epochs and minutes (config.checkpoint), with the best epoch so far,
 * and at the end of training. How they are written is the saver's (saver.h). */
#ifndef DLTRAIN_TRAIN_AUTOSAVE_H
#define DLTRAIN_TRAIN_AUTOSAVE_H

#include "train/saver.h"
#include "train/trainer_state.h"

typedef struct dl_autosave {
    const dl_session *session;
    dl_saver *saver; /* NULL: nothing is saved */
    bool soon;       /* one is due at once: the job's time ends, and what a checkpoint takes must be known */
    bool wanted;     /* a checkpoint is due, but one is under way still */
    bool waits_for_steps; /* it can begin, but for later steps that the device has been given */
    double begun_at;      /* clock: the last checkpoint was begun */
} dl_autosave;

/* The minutes between two checkpoints count from here; `soon`: one is due at once. Session and saver are
 * borrowed. Not collective. */
dl_autosave dl_autosave_start(const dl_session *session, dl_saver *saver, bool soon);

/* Puts this rank's word about checkpoints into the control word of the coming step. Rank 0's clock decides
 * what is due by time; the others hear of it there. */
void dl_autosave_ask(const dl_autosave *autosave, dl_step_block *block);

/* After each step, with what all ranks have agreed on: goes on with the save under way, begins one of `state`
 * when one is due and that is what the device's memory holds: `settled`, no later step has been given to it.
 * Collective over the world. */
DL_NODISCARD dl_status dl_autosave_step(dl_autosave *autosave, const dl_trainer_state *state,
                                        const int32_t control[DL_N_CONTROLS], bool settled);

/* Does a checkpoint come behind step `step`, so that the next one must not be given to the device yet? */
bool dl_autosave_comes_behind(const dl_autosave *autosave, int64_t step);

/* Seconds that saving takes from now on: what is under way, and a checkpoint after it. 0: nothing is saved.
 */
double dl_autosave_cost(const dl_autosave *autosave);

/* At the end: waits for what is under way and, if `last`, saves `state`, whatever is due, unless it is saved,
 * no step was made, or what was under way was given up. *saved: there is a checkpoint of it. Collective over
 * the world. */
DL_NODISCARD dl_status dl_autosave_end(dl_autosave *autosave, const dl_trainer_state *state, bool last,
                                       bool *saved);

#endif
