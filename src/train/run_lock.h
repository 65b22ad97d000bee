/* The lock that keeps two jobs out of one run directory: flock on RUN/lock, which names its holder. */
#ifndef DLTRAIN_TRAIN_RUN_LOCK_H
#define DLTRAIN_TRAIN_RUN_LOCK_H

#include "base/status.h"

typedef struct dl_run_lock dl_run_lock;

/* Takes the lock of the run directory `path`, which must exist, and writes host and process into RUN/lock.
 * DL_ERR_USAGE names the holder when another process has it. The system releases it when the process ends,
 * however it ends. File systems without locks do without. Rank 0 only. Release with dl_run_lock_release. */
DL_NODISCARD dl_status dl_run_lock_take(const char *path, dl_run_lock **out);
void dl_run_lock_release(dl_run_lock **lock); /* NULL-safe */

#endif
