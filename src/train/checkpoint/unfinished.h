/* The folder of a save that is going on: made, marked, committed or removed. */
#ifndef DLTRAIN_TRAIN_CHECKPOINT_UNFINISHED_H
#define DLTRAIN_TRAIN_CHECKPOINT_UNFINISHED_H

#include "train/checkpoint/checkpoint_private.h"

typedef struct dl_checkpoint_folder {
    char parent_path[PATH_MAX], path[PATH_MAX]; /* RUN/checkpoints; the step's folder */
    int parent, fd;
} dl_checkpoint_folder;

/* Makes the folders that are missing and marks the step's as unfinished, durably: no part without the mark.
 * Ranks may do so at the same time. DL_ERR_USAGE when the step is committed, or the folder holds what carries
 * no mark. Call dl_checkpoint_leave in any case. */
DL_NODISCARD dl_status dl_checkpoint_enter(const char *checkpoints, int64_t step, dl_checkpoint_folder *out);

/* Opens a step's folder that exists. */
DL_NODISCARD dl_status dl_checkpoint_enter_existing(const char *checkpoints, int64_t step,
                                                    dl_checkpoint_folder *out);
void dl_checkpoint_leave(dl_checkpoint_folder *folder);

/* True for a folder with the mark and without a manifest. */
bool dl_checkpoint_is_unfinished(int folder);

/* Removes the part of a rank from a folder that is unfinished; the folder stays, for other ranks may be about
 * to create theirs in it. */
void dl_checkpoint_remove_part(const dl_checkpoint_folder *folder, int rank);

/* Removes parts (all of them; that of `rank` if it is not negative) and, when no part is left, the mark and
 * the folder if that is all it held. Only of a folder that is unfinished, in which nobody writes any more.
 * True when the folder is gone. */
bool dl_checkpoint_remove(const dl_checkpoint_folder *folder, int rank);

#endif
