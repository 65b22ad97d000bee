/* Data sets: shards opened, checked and mapped; samples by number; the order of an epoch; batches ahead of
 * time. The format is in FORMAT.md. Nothing here knows ranks: callers say which samples they want. */
#ifndef DLTRAIN_DATASETS_DATASET_H
#define DLTRAIN_DATASETS_DATASET_H

#include "base/pieces.h"
#include "base/tensor.h"

/* Of the fields, at most DL_MAX_STORED_FIELDS come from files; a view may add one. */
enum { DL_MAX_STORED_FIELDS = 8, DL_MAX_FIELDS = 9, DL_FIELD_NAME_BYTES = 32 };

typedef struct dl_dataset dl_dataset;

typedef enum dl_field_kind {
    DL_FIELD_DENSE,  /* every sample has sample_shape */
    DL_FIELD_RAGGED, /* a sample is a sequence of steps, each of sample_shape; dl_dataset_length counts them
                      */
    DL_FIELD_TOKENS, /* one long text; a sample is one token, delivered as int32 */
} dl_field_kind;

/* A named field of every sample: "x" (uint8|float32 [H,W,C] or [F]), "y" (int32 class, or float32 targets
 * [K]), "tokens" (alone), and what else the files hold. */
typedef struct dl_field {
    char name[DL_FIELD_NAME_BYTES];
    dl_field_kind kind;
    dl_dtype dtype;        /* as delivered: class numbers and tokens are int32 whatever the file holds */
    dl_shape sample_shape; /* without the sample dimension; DL_FIELD_RAGGED: without that of the steps, too */
    size_t sample_bytes;   /* of sample_shape: DL_FIELD_RAGGED: of one step */
} dl_field;

typedef struct dl_dataset_info {
    int64_t n_samples; /* of a text: its tokens */
    /* Attribute n_classes, else largest y + 1; 0 when there is no y or y holds targets. Of a text:
     * vocab_size. */
    int64_t n_classes;
    int n_fields;
    dl_field field[DL_MAX_FIELDS]; /* x, y, the others in bytewise order of their names; or tokens alone */
    int n_files;
    bool mapped;     /* all files contiguous and mapped; otherwise read through HDF5, slower */
    char digest[33]; /* of names, shapes, sizes and sampled content: what ranks compare */
    int64_t min_length, max_length, n_steps; /* of a ragged x: over all samples; 0 otherwise */
    int64_t vocab_size, unk_id;              /* of a text; 0 and -1 otherwise. unk_id -1: there is none */
    char words[33];                          /* digest of a text's vocabulary; "": the files have none */
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

/* Copies sample `index` (0-based over all files) of field `field` to `out`: sample_bytes, times
 * dl_dataset_length of a ragged field. Thread-safe. */
DL_NODISCARD dl_status dl_dataset_read(dl_dataset *dataset, int64_t index, int field, void *out);

/* Steps of sample `index` of a ragged x; 1 for other data sets. */
int64_t dl_dataset_length(const dl_dataset *dataset, int64_t index);

/* Copies tokens first .. first+n of a text, whatever files they are in, to out [n]. Thread-safe. */
DL_NODISCARD dl_status dl_dataset_read_tokens(dl_dataset *dataset, int64_t first, int64_t n, int32_t *out);

/* The vocabulary of a text: entry i is the word (or character, as UTF-8) of token i. DL_ERR_DATA when the
 * files hold none (/meta/vocab). Release with dl_vocab_free in any case. */
typedef struct dl_vocab {
    int64_t n;
    char **word; /* [n], terminated */
    char *bytes; /* what the words lie in */
} dl_vocab;
DL_NODISCARD dl_status dl_dataset_vocab(const dl_dataset *dataset, dl_vocab *out);
void dl_vocab_free(dl_vocab *vocab);

/* The names of the classes, /meta/class_names: entry i is that of class i; none (n = 0) when the files hold
 * no such texts. Release with dl_vocab_free in any case. */
DL_NODISCARD dl_status dl_dataset_class_names(const dl_dataset *dataset, dl_vocab *out);

/* Compares the bytes of all files with the digests (XXH3-128) that were stored when they were written.
 * *n_checked: datasets compared; *n_without: datasets without a digest, as in files made with h5py.
 * DL_ERR_DATA names file and dataset of the first that differs. */
DL_NODISCARD dl_status dl_dataset_verify(dl_dataset *dataset, int64_t *n_checked, int64_t *n_without);

/* The order of an epoch: a permutation of 0..n-1 that depends on (seed, epoch) only. */
DL_NODISCARD dl_status dl_sampler_order(uint64_t seed, int64_t epoch, int64_t n, uint32_t *out);

/* --- views: what a batch delivers --- */

typedef enum dl_view_kind {
    /* Dense fields as they are stored: x [n, ...], y [n] or [n, K], and the others. */
    DL_VIEW_SAMPLES,
    /* A ragged x, padded at the end with zeros to T steps: x [n, T, ...], y (classes of steps: [n, T], padded
     * with -1) and the other fields, and
     * "lengths" int32 [n] behind them. T is the length of the sample's bucket, the smallest that holds it; a
     * batch holds samples of one bucket only, so each bucket ends with a batch of its own size. */
    DL_VIEW_RAGGED,
    /* Windows of a text: x int32 [n, W] is the W tokens from i * stride on, y int32 [n] the token after them,
     * for i = 0 .. floor((T - W - 1) / stride). */
    DL_VIEW_NEXT,
    /* A text read side by side. Its M = T - 1 predictions (of token p + 1 from the tokens up to p) are cut
     * into R = batch_size rows of nearly equal length, row r from floor(r M / R) to floor((r+1) M / R).
     * Batch k holds window k of every row: x int32 [R, W] tokens, y int32 [R, W] the tokens that follow.
     * Behind a row's end x is 0 and y is -1 (no target): every prediction counts exactly once in an epoch.
     * Never shuffled: window k+1 goes on where window k ended. The number of (window k, row r) is k R + r. */
    DL_VIEW_STREAM,
} dl_view_kind;

enum { DL_MAX_BUCKETS = 4, DL_MAX_BATCH_SHAPES = 2 * DL_MAX_BUCKETS };

typedef struct dl_view_options {
    dl_view_kind kind;
    int64_t first, n;   /* the part that is used, in samples (of a text: tokens); n 0: all from `first` on */
    int64_t batch_size; /* samples of a full global batch; DL_VIEW_STREAM: the rows R */
    int64_t window, stride; /* W >= 1 for views of a text; stride >= 1 for DL_VIEW_NEXT */
    /* DL_VIEW_RAGGED: the buckets' lengths, ascending, the last at least the longest sample, so that splits
     * can share programs; n_buckets 0: chosen from this part's lengths (dl_view_choose_buckets). */
    int n_buckets;
    int64_t bucket_length[DL_MAX_BUCKETS];
} dl_view_options;

/* A form in which global batches occur: programs are compiled for these. */
typedef struct dl_batch_shape {
    int bucket;
    int64_t length;    /* T or W, 0 without a time axis */
    int64_t n_samples; /* of the global batch */
    int64_t n_batches; /* of this form in an epoch */
} dl_batch_shape;

typedef struct dl_view_info {
    dl_view_kind kind;
    int64_t n_samples; /* that an epoch's batches consist of; DL_VIEW_STREAM: windows x rows */
    int64_t weight;    /* of an epoch: samples; DL_VIEW_STREAM: predictions */
    int64_t n_batches; /* global ones of an epoch, the same in each */
    int n_fields;
    /* As delivered: x, y, ... With a time axis sample_shape begins with it: the longest T, of which a batch
     * of a shorter bucket uses its own length. */
    dl_field field[DL_MAX_FIELDS];
    bool has_time[DL_MAX_FIELDS];
    int n_buckets; /* 1 where there is but one length */
    int64_t bucket_length[DL_MAX_BUCKETS], bucket_samples[DL_MAX_BUCKETS];
    int n_shapes;
    dl_batch_shape shape[DL_MAX_BATCH_SHAPES];
} dl_view_info;

typedef struct dl_view dl_view;

/* Prepares a view of an open data set, which must outlive it. DL_ERR_USAGE when the data set is of another
 * kind, a part that does not exist is wanted, or the text is too short for one window; the message gives the
 * numbers. Release with dl_view_close. */
DL_NODISCARD dl_status dl_view_open(dl_dataset *dataset, const dl_view_options *options, dl_view **out);
void dl_view_close(dl_view **view);
const dl_view_info *dl_view_info_of(const dl_view *view);

/* The number of a view's field by name, -1: none. */
int dl_view_field(const dl_view_info *info, const char *name);

/* Lengths for at most max_buckets buckets, ascending, from the quantiles of the lengths of samples first ..
 * first+n (n 0: all from first on): a pure function of the data set. Returns their number. */
DL_NODISCARD dl_status dl_view_choose_buckets(const dl_dataset *dataset, int64_t first, int64_t n,
                                              int max_buckets, int64_t length[DL_MAX_BUCKETS],
                                              int *n_buckets);

/* What one global batch is; the same on every rank. */
typedef struct dl_global_batch {
    int64_t epoch;  /* from 1 */
    int64_t number; /* in its epoch, from 0; 0: what is carried from batch to batch begins anew */
    int64_t n_samples;
    int64_t weight; /* samples; DL_VIEW_STREAM: labels that are not -1 */
    int bucket;
    int64_t length; /* T or W, 0 without a time axis */
} dl_global_batch;

/* --- batches ahead of time --- */

/* One batch in host memory, owned by the prefetcher: a rank's share of a global batch. */
typedef struct dl_batch {
    int64_t number; /* counted from 0, through all epochs */
    int64_t n_samples;
    const int64_t *ids;         /* sample numbers in the data set (windows: in the view), [n_samples] */
    void *field[DL_MAX_FIELDS]; /* [n_samples, sample_shape...], dense for this batch's length */
    double waited;              /* seconds the consumer waited for it */
    int64_t weight;             /* of this share: samples; labels that are not -1 where positions have them */
    dl_global_batch global;     /* what it is a share of (dl_view_start) */
} dl_batch;

/* How a view is read. */
typedef struct dl_view_reading {
    bool shuffled; /* the order of an epoch is a pure function of (view, seed, epoch); else as stored */
    uint64_t seed;
    /* The batches first_batch .. end_batch, counted from 0 through all epochs: batch b is batch b % n_batches
     * of epoch b / n_batches + 1. */
    int64_t first_batch, end_batch;
    int n_buffers; /* batches in memory at once, >= 2 */
    /* The caller's part of a global batch of n samples: a pure function. NULL: all of it. */
    dl_range (*share)(const void *context, int64_t n_samples);
    const void *context;
} dl_view_reading;

typedef struct dl_prefetch dl_prefetch;

/* Starts the thread that reads the batches ahead. Everything is allocated here: taking batches allocates
 * nothing. The view must outlive it. */
DL_NODISCARD dl_status dl_view_start(const dl_view *view, const dl_view_reading *reading, dl_prefetch **out);
/* Bytes that dl_view_start would take. */
size_t dl_view_bytes(const dl_view *view, const dl_view_reading *reading);

/* Says which samples batch `number` (0, 1, 2, ...) consists of: writes them to ids (room for max_samples) and
 * their count to *n; *n = -1 ends. Called by the prefetch thread, in order. */
typedef dl_status (*dl_batch_plan)(void *context, int64_t number, int64_t max_samples, int64_t *ids,
                                   int64_t *n);

typedef struct dl_prefetch_options {
    int n_buffers;       /* batches in memory at once, >= 2 */
    int64_t max_samples; /* of one batch */
    dl_batch_plan plan;
    void *context;
} dl_prefetch_options;

/* The same for the samples of dense fields that a plan of the caller's names. */
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

/* An option of an importer or a maker: --NAME VALUE. Tables end with {NULL, NULL, NULL}. */
typedef struct dl_data_option {
    const char *name, *value_name, *doc;
} dl_data_option;

enum { DL_MAX_DATA_OPTIONS = 8 };

/* What is asked of a maker. */
typedef struct dl_make_request {
    const char *folder;
    uint64_t seed;
    int n_shards;                                     /* of each split */
    const char *option[DL_MAX_DATA_OPTIONS];          /* by the maker's option number; NULL: not given */
    void (*progress)(const char *what, double share); /* may be NULL */
} dl_make_request;

/* A data set the program makes itself. */
typedef struct dl_maker {
    const char *name;
    const char *doc;
    const dl_data_option *options;      /* may be NULL */
    dl_dataset_info train, valid, test; /* what it makes without options: check needs no files. n_samples 0:
                                           no such split */
    /* Writes DIR/SPLIT-*.h5, byte-identical for one seed; all splits appear, or none. */
    dl_status (*make)(const dl_make_request *request);
} dl_maker;

/* All makers, NULL-terminated, and one by name (NULL: none). */
const dl_maker *const *dl_makers(void);
const dl_maker *dl_maker_find(const char *name);

/* What is asked of an importer. */
typedef struct dl_import_request {
    const char *const *input;
    int n_inputs;
    const char *folder;
    const char *split; /* NULL where the importer makes several (`splits`) */
    int n_shards;
    const char *option[DL_MAX_DATA_OPTIONS];          /* by the importer's option number; NULL: not given */
    void (*progress)(const char *what, double share); /* may be NULL */
} dl_import_request;

/* A file format that can be imported. */
typedef struct dl_importer {
    const char *name;  /* "idx" */
    const char *usage; /* "IMAGES LABELS" */
    const char *doc;
    const dl_data_option *options; /* may be NULL */
    int min_inputs, max_inputs;
    bool splits; /* it divides its inputs into splits itself, and no split is named */
    /* Everything appears in the folder, or nothing. */
    dl_status (*import)(const dl_import_request *request);
} dl_importer;
const dl_importer *const *dl_importers(void);
const dl_importer *dl_importer_find(const char *name);

#endif
