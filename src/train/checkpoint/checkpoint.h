/* Checkpoints as files: tensors by name, spread over part files of HDF5, and a manifest that makes them a
 * checkpoint. The format is described in src/train/CHECKPOINT.md.
 *
 * This folder knows tensors (name, element type, global shape, slice, bytes) and numbers of ranks; no models,
 * programs, or MPI. The way of a save: each rank writes its part (dl_checkpoint_write_part), the
 * caller brings the parts' descriptions to rank 0, which commits (dl_checkpoint_commit). Until then there is
 * no checkpoint; after a failure of any rank each rank abandons (dl_checkpoint_abandon).
 *
 * `checkpoints` is the folder RUN/checkpoints in all of these. Whoever changes anything in it must hold the
 * lock of the run (train/run_lock.h); readers need none. Every function may be called from any thread, also
 * beside others that use src/io; one dl_checkpoint belongs to one thread at a time.
 *
 * Errors: DL_ERR_IO names the path and, where space was short, the bytes wanted and free; DL_ERR_CORRUPT
 * names file and bytes; DL_ERR_USAGE: there is no such checkpoint, tensor, slice. */
#ifndef DLTRAIN_TRAIN_CHECKPOINT_CHECKPOINT_H
#define DLTRAIN_TRAIN_CHECKPOINT_CHECKPOINT_H

#include "base/tensor.h"
#include "base/text.h"

#include <jansson.h>
#include <stdatomic.h>

enum {
    DL_CHECKPOINT_FORMAT = 1,
    DL_CHECKPOINT_BLOCK_BYTES = 1 << 20, /* what one digest of a block is of */
    DL_CHECKPOINT_NAME_BYTES = 256,      /* of a tensor's name, with the terminator */
    DL_CHECKPOINT_MAX_RANKS = 65536
};

/* --- saving --- */

/* A box of a tensor that one rank writes: `shape` elements from `offset` on, of a tensor of shape `whole`. */
typedef struct dl_checkpoint_slice {
    const char *name; /* "/parameters/dense_1/weight": begins with '/', no empty component, none of dots */
    dl_dtype dtype;
    dl_shape whole;
    int64_t offset[DL_MAX_DIMS]; /* of the slice's first element, in each of the tensor's dimensions */
    dl_shape shape;              /* as many dimensions as `whole` */
    const void *bytes;           /* row-major, no gaps */
} dl_checkpoint_slice;

/* What a rank's part looks like in all saves of a run: names, types and boxes stay, the bytes change. */
typedef struct dl_checkpoint_layout dl_checkpoint_layout;

/* Any rank: takes note of what its part holds; the first save lays it out. A tensor may have several slices
 * in a part, and a part none at all. What the slices say is copied; their bytes are looked at by
 * dl_checkpoint_write_part, and names and bytes must live as long as the layout. Not collective. Release with
 * dl_checkpoint_layout_destroy. */
DL_NODISCARD dl_status dl_checkpoint_layout_create(int rank, const dl_checkpoint_slice *slices, int n_slices,
                                                   dl_checkpoint_layout **out);
void dl_checkpoint_layout_destroy(dl_checkpoint_layout **layout); /* NULL-safe */

/* Any rank: writes its part of the checkpoint of `step`, from memory to disk (fsync of file and folder); the
 * slices' bytes must not change until the call returns. The folders are made when they are missing. *part
 * becomes the part's description, one line of text for rank 0; release with dl_text_free. `stop` (may be
 * NULL) is looked at before each 64 KiB; when it is set the call returns DL_INTERRUPTED. After a
 * failure this rank's part is gone; the folder stays until all ranks abandon. Not collective; blocks the
 * calling thread only, one at a time for a layout. DL_ERR_USAGE when the step is committed already. */
DL_NODISCARD dl_status dl_checkpoint_write_part(const char *checkpoints, int64_t step,
                                                dl_checkpoint_layout *layout, const atomic_bool *stop,
                                                dl_text *part);

/* What the manifest says beside files and tensors. */
typedef struct dl_checkpoint_about {
    int64_t step, epoch, samples;
    int ranks;
    const char *config_digest, *data_digest; /* printable, up to 128 bytes; "" when there is none */
    const json_t *versions;                  /* object of strings; NULL: none */
    const json_t *state; /* any object: counters, best figures, metrics, ...; NULL: empty. Not for tensors. */
} dl_checkpoint_about;

/* Rank 0, after all ranks' dl_checkpoint_write_part returned DL_OK: makes them a checkpoint.
 * part[about->ranks]: the descriptions, in any order. DL_ERR_INTERNAL when some tensor is not covered exactly
 * once by the slices. When it returns DL_OK the checkpoint is on disk; after a failure there is none of this
 * step (or a whole one, where the disk refuses to take back the last rename). */
DL_NODISCARD dl_status dl_checkpoint_commit(const char *checkpoints, const dl_checkpoint_about *about,
                                            const char *const *part);

/* Each rank, after a failed save (its own or another rank's), when no rank writes any more: removes what this
 * rank wrote for a step that is not committed, and the folder with the last part. Never fails: what cannot be
 * removed is removed by dl_checkpoint_clean. */
void dl_checkpoint_abandon(const char *checkpoints, int64_t step, int rank);

/* --- the folder --- */

/* Steps of the committed checkpoints, newest first, into *steps (release with dl_free). Only names are looked
 * at: a step may turn out to be damaged. *n = 0 when the folder is missing. */
DL_NODISCARD dl_status dl_checkpoint_scan(const char *checkpoints, int64_t **steps, int *n);

/* Path of a step's folder, "CHECKPOINTS/step-00001200", into out[n_bytes]. */
DL_NODISCARD dl_status dl_checkpoint_path(const char *checkpoints, int64_t step, char *out, size_t n_bytes);

/* Rank 0, before anything is saved: removes what earlier jobs began and did not finish: folders that carry
 * the mark of an unfinished save and no manifest; in them, files named as ours. *n_removed: folders. */
DL_NODISCARD dl_status dl_checkpoint_clean(const char *checkpoints, int *n_removed);

/* Which checkpoints are not to be deleted. */
typedef struct dl_checkpoint_keep {
    int newest;            /* so many, at least 1 */
    const int64_t *pinned; /* and those of the steps pinned[n_pinned] */
    int n_pinned;
    int64_t read_again; /* the newest, when dl_checkpoint_read_again was called for all its parts; or 0 */
} dl_checkpoint_keep;

/* Rank 0: is there any that dl_checkpoint_prune would delete, by the names? */
DL_NODISCARD dl_status dl_checkpoint_prunes(const char *checkpoints, const dl_checkpoint_keep *keep,
                                            bool *out);

/* Any rank, when its part is committed: reads it again, from the disk and past what the system remembers of
 * it where it can be told to, and compares every block with `part`, the part's description. DL_ERR_CORRUPT
 * names the damaged bytes. `stop` (may be NULL) is looked at before each block: DL_INTERRUPTED. Not
 * collective. */
DL_NODISCARD dl_status dl_checkpoint_read_again(const char *checkpoints, int64_t step, const char *part,
                                                const atomic_bool *stop);

/* Rank 0: deletes the others, after it has read the newest again, unless the ranks did, and found it
 * undamaged (DL_ERR_CORRUPT: nothing is deleted). Checkpoints that are not whole are neither counted nor
 * deleted, files that the manifest does not name stay. The steps deleted go into *deleted (release with
 * dl_free), which may be NULL. */
DL_NODISCARD dl_status dl_checkpoint_prune(const char *checkpoints, const dl_checkpoint_keep *keep,
                                           int64_t **deleted, int *n_deleted);

/* Rank 0: renames a step's folder to step-N.aside-K, where nothing looks for it and nothing deletes it:
 * before training goes on from an older step, and for damaged ones in the way. */
DL_NODISCARD dl_status dl_checkpoint_set_aside(const char *checkpoints, int64_t step);

/* --- reading --- */

typedef struct dl_checkpoint dl_checkpoint;

/* Opens the checkpoint in the folder `path` (step-00001200, or a copy of any name): the manifest, checked
 * as a whole, and the presence and sizes of its files. DL_ERR_USAGE when there is no manifest, DL_ERR_CORRUPT
 * for anything wrong in it. Release with dl_checkpoint_close. */
DL_NODISCARD dl_status dl_checkpoint_open(const char *path, dl_checkpoint **out);
void dl_checkpoint_close(dl_checkpoint **checkpoint); /* NULL-safe */

/* Reads the files share, share + n_shares, ... and compares every block with its digest; 0, 1: all files.
 * DL_ERR_CORRUPT names every damaged file with its damaged bytes, as far as the message has room. Several
 * ranks divide the work, agree, and call dl_checkpoint_trust. */
DL_NODISCARD dl_status dl_checkpoint_verify(dl_checkpoint *checkpoint, int share, int n_shares);

/* Other ranks have verified the files that this one has not. */
void dl_checkpoint_trust(dl_checkpoint *checkpoint);

/* What the manifest says; the strings and objects belong to the checkpoint. */
const dl_checkpoint_about *dl_checkpoint_about_of(const dl_checkpoint *checkpoint);

typedef struct dl_checkpoint_tensor {
    const char *name;
    dl_dtype dtype;
    dl_shape shape;
} dl_checkpoint_tensor;

/* Tensors are in bytewise order of their names. */
int dl_checkpoint_n_tensors(const dl_checkpoint *checkpoint);
dl_checkpoint_tensor dl_checkpoint_tensor_at(const dl_checkpoint *checkpoint, int index);
/* Number of the tensor of this name, -1: there is none. */
int dl_checkpoint_find(const dl_checkpoint *checkpoint, const char *name);

/* Reads the box of `shape` elements from `offset` on into out: row-major, no gaps, from as many parts as it
 * takes. Files that are not verified yet are verified first: libhdf5 sees no bytes whose digest is wrong. */
DL_NODISCARD dl_status dl_checkpoint_read(dl_checkpoint *checkpoint, int index, const int64_t *offset,
                                          const dl_shape *shape, void *out);

/* Files and bytes of the parts. */
int dl_checkpoint_n_files(const dl_checkpoint *checkpoint);
int64_t dl_checkpoint_n_bytes(const dl_checkpoint *checkpoint);

#endif
