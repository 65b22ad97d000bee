/* Writes a split as shards: what importers and makers share. The files appear together or not at all. */
#ifndef DLTRAIN_DATASETS_SHARD_WRITER_H
#define DLTRAIN_DATASETS_SHARD_WRITER_H

#include "datasets/dataset.h"

enum { DL_MAX_SHARDS = 256 };

typedef struct dl_shard_writer dl_shard_writer;

/* What a description of fields does not say. */
typedef struct dl_shard_extra {
    const int64_t *length; /* DL_FIELD_RAGGED: steps of each sample, [n_samples] */
    const dl_vocab
        *vocab; /* DL_FIELD_TOKENS: info.vocab_size words; the tokens are stored as uint16 up to 65,536 */
} dl_shard_extra;

/* Prepares DIR/SPLIT-00000-of-0000n.h5 ... for the samples that `info` describes (n_samples, n_classes,
 * fields); the folder is made. `name` is written to the files' attribute. `extra` (may be NULL for dense
 * fields) must live as long as the writer. DL_ERR_USAGE when the split exists, n_shards is out
 * of 1..DL_MAX_SHARDS or larger than the number of samples. */
DL_NODISCARD dl_status dl_shard_writer_create(const char *folder, const char *split, const char *name,
                                              int n_shards, const dl_dataset_info *info,
                                              const dl_shard_extra *extra, dl_shard_writer **out);

/* Writes samples first .. first+n of a field: for a ragged one all their steps one after another, for a text
 * int32 tokens. Every sample of every field must be written once, in any order; from front to back is
 * fastest. */
DL_NODISCARD dl_status dl_shard_writer_write(dl_shard_writer *writer, int field, int64_t first, int64_t n,
                                             const void *samples);

/* Brings the bytes of all files to disk; they have their temporary names still. Callers with several splits
 * finish all of them before they commit the first. */
DL_NODISCARD dl_status dl_shard_writer_finish(dl_shard_writer *writer);

/* Finishes, then gives the files their names. */
DL_NODISCARD dl_status dl_shard_writer_commit(dl_shard_writer *writer);

/* Releases it; files that were not committed are removed, and then the folder if it was made for them. Of
 * several writers the first created goes last. NULL-safe. */
void dl_shard_writer_destroy(dl_shard_writer **writer);

/* A text divided into splits: writes and commits them all, or none. */
typedef struct dl_text_split {
    const char *split;
    const int32_t *token;
    int64_t n; /* 0: no such split */
} dl_text_split;
DL_NODISCARD dl_status dl_shard_write_text(const char *folder, const char *name, int n_shards,
                                           const dl_vocab *vocab, int64_t unk_id, const dl_text_split *splits,
                                           int n_splits, void (*progress)(const char *what, double share));

/* DL_ERR_USAGE, with the remedy, when the split exists in the folder. */
DL_NODISCARD dl_status dl_shard_refuse_existing(const char *folder, const char *split);

#endif
