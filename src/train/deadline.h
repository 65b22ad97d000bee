/* A known end of the job's time: training stops early enough to save, by what a step, an evaluation and a
 * save have cost so far. Rank 0 decides; the others hear of it in the control word. */
#ifndef DLTRAIN_TRAIN_DEADLINE_H
#define DLTRAIN_TRAIN_DEADLINE_H

#include "base/status.h"

#include <stdint.h>

enum { DL_DEADLINE_BYTES = 96 };

typedef struct dl_deadline {
    bool known;
    double at;                    /* clock: everything must have ended */
    char text[DL_DEADLINE_BYTES]; /* "the time limit 30m is near" */
    double step;                  /* seconds of a long step; long ago counts less */
    double evaluation;            /* of the last one, 0: there was none */
    int64_t evaluation_steps;     /* batches of one; none takes longer than a step */
} dl_deadline;

/* The earlier end of two: `limit` after the clock time `began` ("90", "90s", "30m", "1.5h", "1d", "H:MM:SS";
 * NULL: none), and `job_end` in seconds since 1970, as in SLURM_JOB_END_TIME (NULL: none). DL_ERR_USAGE for a
 * limit that is not understood; a job_end that is not, or has passed, is another job's: it is warned of and
 * ignored. */
DL_NODISCARD dl_status dl_deadline_set(const char *limit, double began, const char *job_end,
                                       dl_deadline *out);

/* A step has taken so many seconds, with its wait for data. */
void dl_deadline_note_step(dl_deadline *deadline, double seconds);

/* Before a step, at clock time `now`: must it be the last one? `save`: seconds until a checkpoint is there;
 * `evaluates`: this step or the next one is followed by an evaluation. */
bool dl_deadline_is_near(const dl_deadline *deadline, double now, double save, bool evaluates);

#endif
