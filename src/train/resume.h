/* Resuming: which checkpoint a run goes on from, whether it may with this configuration, and what the files
 * of the run directory keep. */
#ifndef DLTRAIN_TRAIN_RESUME_H
#define DLTRAIN_TRAIN_RESUME_H

#include "train/session.h"
#include "train/trainer_state.h"

enum { DL_CHOICES_BYTES = 16384 }; /* 1000 layers; longer ones are measured again */

typedef struct dl_resume {
    bool found;
    bool elsewhere; /* it does not lie in the run directory: training begins a run of its own with it */
    int64_t step, epoch, samples;
    int64_t newest; /* step of the newest checkpoint of the run directory then, damaged or not; 0: there was
                       none */
    int ranks;      /* that saved it */
    dl_trainer_state trainer;
    char data_digest[129];
    char choices[DL_CHOICES_BYTES]; /* dl_plan_choices of the run, "": none */
    char path[4096];                /* of the checkpoint */
} dl_resume;

typedef struct dl_resume_options {
    const char *run_dir;
    const char *wanted; /* a step, "best", or the path of a checkpoint; NULL: the newest that is whole */
    bool strict;        /* a damaged newest one is an error */
} dl_resume_options;

/* Finds the checkpoint to go on from and reads every byte of it once, each rank its share. Damaged ones are
 * named and passed over. DL_ERR_USAGE when `wanted` is not there, or there is no best epoch yet,
 * DL_ERR_CORRUPT when it is damaged. *out is the same on all ranks. Collective over the world. */
DL_NODISCARD dl_status dl_resume_find(dl_comm *world, const dl_resume_options *options, dl_resume *out);

/* Rank 0, with the run's lock where the run goes on: has nobody else saved in the run directory since?
 * DL_ERR_USAGE otherwise: what was found is no more what to go on from. */
DL_NODISCARD dl_status dl_resume_is_current(const char *run_dir, const dl_resume *resume);

/* The step of the checkpoint of the best epoch so far (config.checkpoint.best), by what the newest one in
 * this folder says of it; 0: no epoch was judged yet, or the best one's is not there. Reads manifests only;
 * damaged ones are passed over. Not collective. */
DL_NODISCARD dl_status dl_resume_best_step(const char *checkpoints, int64_t *step);

/* Rank 0, with the run's lock: checkpoints of later steps than the one that training goes on from are set
 * aside (dl_checkpoint_set_aside): they are of another future, or damaged. Says how many. */
DL_NODISCARD dl_status dl_resume_set_aside(const char *run_dir, int64_t step);

/* Brings the session's tensors back. Collective over the world. */
DL_NODISCARD dl_status dl_resume_load(const dl_resume *resume, dl_session *session);

/* What may differ when a run goes on, beside keys that always may. */
typedef struct dl_resume_freedom {
    bool any_length;           /* train.epochs, train.max_steps: no schedule depends on them */
    const char *const *forced; /* keys, with all below them */
    int n_forced;
} dl_resume_freedom;

/* Compares two printed configurations (dl_config_print). The keys run, checkpoint, parallel, backend,
 * data.path, name, train.on_nan and train.max_skips do not count. DL_ERR_USAGE names the others that differ,
 * up to 8, with both values. */
DL_NODISCARD dl_status dl_resume_compare(const char *before, const char *now,
                                         const dl_resume_freedom *freedom);

/* Rewrites a file of JSON lines (metrics.jsonl, audit files) without those that tell of what comes behind
 * `step`, of the ends of other epochs than the first `epochs` (one may have ended early, with the training,
 * or not been evaluated), or of the end: training goes on from there. A line that was not finished goes, too.
 * Fine when there is no such file. */
DL_NODISCARD dl_status dl_resume_cut_lines(const char *path, int64_t step, int64_t epochs);

#endif
