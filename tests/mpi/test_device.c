#define _GNU_SOURCE
#include "tests/mpi/test_device.h"

#include "base/mem.h"
#include "base/rng.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_AREAS = 4096, MAX_STREAMS = 64, LONGEST_PAUSE_NS = 60000 };

typedef struct event {
    uint64_t recorded, happened; /* numbers of records */
} event;

typedef enum task_type { COPY, SUM, RECORD, WAIT } task_type;

typedef struct task {
    task_type type;
    char *to;
    const char *from;
    size_t n_bytes;
    event *event;
    uint64_t record;
    dl_dtype dtype; /* sum: of leaf[], into `to` */
    const void *leaf[DL_TREE_NODES];
} task;

typedef struct stream {
    void *self; /* in the place of CUDA's handle (comm/device.h) */
    int64_t first, n, capacity;
    task *task; /* [first, n) are still to be done */
    bool busy;  /* its first one is being done */
} stream;

/* Memory of the device (at: without access rights; alias: the same pages), or pinned memory (alias == at). */
typedef struct area {
    char *at, *alias;
    size_t n_bytes;
} area;

typedef struct test_device {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending;
    const char *failure; /* the first one */
    uint64_t seed, n_turns;
    int n_memories, n_pinned, n_streams, n_events;
    area memory[MAX_AREAS], pinned[MAX_AREAS];
    stream *stream[MAX_STREAMS];
} test_device;

/* ---- the thread ---- */

static bool ready(const stream *s) {
    if (s == NULL || s->first == s->n) {
        return false;
    }
    const task *next = &s->task[s->first];
    return next->type != WAIT || next->event->happened >= next->record;
}

static stream *choose(test_device *d) {
    const int from = (int)dl_rng_below(d->seed, DL_RNG_TEST, d->n_turns++, 0, MAX_STREAMS);
    for (int i = 0; i < MAX_STREAMS; i++) {
        stream *s = d->stream[(from + i) % MAX_STREAMS];
        if (ready(s)) {
            return s;
        }
    }
    return NULL;
}

static double tree_value(const task *one, int node, int64_t i) {
    if (one->leaf[node] != NULL) {
        return one->dtype == DL_F64 ? ((const double *)one->leaf[node])[i]
                                    : (double)((const float *)one->leaf[node])[i];
    }
    const double a = tree_value(one, 2 * node, i), b = tree_value(one, 2 * node + 1, i);
    return one->dtype == DL_F64 ? a + b : (double)((float)a + (float)b);
}

static void add(const task *one) {
    for (int64_t i = 0; i < (int64_t)(one->n_bytes / dl_dtype_bytes(one->dtype)); i++) {
        const double value = tree_value(one, 1, i);
        if (one->dtype == DL_F64) {
            ((double *)(void *)one->to)[i] = value;
        } else {
            ((float *)(void *)one->to)[i] = (float)value;
        }
    }
}

static void touch(test_device *d, const task *one) {
    const struct timespec pause = {
        0, (long)dl_rng_below(d->seed, DL_RNG_TEST, d->n_turns++, 1, LONGEST_PAUSE_NS)};
    (void)pthread_mutex_unlock(&d->lock);
    (void)nanosleep(&pause, NULL);
    if (one->type == COPY) {
        memcpy(one->to, one->from, one->n_bytes);
    } else {
        add(one);
    }
    (void)pthread_mutex_lock(&d->lock);
}

static void *work(void *context) {
    test_device *d = context;
    (void)pthread_mutex_lock(&d->lock);
    for (;;) {
        stream *s = choose(d);
        if (s == NULL && d->ending) {
            break;
        }
        if (s == NULL) {
            (void)pthread_cond_wait(&d->changed, &d->lock);
            continue;
        }
        const task one = s->task[s->first];
        s->busy = true;
        if (one.type == COPY || one.type == SUM) {
            touch(d, &one);
        } else if (one.type == RECORD) {
            one.event->happened = one.record;
        }
        s->busy = false;
        s->first++;
        (void)pthread_cond_broadcast(&d->changed);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return NULL;
}

static dl_status put(test_device *d, void *into, task one) {
    stream *s = into;
    (void)pthread_mutex_lock(&d->lock);
    if (!s->busy && s->first == s->n) {
        s->first = s->n = 0;
    }
    const dl_status status = dl_grow(&s->task, &s->capacity, s->n + 1, sizeof *s->task);
    if (status == DL_OK) {
        if (one.type == RECORD) {
            one.record = ++one.event->recorded;
        } else if (one.type == WAIT) {
            one.record = one.event->recorded;
        }
        s->task[s->n++] = one;
        (void)pthread_cond_broadcast(&d->changed);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return status;
}

/* ---- memory ---- */

static dl_status fail(test_device *d, const char *what) {
    d->failure = d->failure != NULL ? d->failure : what;
    DL_RETURN_ERROR(DL_ERR_INTERNAL, "test device: %s", what);
}

static area *find(area *areas, const void *address, size_t n_bytes) {
    for (int i = 0; i < MAX_AREAS; i++) {
        const char *at = address;
        if (areas[i].at != NULL && at >= areas[i].at && at + n_bytes <= areas[i].at + areas[i].n_bytes) {
            return &areas[i];
        }
    }
    return NULL;
}

static area *free_area(area *areas) {
    int i = 0;
    while (i + 1 < MAX_AREAS && areas[i].at != NULL) {
        i++;
    }
    return &areas[i];
}

static dl_status memory_create(void *context, size_t n_bytes, void **out) {
    test_device *d = context;
    const size_t size = dl_round_up(n_bytes + 1, DL_PAGE_BYTES);
    const int fd = memfd_create("test device", 0);
    DL_RETURN_ERROR_IF(fd < 0 || ftruncate(fd, (off_t)size) != 0, DL_ERR_MEMORY, "memfd: %s",
                       strerror(errno));
    char *at = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, 0);
    char *alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    DL_RETURN_ERROR_IF(at == MAP_FAILED || alias == MAP_FAILED, DL_ERR_MEMORY, "mmap: %s", strerror(errno));
    *free_area(d->memory) = (area){.at = at, .alias = alias, .n_bytes = size};
    d->n_memories++;
    *out = at;
    return DL_OK;
}

static void memory_destroy(void *context, void *memory, size_t n_bytes) {
    test_device *d = context;
    area *one = find(d->memory, memory, n_bytes);
    if (one == NULL || one->at != memory) {
        (void)fail(d, "memory given back that is not its own");
        return;
    }
    (void)munmap(one->at, one->n_bytes);
    (void)munmap(one->alias, one->n_bytes);
    *one = (area){0};
    d->n_memories--;
}

static dl_status pin(void *context, void *memory, size_t n_bytes) {
    test_device *d = context;
    if ((size_t)memory % DL_PAGE_BYTES != 0 || n_bytes % DL_PAGE_BYTES != 0) {
        return fail(d, "pinned memory that is not made of pages");
    }
    *free_area(d->pinned) = (area){.at = memory, .alias = memory, .n_bytes = n_bytes};
    d->n_pinned++;
    return DL_OK;
}

static void unpin(void *context, void *memory, size_t n_bytes) {
    test_device *d = context;
    area *one = find(d->pinned, memory, n_bytes);
    if (one == NULL || one->n_bytes != n_bytes) {
        (void)fail(d, "unpinned memory that is not pinned");
        return;
    }
    *one = (area){0};
    d->n_pinned--;
}

/* ---- streams and events ---- */

static dl_status stream_create(void *context, void **out) {
    test_device *d = context;
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (d->stream[i] == NULL) {
            stream *made = NULL;
            DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *made, &made));
            made->self = made;
            (void)pthread_mutex_lock(&d->lock);
            d->stream[i] = made;
            (void)pthread_mutex_unlock(&d->lock);
            d->n_streams++;
            *out = made;
            return DL_OK;
        }
    }
    return fail(d, "too many streams");
}

static void stream_destroy(void *context, void *old) {
    test_device *d = context;
    (void)pthread_mutex_lock(&d->lock);
    for (int i = 0; i < MAX_STREAMS && old != NULL; i++) {
        stream *s = d->stream[i];
        if (s != old) {
            continue;
        }
        while (s->busy || s->first < s->n) {
            (void)pthread_cond_wait(&d->changed, &d->lock);
        }
        d->stream[i] = NULL;
        dl_free(&s->task);
        dl_free(&s);
        d->n_streams--;
    }
    (void)pthread_mutex_unlock(&d->lock);
}

static dl_status event_create(void *context, void **out) {
    event *made = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *made, &made));
    ((test_device *)context)->n_events++;
    *out = made;
    return DL_OK;
}

static void event_destroy(void *context, void *old) {
    ((test_device *)context)->n_events -= old != NULL;
    dl_free(&old);
}

static dl_status record(void *context, void *one, void *into) {
    return put(context, into, (task){.type = RECORD, .event = one});
}

static dl_status stream_wait(void *context, void *into, void *one) {
    return put(context, into, (task){.type = WAIT, .event = one});
}

static dl_status synchronize(void *context, void *waited) {
    test_device *d = context;
    const event *one = waited;
    (void)pthread_mutex_lock(&d->lock);
    while (one->happened < one->recorded) {
        (void)pthread_cond_wait(&d->changed, &d->lock);
    }
    const char *failure = d->failure;
    (void)pthread_mutex_unlock(&d->lock);
    DL_RETURN_ERROR_IF(failure != NULL, DL_ERR_INTERNAL, "test device: %s", failure);
    return DL_OK;
}

static dl_status query(void *context, void *asked, bool *happened) {
    test_device *d = context;
    const event *one = asked;
    (void)pthread_mutex_lock(&d->lock);
    *happened = one->happened >= one->recorded;
    (void)pthread_mutex_unlock(&d->lock);
    return DL_OK;
}

/* ---- copies ---- */

static dl_status copy_out(void *context, void *host, const void *device, size_t n_bytes, void *into) {
    test_device *d = context;
    const area *from = find(d->memory, device, n_bytes), *to = find(d->pinned, host, n_bytes);
    if (from == NULL || to == NULL) {
        return fail(d, from == NULL ? "copy from elsewhere" : "copy to memory that is not pinned");
    }
    const char *alias = from->alias + ((const char *)device - from->at);
    return put(d, into, (task){.type = COPY, .to = host, .from = alias, .n_bytes = n_bytes});
}

static dl_status copy_in(void *context, void *device, const void *host, size_t n_bytes, void *into) {
    test_device *d = context;
    const area *to = find(d->memory, device, n_bytes), *from = find(d->pinned, host, n_bytes);
    if (from == NULL || to == NULL) {
        return fail(d, to == NULL ? "copy to elsewhere" : "copy from memory that is not pinned");
    }
    char *alias = to->alias + ((char *)device - to->at);
    return put(d, into, (task){.type = COPY, .to = alias, .from = host, .n_bytes = n_bytes});
}

static dl_status sum(void *context, dl_dtype dtype, const void *const leaf[DL_TREE_NODES], int64_t n_elements,
                     void *out, void *into) {
    test_device *d = context;
    task one = {.type = SUM, .dtype = dtype, .n_bytes = (size_t)n_elements * dl_dtype_bytes(dtype)};
    for (int node = 0; node < DL_TREE_NODES; node++) {
        const area *from = leaf[node] != NULL ? find(d->memory, leaf[node], one.n_bytes) : NULL;
        if (leaf[node] != NULL && from == NULL) {
            return fail(d, "sum of what is elsewhere");
        }
        one.leaf[node] = from != NULL ? from->alias + ((const char *)leaf[node] - from->at) : NULL;
    }
    const area *to = find(d->memory, out, one.n_bytes);
    if (to == NULL) {
        return fail(d, "sum to elsewhere");
    }
    one.to = to->alias + ((char *)out - to->at);
    return put(d, into, one);
}

dl_status test_device_open(uint64_t seed, dl_comm_device *out) {
    test_device *d = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *d, &d));
    d->seed = seed;
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_cond_init(&d->changed, NULL);
    if (pthread_create(&d->thread, NULL, work, d) != 0) {
        dl_free(&d);
        DL_RETURN_ERROR(DL_ERR_INTERNAL, "no thread for the test device");
    }
    *out = (dl_comm_device){
        .name = "test device",
        .context = d,
        .memory_create = memory_create,
        .memory_destroy = memory_destroy,
        .pin = pin,
        .unpin = unpin,
        .stream_create = stream_create,
        .stream_destroy = stream_destroy,
        .event_create = event_create,
        .event_destroy = event_destroy,
        .record = record,
        .stream_wait = stream_wait,
        .synchronize = synchronize,
        .query = query,
        .copy_out = copy_out,
        .copy_in = copy_in,
        .sum = sum,
    };
    return DL_OK;
}

dl_status test_device_close(dl_comm_device *device) {
    test_device *d = device->context;
    (void)pthread_mutex_lock(&d->lock);
    d->ending = true;
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
    (void)pthread_join(d->thread, NULL);
    const int left = d->n_memories + d->n_pinned + d->n_streams + d->n_events;
    const char *failure = d->failure;
    (void)pthread_mutex_destroy(&d->lock);
    (void)pthread_cond_destroy(&d->changed);
    dl_free(&d);
    DL_RETURN_ERROR_IF(failure != NULL, DL_ERR_INTERNAL, "test device: %s", failure);
    DL_RETURN_ERROR_IF(left != 0, DL_ERR_INTERNAL, "test device: %d things left behind", left);
    return DL_OK;
}
