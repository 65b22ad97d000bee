/* What status.json says when mpirun ends a job amid a step, or an evaluation, that takes longer than the
 * second it leaves: a thread of rank 0 that writes it ahead when training does not. */
#ifndef DLTRAIN_LAUNCHER_LAST_WORD_H
#define DLTRAIN_LAUNCHER_LAST_WORD_H

#include "train/run_status.h"

typedef struct dl_last_word dl_last_word;

/* Rank 0, with signals caught (signals.h) and mpirun's watched (lost_peer.h). `status` is borrowed. */
DL_NODISCARD dl_status dl_last_word_create(dl_run_status *status, dl_last_word **out);
void dl_last_word_destroy(dl_last_word **word); /* NULL-safe */

#endif
