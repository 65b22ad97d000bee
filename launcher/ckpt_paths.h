/* What the ckpt commands share: PATH is a run, its folder of checkpoints, or one checkpoint. */
#ifndef DLTRAIN_LAUNCHER_CKPT_PATHS_H
#define DLTRAIN_LAUNCHER_CKPT_PATHS_H

#include "launcher/command.h"
#include "train/checkpoint/checkpoint.h"

#include <limits.h>

typedef struct dl_ckpt_paths {
    bool single;           /* PATH is one checkpoint */
    char folder[PATH_MAX]; /* of the checkpoints, or the checkpoint itself */
    char run[PATH_MAX];    /* the run directory it belongs to, "" when there is none */
    int n;                 /* checkpoints; 1 for a single one */
    int64_t *step;         /* [n], newest first; NULL for a single one */
} dl_ckpt_paths;

/* Finds what PATH names. DL_ERR_USAGE when it is nothing of these; a run without checkpoints is fine. Release
 * with dl_ckpt_paths_free in any case. */
DL_NODISCARD dl_status dl_ckpt_paths_find(const char *path, dl_ckpt_paths *out);
void dl_ckpt_paths_free(dl_ckpt_paths *paths);

/* Path of checkpoint number i. */
DL_NODISCARD dl_status dl_ckpt_paths_at(const dl_ckpt_paths *paths, int i, char out[PATH_MAX]);

/* What a command that takes one PATH does: finds it, works on it, releases it. */
DL_NODISCARD dl_status dl_ckpt_paths_do(const dl_arguments *arguments,
                                        dl_status (*work)(const dl_arguments *arguments,
                                                          const dl_ckpt_paths *paths));

/* Opens a checkpoint: of a run, or of a folder of checkpoints, the newest. */
DL_NODISCARD dl_status dl_ckpt_paths_open(const char *path, dl_checkpoint **out);

/* Prints a JSON object as one line and releases it; NULL is DL_ERR_MEMORY. */
DL_NODISCARD dl_status dl_ckpt_print_json(json_t *object);

/* DL_ERR_IO when printf said that stdout cannot be written. */
DL_NODISCARD dl_status dl_ckpt_printed(int result);

#endif
