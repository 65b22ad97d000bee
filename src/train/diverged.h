/* Where training went wrong. */
#ifndef DLTRAIN_TRAIN_DIVERGED_H
#define DLTRAIN_TRAIN_DIVERGED_H

#include "train/session.h"

/* After a step whose gradients were not finite (its update was skipped everywhere): runs the step again on
 * each rank up to the first instruction that gives a NaN or Inf, agrees over ranks on the first, and returns
 * DL_ERR_DIVERGED with step, layer and rank, the same on all ranks. Collective over the world. */
DL_NODISCARD dl_status dl_report_divergence(dl_session *session, int program, const dl_host_batch *batch,
                                            int64_t step);

#endif
