/* Rehearsals: failures that somebody asks for, to see what becomes of a job. Nothing of this runs without
 * `--inject`, which the environment must allow by DLTRAIN_INJECT=1, so that no script does it by accident.
 *
 *     KIND@rank=R,step=N      before step N, on rank R alone:
 *     kill                    the process ends at once, as by kill -9
 *     stop                    it stands still, as by kill -STOP
 *     delay=SECONDS           it comes that much later
 *     nan                     it finds a gradient that is not finite
 *     enospc                  its next checkpoint finds the disk full */
#ifndef DLTRAIN_TRAIN_INJECT_H
#define DLTRAIN_TRAIN_INJECT_H

#include "base/status.h"
#include "kernels/common/blocks.h"

enum { DL_MAX_INJECTIONS = 16, DL_INJECT_BYTES = 96 };

typedef enum dl_inject_kind {
    DL_INJECT_KILL,
    DL_INJECT_STOP,
    DL_INJECT_DELAY,
    DL_INJECT_NAN,
    DL_INJECT_ENOSPC,
    DL_N_INJECT_KINDS
} dl_inject_kind;

typedef struct dl_injection {
    dl_inject_kind kind;
    int rank;
    int64_t step;
    double seconds;             /* of a delay */
    char text[DL_INJECT_BYTES]; /* as it was asked for */
} dl_injection;

typedef struct dl_injections {
    int rank; /* this one */
    int n;
    dl_injection each[DL_MAX_INJECTIONS];
    bool disk_is_full; /* a checkpoint is still to find it so */
} dl_injections;

/* Reads the words behind --inject, for a job of n_ranks. The same on all ranks. DL_ERR_USAGE without
 * DLTRAIN_INJECT=1 and for a word that is none of the above. */
DL_NODISCARD dl_status dl_inject_parse(const char *const *words, int n, int rank, int n_ranks,
                                       dl_injections *out);

/* Before step block->step: does what is due on this rank; a value that is not finite goes into the control
 * word. */
void dl_inject_step(dl_injections *injections, dl_step_block *block);

/* The rank whose gradients were made not finite in this step, -1: none. The same on all ranks. */
int dl_inject_nan_rank(const dl_injections *injections, int64_t step);

/* Before a checkpoint is written: is the disk to be full? Once for each enospc. */
bool dl_inject_full_disk(dl_injections *injections);

#endif
