/* Between the files of the trainer (trainer*.c). */
#ifndef DLTRAIN_TRAIN_TRAINER_PARTS_H
#define DLTRAIN_TRAIN_TRAINER_PARTS_H

#include "train/autosave.h"
#include "train/batches.h"
#include "train/profile.h"
#include "train/trainer.h"

/* A step that the device has been given and whose outcome the host has not read. */
typedef struct dl_flight_step {
    int64_t step, run; /* its number in the plan's runs */
    const dl_batch *batch;
    int program;
    dl_step_block block;
} dl_flight_step;

enum { DL_MAX_FLIGHT = 4 };

/* What a run of the loop carries from step to step. Figures are of the steps that have been read. */
typedef struct dl_trainer {
    const dl_trainer_options *options;
    dl_session *session;
    dl_trainer_result *result;
    dl_batches *batches;
    dl_step_profile *profile;
    int n_flight, ahead; /* steps in flight; of them, those that may be given before the first is read */
    dl_flight_step flight[DL_MAX_FLIGHT];
    int stop_word;                 /* the largest that any step brought */
    double began, epoch_began;     /* clock */
    double read_at;                /* clock: the last step was read */
    double waited, epoch_waited;   /* seconds waiting for data */
    double shown_at, shown_waited; /* when the last step line was written */
    int64_t shown_step, shown_samples;
    double epoch_sums[DL_N_TOTALS];
    int64_t epoch_samples, samples; /* all ranks; those of skipped steps do not count */
    int64_t skipped_in_row;
    double evaluated; /* seconds spent evaluating, not training */
    bool open;        /* an epoch has ended with this step, and was not evaluated yet */
    dl_score valid;
    int64_t valid_step; /* which `valid` is of; 0: of none */
    dl_best stopping;   /* what early stopping watches */
    dl_autosave autosave;
    /* What a checkpoint of this step holds. Amid an epoch that is the state before figures of a part of it
     * were judged and shown, because training ends here: a longer one would not have ended. */
    dl_trainer_state kept;
} dl_trainer;

static inline int64_t dl_trainer_epoch_of(const dl_trainer *t, int64_t step) {
    return (step - 1) / t->session->steps_per_epoch + 1;
}

/* --- steps (trainer_steps.c) --- */

/* How many steps a device of queues is given ahead; 0 on others and while it is profiled. */
int dl_trainer_ahead(const dl_trainer *t);

/* What this rank wants in DL_CONTROL_STOP: must training end with this step, or amid this evaluation? 0: no.
 * The largest word of all ranks counts. `evaluates`: an evaluation follows this step or the next. */
int dl_trainer_stop_word(const dl_trainer *t, bool evaluates);

/* Gives the device the next step. Collective over the ranks. */
DL_NODISCARD dl_status dl_trainer_launch(dl_trainer *t);

/* Reads the first step in flight, waiting for it, counts and shows it. A step that had to be skipped has
 * changed nothing, and neither have those in flight behind it: they are given anew. Collective over the
 * ranks; `control` is what they have agreed on. */
DL_NODISCARD dl_status dl_trainer_read(dl_trainer *t, int32_t control[DL_N_CONTROLS]);

/* --- the end of an epoch (trainer_epoch.c); all ranks call --- */

/* weights.h5 as trained; ema.h5 and, with `best`, best.h5 as evaluated. */
DL_NODISCARD dl_status dl_trainer_write_weights(dl_trainer *t, int64_t step, bool best);

/* The word in DL_CONTROL_STOP that all ranks have agreed on. */
void dl_trainer_take_stop(dl_trainer *t, int word);

/* Without score->present when there is no such split, or training has to stop before its end (t->stop_word).
 */
DL_NODISCARD dl_status dl_trainer_evaluate(dl_trainer *t, dl_split split, int64_t epoch, dl_score *score);

/* Evaluates, judges, writes weights and lines of the epoch that ends with this step. When training has to
 * stop amid the evaluation (t->stop_word) nothing has changed, and t->open stays. */
DL_NODISCARD dl_status dl_trainer_end_epoch(dl_trainer *t, int64_t step);

/* --- lines (trainer_show.c) --- */

/* The line of a step, where one is due. A step that was skipped for an overflow is always written down. */
DL_NODISCARD dl_status dl_trainer_show(dl_trainer *t, const dl_flight_step *step, const dl_outcome *outcome,
                                       bool skipped);

#endif
