/* Writes a split as shards: what importers and makers share. The files appear together or not at all. */
#ifndef DLTRAIN_DATASETS_SHARD_WRITER_H
#define DLTRAIN_DATASETS_SHARD_WRITER_H

#include "datasets/dataset.h"

enum { DL_MAX_SHARDS = 256 };

typedef struct dl_shard_writer dl_shard_writer;

/* Prepares DIR/SPLIT-00000-of-0000n.h5 ... for the samples that `info` describes (n_samples, n_classes,
 * fields); the folder is made. `name` is written to the files' attribute. DL_ERR_USAGE when the split exists,
 * n_shards is out of 1..DL_MAX_SHARDS or larger than the number of samples. */
DL_NODISCARD dl_status dl_shard_writer_create(const char *folder, const char *split, const char *name,
                                              int n_shards, const dl_dataset_info *info,
                                              dl_shard_writer **out);

/* Writes samples first .. first+n of a field; every sample of every field must be written once, in any order.
 */
DL_NODISCARD dl_status dl_shard_writer_write(dl_shard_writer *writer, int field, int64_t first, int64_t n,
                                             const void *samples);

/* Brings the bytes of all files to disk; they have their temporary names still. Callers with several splits
 * finish all of them before they commit the first. */
DL_NODISCARD dl_status dl_shard_writer_finish(dl_shard_writer *writer);

/* Finishes, then gives the files their names. */
DL_NODISCARD dl_status dl_shard_writer_commit(dl_shard_writer *writer);

/* Releases it; files that were not committed are removed. NULL-safe. */
void dl_shard_writer_destroy(dl_shard_writer **writer);

/* DL_ERR_USAGE, with the remedy, when the split exists in the folder. */
DL_NODISCARD dl_status dl_shard_refuse_existing(const char *folder, const char *split);

#endif
