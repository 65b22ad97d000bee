/* Where training went wrong. */
#ifndef DLTRAIN_TRAIN_DIVERGED_H
#define DLTRAIN_TRAIN_DIVERGED_H

#include "train/session.h"

enum { DL_DIVERGED_BYTES = 288 };

/* After a step whose gradients were not finite (its update was skipped everywhere): runs the step again on
 * each rank up to the first instruction that gives a NaN or Inf and agrees over ranks on the first:
 * operation, layer and rank, as text into `where`, the same on all ranks. Changes nothing that is kept from
 * step to step. Collective over the world. */
DL_NODISCARD dl_status dl_diverged_find(dl_session *session, int program, const dl_host_batch *batch,
                                        char where[DL_DIVERGED_BYTES]);

/* DL_ERR_DIVERGED with step and place; `skipped` steps just before it were skipped. */
DL_NODISCARD dl_status dl_diverged_stop(const dl_session *session, int64_t step, int64_t skipped,
                                        const char *where);

#endif
