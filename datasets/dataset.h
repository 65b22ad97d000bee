/* Data sets: shards opened, checked and mapped; samples by number; the order of an epoch; batches ahead of
 * time. The format is in FORMAT.md. Nothing here knows ranks: callers say which samples they want. */
#ifndef DLTRAIN_DATASETS_DATASET_H
#define DLTRAIN_DATASETS_DATASET_H

#include "base/tensor.h"

enum { DL_MAX_FIELDS = 8, DL_FIELD_NAME_BYTES = 32 };

typedef struct dl_dataset dl_dataset;

/* A named field of every sample: "x" (uint8|float32 [H,W,C] or [F]), "y" (int32). */
typedef struct dl_field {
    char name[DL_FIELD_NAME_BYTES];
    dl_dtype dtype;        /* as delivered: y is int32 whatever the file holds */
    dl_shape sample_shape; /* without the sample dimension */
    size_t sample_bytes;
} dl_field;

typedef struct dl_dataset_info {
    int64_t n_samples;
    int64_t n_classes; /* attribute n_classes, else largest y + 1; 0 when there is no y */
    int n_fields;
    dl_field field[DL_MAX_FIELDS];
    int n_files;
    bool mapped;     /* all files contiguous and mapped; otherwise read through HDF5, slower */
    char digest[33]; /* of names, shapes, sizes and sampled content: what ranks compare */
} dl_dataset_info;

/* Opens DIR/SPLIT-*.h5. Every file is checked before this returns: DL_ERR_DATA names file, dataset and what
 * was expected; DL_ERR_USAGE when there is no such folder or split. *out is released with dl_dataset_close.
 */
DL_NODISCARD dl_status dl_dataset_open(const char *folder, const char *split, dl_dataset **out);
/* Opens one file as a data set of its own. */
DL_NODISCARD dl_status dl_dataset_open_file(const char *path, dl_dataset **out);
void dl_dataset_close(dl_dataset **dataset);
const dl_dataset_info *dl_dataset_info_of(const dl_dataset *dataset);

/* Is there such a split? */
bool dl_dataset_exists(const char *folder, const char *split);

/* The names of the splits in a folder, in bytewise order: what stands before the first '-' of its *.h5. *n =
 * 0 when there are none or no folder. */
enum { DL_MAX_SPLITS = 16, DL_SPLIT_NAME_BYTES = 64 };
DL_NODISCARD dl_status dl_dataset_splits(const char *folder, char name[DL_MAX_SPLITS][DL_SPLIT_NAME_BYTES],
                                         int *n);

/* DL_ERR_DATA names file, sample and label when a label is not below n_classes: for a model with fewer
 * outputs. */
DL_NODISCARD dl_status dl_dataset_check_labels(const dl_dataset *dataset, int64_t n_classes);

/* Copies sample `index` (0-based over all files) of field `field` to `out` (sample_bytes). Thread-safe. */
DL_NODISCARD dl_status dl_dataset_read(dl_dataset *dataset, int64_t index, int field, void *out);

/* The order of an epoch: a permutation of 0..n-1 that depends on (seed, epoch) only. */
DL_NODISCARD dl_status dl_sampler_order(uint64_t seed, int64_t epoch, int64_t n, uint32_t *out);

/* --- batches ahead of time --- */

/* One batch in host memory, owned by the prefetcher. */
typedef struct dl_batch {
    int64_t number; /* as given by the plan */
    int64_t n_samples;
    const int64_t *ids;         /* sample numbers, [n_samples] */
    void *field[DL_MAX_FIELDS]; /* [n_samples, sample_shape...] */
    double waited;              /* seconds the consumer waited for it */
} dl_batch;

/* Says which samples batch `number` (0, 1, 2, ...) consists of: writes them to ids (room for max_samples) and
 * their count to *n; *n = -1 ends. Called by the prefetch thread, in order. */
typedef dl_status (*dl_batch_plan)(void *context, int64_t number, int64_t max_samples, int64_t *ids,
                                   int64_t *n);

typedef struct dl_prefetch dl_prefetch;

typedef struct dl_prefetch_options {
    int n_buffers;       /* batches in memory at once, >= 2 */
    int64_t max_samples; /* of one batch */
    dl_batch_plan plan;
    void *context;
} dl_prefetch_options;

/* Starts the thread. Everything is allocated here: taking batches allocates nothing. */
DL_NODISCARD dl_status dl_prefetch_start(dl_dataset *dataset, const dl_prefetch_options *options,
                                         dl_prefetch **out);
/* The next batch in order; *out is NULL at the end. Hand it back with dl_prefetch_release before the buffers
 * run out. A failure of the thread is returned here. */
DL_NODISCARD dl_status dl_prefetch_next(dl_prefetch *prefetch, const dl_batch **out);
void dl_prefetch_release(dl_prefetch *prefetch, const dl_batch *batch);
/* Ends the thread and frees the buffers; NULL-safe. */
void dl_prefetch_stop(dl_prefetch **prefetch);
/* Bytes that dl_prefetch_start would take. */
size_t dl_prefetch_bytes(const dl_dataset_info *info, const dl_prefetch_options *options);

/* --- making and importing --- */

/* A data set the program makes itself. */
typedef struct dl_maker {
    const char *name;
    const char *doc;
    dl_dataset_info train, test; /* what it will make: check needs no files */
    /* Writes DIR/train-*.h5 and DIR/test-*.h5, byte-identical for one seed; progress to `progress` (may be
     * NULL). */
    dl_status (*make)(const char *folder, uint64_t seed, void (*progress)(const char *what, double share));
} dl_maker;

/* All makers, NULL-terminated, and one by name (NULL: none). */
const dl_maker *const *dl_makers(void);
const dl_maker *dl_maker_find(const char *name);

/* A file format that can be imported. */
typedef struct dl_importer {
    const char *name;  /* "idx" */
    const char *usage; /* "IMAGES LABELS" */
    const char *doc;
    int min_inputs, max_inputs;
    dl_status (*import)(const char *const *inputs, int n_inputs, const char *folder, const char *split,
                        int n_shards, void (*progress)(const char *what, double share));
} dl_importer;
const dl_importer *const *dl_importers(void);
const dl_importer *dl_importer_find(const char *name);

#endif
