/* A copy of what this rank saves: training goes on while it is written. */
#ifndef DLTRAIN_TRAIN_SNAPSHOT_H
#define DLTRAIN_TRAIN_SNAPSHOT_H

#include "train/state.h"

typedef struct dl_snapshot {
    dl_device *device;
    dl_state *state;
    int n_slices;
    dl_checkpoint_slice *slice; /* [n_slices]: this rank's share of the state; `bytes` lie in `copy` */
    char **source;              /* [n_slices]: where on the device they come from */
    char *copy;
    size_t n_bytes; /* of the copy */
} dl_snapshot;

/* Bytes of the copy on a rank, known before there is one: all ranks' copies together hold the state once. */
size_t dl_snapshot_room(const dl_session *session);

/* Makes room for the copy, and touches it. The session outlives it. Not collective. */
DL_NODISCARD dl_status dl_snapshot_create(const dl_session *session, dl_snapshot **out);
void dl_snapshot_destroy(dl_snapshot **snapshot); /* NULL-safe */

/* Copies the state as it is between two steps. */
DL_NODISCARD dl_status dl_snapshot_take(dl_snapshot *snapshot);

/* DL_ERR_DIVERGED names the first tensor of the copy with a NaN or an infinite value. In a thread that gives
 * way it rests on the way. */
DL_NODISCARD dl_status dl_snapshot_check_finite(const dl_snapshot *snapshot);

#endif
