/* What training is, from one step to the next, as named tensors: parameters, the optimizer's slots, moving
 * statistics, averages, what LSTMs carry. This is what a checkpoint holds (src/train/CHECKPOINT.md) and what
 * resuming brings back, on any grid: each rank says which box of each whole tensor it has, and where. */
#ifndef DLTRAIN_TRAIN_STATE_H
#define DLTRAIN_TRAIN_STATE_H

#include "train/checkpoint/checkpoint.h"
#include "train/session.h"

/* A tensor of the session, as far as this rank has it. */
typedef struct dl_state_tensor {
    dl_checkpoint_slice box; /* what of the tensor is here; `bytes` is not set */
    char *device;            /* where it lies, row-major */
    /* Other ranks have the same box: they are `n_holders`, this one is number `holder`. */
    int n_holders, holder;
} dl_state_tensor;

typedef struct dl_state {
    dl_pool *pool; /* names */
    int n;
    dl_state_tensor *tensor;
    int64_t capacity;
} dl_state;

/* Lists the tensors of a session whose plan is finished; the same names in the same order on every rank. Not
 * collective. Release with dl_state_destroy. */
DL_NODISCARD dl_status dl_state_create(const dl_session *session, dl_state **out);
void dl_state_destroy(dl_state **state); /* NULL-safe */

/* The slices that this rank writes, so that all ranks together write each element once: a large tensor that
 * several have is divided by rows, small ones go round. slices[] and device[] have room for state->n; `bytes`
 * are not set. Returns their number. */
int dl_state_slices(const dl_state *state, dl_checkpoint_slice *slices, char **device);

/* Bytes of a slice. */
size_t dl_state_slice_bytes(const dl_checkpoint_slice *slice);

/* Brings everything back from a checkpoint: each rank reads its boxes. DL_ERR_USAGE names tensors that are
 * missing, too many, or of another shape; DL_ERR_CORRUPT what is damaged. The session's tensors are written
 * only when all of them fit. Not collective. */
DL_NODISCARD dl_status dl_state_load(const dl_state *state, dl_session *session, dl_checkpoint *checkpoint);

#endif
