/* Which samples this rank computes in which step: the plan behind the prefetcher. */
#ifndef DLTRAIN_TRAIN_BATCHES_H
#define DLTRAIN_TRAIN_BATCHES_H

#include "train/session.h"

typedef struct dl_batches dl_batches;

/* Starts reading batches ahead: of training (shuffled anew each epoch, but for a text that is read on and on,
 * from step `first_step` on, total_steps in all) or of one pass over a split in order. */
DL_NODISCARD dl_status dl_batches_start_training(dl_session *session, int64_t first_step, dl_batches **out);
DL_NODISCARD dl_status dl_batches_start_pass(dl_session *session, dl_split split, dl_batches **out);
void dl_batches_stop(dl_batches **batches);

/* The next batch of this rank, NULL at the end; batch->global is the step's over all ranks. Hand it back. */
DL_NODISCARD dl_status dl_batches_next(dl_batches *batches, const dl_batch **batch);
void dl_batches_release(dl_batches *batches, const dl_batch *batch);

/* Bytes that batches read ahead and the order of an epoch take. */
size_t dl_batches_bytes(const dl_session *session);

#endif
