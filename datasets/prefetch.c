/* Batches ahead of time: one thread fills a fixed set of buffers, which go round between it and the consumer.
 */
#define _GNU_SOURCE
#include "datasets/prefetch.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#include <pthread.h>

/* A queue of buffer numbers; it never holds more than there are buffers. */
typedef struct queue {
    int *item;
    int first, n;
} queue;

struct dl_prefetch {
    dl_batch_source source;
    dl_batch *batch; /* [n_buffers] */
    void *slab;      /* all ids and fields */
    size_t slab_bytes;
    pthread_t thread;
    bool started;
    atomic_bool stop; /* asked between two samples without the lock */
    /* Guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    queue ready, empty;
    int n_held; /* by the consumer */
    bool ended, failed;
    dl_error error;
};

static void queue_put(queue *to, int capacity, int item) {
    to->item[(to->first + to->n) % capacity] = item;
    to->n++;
}

static int queue_take(queue *from, int capacity) {
    const int item = from->item[from->first];
    from->first = (from->first + 1) % capacity;
    from->n--;
    return item;
}

/* --- the thread --- */

/* Waits for an empty buffer; -1 when asked to stop. */
static int take_empty(dl_prefetch *prefetch) {
    (void)pthread_mutex_lock(&prefetch->lock);
    while (prefetch->empty.n == 0 && !atomic_load(&prefetch->stop)) {
        (void)pthread_cond_wait(&prefetch->changed, &prefetch->lock);
    }
    const int buffer =
        atomic_load(&prefetch->stop) ? -1 : queue_take(&prefetch->empty, prefetch->source.n_buffers);
    (void)pthread_mutex_unlock(&prefetch->lock);
    return buffer;
}

static void hand_over(dl_prefetch *prefetch, int buffer) {
    (void)pthread_mutex_lock(&prefetch->lock);
    queue_put(&prefetch->ready, prefetch->source.n_buffers, buffer);
    (void)pthread_cond_broadcast(&prefetch->changed);
    (void)pthread_mutex_unlock(&prefetch->lock);
}

static dl_status fill_batches(dl_prefetch *prefetch) {
    const dl_batch_source *source = &prefetch->source;
    for (int64_t number = 0;; number++) {
        const int buffer = take_empty(prefetch);
        if (buffer < 0) {
            return DL_OK;
        }
        dl_batch *batch = &prefetch->batch[buffer];
        bool end = false;
        DL_RETURN_IF_ERROR(
            source->plan(source->context, number, (int64_t *)(uintptr_t)batch->ids, batch, &end));
        if (end) {
            return DL_OK;
        }
        DL_RETURN_IF_ERROR_DOING(source->fill(source->context, batch, &prefetch->stop), "reading batch %lld",
                                 (long long)number);
        hand_over(prefetch, buffer);
    }
}

static void *run_thread(void *context) {
    dl_prefetch *prefetch = context;
    const dl_status status = fill_batches(prefetch);
    (void)pthread_mutex_lock(&prefetch->lock);
    prefetch->ended = true;
    prefetch->failed = status != DL_OK;
    if (prefetch->failed) {
        dl_error_take(&prefetch->error);
    }
    (void)pthread_cond_broadcast(&prefetch->changed);
    (void)pthread_mutex_unlock(&prefetch->lock);
    return NULL;
}

/* --- starting --- */

static size_t ids_bytes(const dl_batch_source *source) {
    return dl_round_up((size_t)source->max_samples * sizeof(int64_t), DL_CACHE_LINE);
}

static size_t field_bytes(const dl_batch_source *source, int field) {
    return dl_round_up((size_t)source->max_samples * source->sample_bytes[field], DL_CACHE_LINE);
}

size_t dl_prefetch_buffer_bytes(const dl_batch_source *source) {
    size_t one = ids_bytes(source);
    for (int i = 0; i < source->n_fields; i++) {
        one += field_bytes(source, i);
    }
    return one * (size_t)source->n_buffers;
}

static void place_buffers(dl_prefetch *prefetch) {
    const dl_batch_source *source = &prefetch->source;
    char *next = prefetch->slab;
    for (int i = 0; i < source->n_buffers; i++) {
        dl_batch *batch = &prefetch->batch[i];
        batch->ids = (int64_t *)(void *)next;
        next += ids_bytes(source);
        for (int field = 0; field < source->n_fields; field++) {
            batch->field[field] = next;
            next += field_bytes(source, field);
        }
        queue_put(&prefetch->empty, source->n_buffers, i);
    }
}

static dl_status start(dl_prefetch *prefetch) {
    const dl_batch_source *source = &prefetch->source;
    const size_t n = (size_t)source->n_buffers;
    DL_RETURN_ERROR_IF(source->n_buffers < 2 || source->max_samples < 1, DL_ERR_INTERNAL,
                       "%d buffers of %lld samples cannot be read ahead", source->n_buffers,
                       (long long)source->max_samples);
    prefetch->slab_bytes = dl_prefetch_buffer_bytes(source);
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof *prefetch->batch, &prefetch->batch));
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof(int), &prefetch->ready.item));
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof(int), &prefetch->empty.item));
    DL_RETURN_IF_ERROR(dl_pages_alloc(prefetch->slab_bytes, &prefetch->slab));
    place_buffers(prefetch);
    DL_RETURN_IF_ERROR(dl_thread_start(&prefetch->thread, run_thread, prefetch));
    prefetch->started = true;
    return DL_OK;
}

dl_status dl_prefetch_create(const dl_batch_source *source, dl_prefetch **out) {
    dl_prefetch *prefetch = NULL;
    *out = NULL;
    dl_status status = dl_alloc(1, sizeof *prefetch, &prefetch);
    if (status != DL_OK) {
        source->release(source->context);
        return status;
    }
    prefetch->source = *source;
    (void)pthread_mutex_init(&prefetch->lock, NULL);
    (void)pthread_cond_init(&prefetch->changed, NULL);
    status = start(prefetch);
    if (status != DL_OK) {
        dl_prefetch_stop(&prefetch);
        return status;
    }
    *out = prefetch;
    return DL_OK;
}

void dl_prefetch_stop(dl_prefetch **prefetch) {
    dl_prefetch *each = *prefetch;
    if (each == NULL) {
        return;
    }
    if (each->started) {
        (void)pthread_mutex_lock(&each->lock);
        atomic_store(&each->stop, true);
        (void)pthread_cond_broadcast(&each->changed);
        (void)pthread_mutex_unlock(&each->lock);
        (void)pthread_join(each->thread, NULL);
    }
    (void)pthread_cond_destroy(&each->changed);
    (void)pthread_mutex_destroy(&each->lock);
    if (each->slab != NULL) {
        dl_pages_free(each->slab, each->slab_bytes);
    }
    each->source.release(each->source.context);
    dl_free(&each->batch);
    dl_free(&each->ready.item);
    dl_free(&each->empty.item);
    dl_free(prefetch);
}

/* --- the consumer --- */

dl_status dl_prefetch_next(dl_prefetch *prefetch, const dl_batch **out) {
    *out = NULL;
    double waited = 0;
    (void)pthread_mutex_lock(&prefetch->lock);
    const bool all_held = prefetch->n_held == prefetch->source.n_buffers;
    if (!all_held && prefetch->ready.n == 0 && !prefetch->ended) {
        const double before = dl_clock_seconds();
        while (prefetch->ready.n == 0 && !prefetch->ended) {
            (void)pthread_cond_wait(&prefetch->changed, &prefetch->lock);
        }
        waited = dl_clock_seconds() - before;
    }
    dl_status status = DL_OK;
    if (!all_held && prefetch->ready.n > 0) {
        dl_batch *batch = &prefetch->batch[queue_take(&prefetch->ready, prefetch->source.n_buffers)];
        prefetch->n_held++;
        batch->waited = waited;
        *out = batch;
    } else if (prefetch->failed) {
        status = dl_error_restore(&prefetch->error);
    }
    (void)pthread_mutex_unlock(&prefetch->lock);
    DL_RETURN_ERROR_IF(all_held, DL_ERR_INTERNAL,
                       "all %d batches are in use: release one before taking the next",
                       prefetch->source.n_buffers);
    return status;
}

void dl_prefetch_release(dl_prefetch *prefetch, const dl_batch *batch) {
    (void)pthread_mutex_lock(&prefetch->lock);
    queue_put(&prefetch->empty, prefetch->source.n_buffers, (int)(batch - prefetch->batch));
    prefetch->n_held--;
    (void)pthread_cond_broadcast(&prefetch->changed);
    (void)pthread_mutex_unlock(&prefetch->lock);
}
