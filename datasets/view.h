/* What the files of views share: view.c opens, view_order.c says which samples a batch has, view_fill.c reads
 * them, view_start.c hands them to the prefetcher. */
#ifndef DLTRAIN_DATASETS_VIEW_H
#define DLTRAIN_DATASETS_VIEW_H

#include "datasets/dataset.h"

#include <stdatomic.h>

struct dl_view {
    dl_dataset *dataset;
    dl_view_options options; /* n > 0 */
    dl_view_info info;
    int64_t n_predictions; /* DL_VIEW_STREAM: M */
    uint32_t *member;      /* DL_VIEW_RAGGED: samples (from the part's first) bucket by bucket, as stored */
    /* Batches of the buckets before each, in an epoch as stored. */
    int64_t first_batch[DL_MAX_BUCKETS + 1];
};

/* The bucket of a sample: the smallest that holds it. */
int dl_view_bucket(const dl_view *view, int64_t length);

/* The predictions of window `window` of row `row` (DL_VIEW_STREAM); empty behind the row's end. */
dl_range dl_view_stream_window(const dl_view *view, int64_t window, int64_t row);

/* The order of one epoch at a time. */
typedef struct dl_view_order {
    const dl_view *view;
    bool shuffled;
    uint64_t seed;
    int64_t epoch;     /* that the arrays hold; 0: none */
    uint32_t *sample;  /* [n_samples]: batch after batch within each bucket; NULL: as stored */
    uint32_t *scratch; /* the permutation, before it is divided into buckets */
    uint32_t *batch;   /* [n_batches]: the order of batches over all buckets; NULL: as stored */
} dl_view_order;

/* Everything is allocated here. Release with dl_view_order_free in any case. */
DL_NODISCARD dl_status dl_view_order_create(const dl_view *view, bool shuffled, uint64_t seed,
                                            dl_view_order *out);
void dl_view_order_free(dl_view_order *order);
/* Bytes that it takes. */
size_t dl_view_order_bytes(const dl_view *view, bool shuffled);

/* Describes global batch `number` (from 0) of an epoch (from 1); brings the arrays to that epoch. */
DL_NODISCARD dl_status dl_view_order_batch(dl_view_order *order, int64_t epoch, int64_t number,
                                           dl_global_batch *out);
/* The samples `part` of the batch described last, into ids; returns their weight. */
int64_t dl_view_order_ids(const dl_view_order *order, const dl_global_batch *global, dl_range part,
                          int64_t *ids);

/* Reads the samples batch->ids into batch->field; gives up between two samples when *stop. */
DL_NODISCARD dl_status dl_view_fill(const dl_view *view, dl_batch *batch, const atomic_bool *stop);

#endif
