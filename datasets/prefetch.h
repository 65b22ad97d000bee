/* The thread that fills batches ahead, for whatever they are filled from. */
#ifndef DLTRAIN_DATASETS_PREFETCH_H
#define DLTRAIN_DATASETS_PREFETCH_H

#include "datasets/dataset.h"

#include <stdatomic.h>

/* Where batches come from. The functions are called by the thread, in order. */
typedef struct dl_batch_source {
    void *context;
    int n_buffers, n_fields;
    int64_t max_samples;                /* of one batch */
    size_t sample_bytes[DL_MAX_FIELDS]; /* at most */
    /* Decides what batch `number` consists of: writes ids (room for max_samples), fills batch's description.
     * *end: there is none. */
    dl_status (*plan)(void *context, int64_t number, int64_t *ids, dl_batch *batch, bool *end);
    /* Reads its samples; may give up between two of them when *stop. */
    dl_status (*fill)(void *context, dl_batch *batch, const atomic_bool *stop);
    void (*release)(void *context); /* frees the context */
} dl_batch_source;

/* Starts the thread. The source's context is released in any case: here on failure, else by dl_prefetch_stop.
 */
DL_NODISCARD dl_status dl_prefetch_create(const dl_batch_source *source, dl_prefetch **out);
/* Bytes of its buffers. */
size_t dl_prefetch_buffer_bytes(const dl_batch_source *source);

#endif
