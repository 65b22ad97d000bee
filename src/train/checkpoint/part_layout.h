/* What a part file looks like: the items of a dl_checkpoint_layout. */
#ifndef DLTRAIN_TRAIN_CHECKPOINT_PART_LAYOUT_H
#define DLTRAIN_TRAIN_CHECKPOINT_PART_LAYOUT_H

#include "train/checkpoint/checkpoint_private.h"

/* A slice and its place in the file. */
typedef struct dl_checkpoint_placed {
    const dl_checkpoint_slice *slice;
    char path[DL_CHECKPOINT_NAME_BYTES]; /* of its dataset */
    int index;                           /* in the HDF5 layout */
    int64_t offset, n_bytes;             /* in the file; n_bytes may be 0 */
} dl_checkpoint_placed;

struct dl_checkpoint_layout {
    int rank, n;
    char name[DL_CHECKPOINT_PART_NAME_BYTES];
    dl_checkpoint_slice *slice; /* [n], copies; their bytes are the caller's */
    dl_checkpoint_placed *item; /* [n], by place in the file */
    dl_h5_writer *file;         /* the empty file, in memory; NULL before the first save */
    int64_t n_bytes;
    json_t *tensors; /* of the part's description */
    char *buffer;    /* a block that is not all of one slice */
};

/* Lays out the part, unless an earlier save did, and makes it that of this step. `path`: for messages. */
DL_NODISCARD dl_status dl_checkpoint_lay_out(dl_checkpoint_layout *layout, int64_t step, const char *path);

#endif
