/* The run directory: config.yaml, log.txt, metrics.jsonl, status.json, lock, audit.rankRRRRR.jsonl,
 * weights.h5, and as asked for ema.h5, best.h5.
 *
 * Rank 0 creates it; the other ranks join it afterwards (the caller sees to the order) and write audit files
 * only. An earlier run in the directory is moved to NAME.1, .2, ...; an existing folder that is neither empty
 * nor a run is refused, for nothing of the user's may be moved. A run is known by its status.json or
 * metrics.jsonl. */
#ifndef DLTRAIN_TRAIN_RUN_DIR_H
#define DLTRAIN_TRAIN_RUN_DIR_H

#include "train/run_status.h"

#include <stdint.h>

typedef struct dl_run_dir dl_run_dir;

/* Rank 0: makes the directory `path` (and its parents, mode 0750), writes config.yaml from `config_text`, a
 * first status.json (running, step 0), opens log.txt, metrics.jsonl and, with audit, this rank's audit file.
 * The directory is locked while the run lasts (train/run_lock.h) and made private: mode 0750 at most. A
 * second run in it is DL_ERR_USAGE, as is a folder that is not a run. Release with dl_run_dir_close. */
DL_NODISCARD dl_status dl_run_dir_create(const char *path, const char *config_text, bool audit,
                                         dl_run_dir **out);

/* Rank 0: opens and locks the directory of a run that is to go on, and changes nothing in it but its mode.
 * Release with dl_run_dir_close. */
DL_NODISCARD dl_status dl_run_dir_open(const char *path, dl_run_dir **out);

/* Rank 0: the run in an opened directory goes on after `step`: replaces config.yaml, and takes out of
 * metrics.jsonl and the audit files what tells of later steps (dl_resume_cut_lines). */
DL_NODISCARD dl_status dl_run_dir_continue(dl_run_dir *run, const char *config_text, bool audit, int64_t step,
                                           int64_t epochs);

/* Other ranks, after rank 0's dl_run_dir_create or _continue returned: opens the audit file when asked. */
DL_NODISCARD dl_status dl_run_dir_join(const char *path, int rank, bool audit, dl_run_dir **out);

void dl_run_dir_close(dl_run_dir **run); /* NULL-safe */

const char *dl_run_dir_path(const dl_run_dir *run);

/* Where the earlier run was moved to; NULL when there was none. The caller says it. */
const char *dl_run_dir_moved_to(const dl_run_dir *run);

/* Open for appending, owned by the run directory; -1 on ranks that joined. */
int dl_run_dir_log_fd(const dl_run_dir *run);
int dl_run_dir_metrics_fd(const dl_run_dir *run);

/* Where the run in directory `path` keeps its checkpoints, into out. */
DL_NODISCARD dl_status dl_run_dir_checkpoints(const char *path, char *out, size_t n_bytes);

/* The path of a file in the directory ("weights.h5") into out. */
DL_NODISCARD dl_status dl_run_dir_file(const dl_run_dir *run, const char *name, char *out, size_t n_bytes);

/* Its status.json, which is rank 0's: others write it only for a rank 0 that is lost. */
dl_run_status *dl_run_dir_status(const dl_run_dir *run);

/* Appends which samples this rank computed in a step; does nothing without audit. Steps and epochs count
 * from 1. */
DL_NODISCARD dl_status dl_run_dir_audit(dl_run_dir *run, const char *split, int64_t epoch, int64_t step,
                                        const int64_t *ids, int64_t n_ids);

#endif
