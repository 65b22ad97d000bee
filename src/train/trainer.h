/* Training: the loop over steps, nothing else. */
#ifndef DLTRAIN_TRAIN_TRAINER_H
#define DLTRAIN_TRAIN_TRAINER_H

#include "base/digest.h"
#include "train/best.h"
#include "train/console.h"
#include "train/deadline.h"
#include "train/run_dir.h"
#include "train/saver.h"
#include "train/trainer_state.h"

/* Beside the numbers of signals, in DL_CONTROL_STOP and dl_trainer_result.stop. */
enum { DL_STOP_AT_TIME = 128, DL_STOP_UNSAVED = 256 };

typedef struct dl_trainer_options {
    dl_session *session;
    dl_run_dir *run;
    dl_console *console;            /* NULL on ranks other than 0 */
    dl_metrics *metrics;            /* likewise */
    dl_saver *saver;                /* NULL: nothing is saved but weights */
    const dl_trainer_state *resume; /* the session's tensors are of a run that stood here; NULL: a new one */
    /* A signal that asks to stop, 0: none; with DL_STOP_UNSAVED a second one that will not wait for a
     * checkpoint. May be NULL. */
    int (*pending_signal)(void);
    /* Called on all ranks when some rank was asked to stop; more than once. May be NULL. */
    void (*note_stop)(void);
    dl_deadline *deadline;     /* NULL: the job's time is not known to end; rank 0's counts */
    dl_injections *injections; /* NULL: nothing is to fail on purpose */
    bool profile;              /* print where the time of a step goes */
} dl_trainer_options;

typedef struct dl_trainer_result {
    int64_t epoch, step, samples;
    int stop;           /* why it stopped: a signal's number or DL_STOP_AT_TIME; 0: it finished */
    bool unsaved;       /* and a second signal would not wait for a checkpoint */
    int64_t checkpoint; /* step of the newest one, 0: there is none */
    bool saved;         /* the newest step is in a checkpoint */
    int64_t skipped;    /* steps whose gradients were not finite */
    int64_t overflows;  /* of them, in this run, those where the loss scale was too large */
    bool early;         /* it ended before its epochs were over: train.early_stopping */
    dl_best best;       /* whose weights are in best.h5; epoch 0: none */
    dl_score test;      /* of the final weights, when it finished */
    char weights[DL_DIGEST_TEXT_BYTES];
    double seconds, samples_per_s, data_wait;
} dl_trainer_result;

/* Trains from the session's parameters to the end, or to a signal. Collective over the world. Writes
 * weights.h5 at every epoch's end and at the end, best.h5 at the end of each epoch that is the best so far.
 * Checkpoints are begun as config.checkpoint says, at the end, and when a signal or the end of the job's time
 * stops the run: status.json says so before that last one is written, for it may be all the time there is.
 * With train.ema_decay evaluations, best.h5 and ema.h5 (beside each weights.h5) are of the averaged weights.
 * A step whose gradients are not finite on some rank changes nothing: DL_ERR_DIVERGED on all ranks names it
 * and the first bad layer, or with train.on_nan: skip training goes on with the next batch. */
DL_NODISCARD dl_status dl_train(const dl_trainer_options *options, dl_trainer_result *result);

#endif
