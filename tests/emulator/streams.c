/* Streams and events of the imitated CUDA runtime. Work is done when it is put into a stream, unless the
 * stream is being captured: then it is kept, and done at every launch of the graph. What a capture forbids is
 * an error here too: waits of the host, events of before, streams that have not come back. */
#include "emulator.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STREAMS = 64 };

typedef struct task {
    void (*function)(void *);
    void *context;
    struct task *next;
} task;

typedef struct graph {
    task *first, **last;
} graph;

typedef struct stream {
    bool captured;
    int n_tasks, n_joined; /* put into it while it is captured; those that the origin waits for */
} stream;

typedef struct event {
    unsigned capture; /* number of the capture it was recorded in, 0: none */
    stream *of;
    int n_tasks; /* of that stream, before it */
} event;

/* One capture at a time. */
static struct {
    graph *graph; /* NULL: none is under way */
    stream *origin;
    unsigned number;
    bool invalid;
} capture;

static stream *streams[MAX_STREAMS];

/* CUDA's handles are pointers to structs that it does not show. */
static stream *stream_of(cudaStream_t handle) {
    return (stream *)(void *)handle;
}

static event *event_of(cudaEvent_t handle) {
    return (event *)(void *)handle;
}

static void *checked(void *memory) {
    if (memory == NULL) {
        abort();
    }
    return memory;
}

bool emulator_is_capturing(void) {
    return capture.graph != NULL;
}

/* What may not happen amid a capture spoils it. */
static cudaError_t forbidden(cudaError_t code) {
    if (capture.graph == NULL) {
        return cudaSuccess;
    }
    capture.invalid = true;
    return code;
}

void emulator_submit(cudaStream_t handle, void (*function)(void *), const void *context, size_t n_bytes) {
    stream *into = stream_of(handle);
    if (into == NULL || !into->captured) {
        void *copy = checked(malloc(n_bytes));
        memcpy(copy, context, n_bytes);
        function(copy);
        free(copy);
        return;
    }
    task *added = checked(calloc(1, sizeof *added));
    added->function = function;
    added->context = checked(malloc(n_bytes));
    memcpy(added->context, context, n_bytes);
    *capture.graph->last = added;
    capture.graph->last = &added->next;
    into->n_tasks++;
}

/* --- streams --- */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *handle, unsigned flags, int priority) {
    (void)flags;
    (void)priority;
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (streams[i] == NULL) {
            streams[i] = checked(calloc(1, sizeof *streams[i]));
            *handle = (cudaStream_t)(void *)streams[i];
            return cudaSuccess;
        }
    }
    return cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (streams[i] == stream_of(handle)) {
            streams[i] = NULL;
        }
    }
    free(stream_of(handle));
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    (void)handle;
    return forbidden(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaDeviceSynchronize(void) {
    return forbidden(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

/* --- events --- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *handle, unsigned flags) {
    (void)flags;
    *handle = (cudaEvent_t)checked(calloc(1, sizeof(event)));
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    free(event_of(handle));
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t into) {
    event *e = event_of(handle);
    stream *s = stream_of(into);
    *e = (event){.of = s};
    if (s != NULL && s->captured) {
        e->capture = capture.number;
        e->n_tasks = s->n_tasks;
    }
    return cudaSuccess;
}

/* Of an event that was recorded in a capture nothing is known outside of it. */
static cudaError_t look(cudaEvent_t handle) {
    if (event_of(handle)->capture != 0) {
        (void)forbidden(cudaErrorCapturedEvent);
        return cudaErrorCapturedEvent;
    }
    return forbidden(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    return look(handle);
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    return look(handle);
}

static bool is_live(const event *e) {
    return capture.graph != NULL && e->capture == capture.number;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t into, cudaEvent_t handle, unsigned flags) {
    const event *e = event_of(handle);
    stream *s = stream_of(into);
    (void)flags;
    if (e->capture != 0 && !is_live(e)) {
        return cudaErrorCapturedEvent;
    }
    if (s->captured && !is_live(e) && e->of != NULL) {
        return forbidden(cudaErrorStreamCaptureIsolation);
    }
    if (is_live(e)) {
        s->captured = true;
        if (s == capture.origin && e->of->n_joined < e->n_tasks) {
            e->of->n_joined = e->n_tasks;
        }
    }
    return cudaSuccess;
}

/* --- graphs --- */

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, enum cudaStreamCaptureMode mode) {
    if (mode != cudaStreamCaptureModeThreadLocal || capture.graph != NULL) {
        return cudaErrorIllegalState;
    }
    graph *made = checked(calloc(1, sizeof *made));
    made->last = &made->first;
    capture.graph = made;
    capture.origin = stream_of(handle);
    capture.origin->captured = true;
    capture.number++;
    capture.invalid = false;
    return cudaSuccess;
}

static bool all_have_come_back(void) {
    for (int i = 0; i < MAX_STREAMS; i++) {
        const stream *s = streams[i];
        if (s != NULL && s->captured && s != capture.origin && s->n_joined < s->n_tasks) {
            return false;
        }
    }
    return true;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *out) {
    graph *made = capture.graph;
    if (made == NULL || stream_of(handle) != capture.origin) {
        return cudaErrorIllegalState;
    }
    const bool back = all_have_come_back();
    for (int i = 0; i < MAX_STREAMS; i++) {
        if (streams[i] != NULL) {
            *streams[i] = (stream){.captured = false};
        }
    }
    capture.graph = NULL;
    *out = (cudaGraph_t)(void *)made;
    if (capture.invalid || !back) {
        (void)cudaGraphDestroy(*out);
        *out = NULL;
    }
    return capture.invalid ? cudaErrorStreamCaptureInvalidated
           : back          ? cudaSuccess
                           : cudaErrorStreamCaptureUnjoined;
}

static void graph_free(graph *old) {
    while (old->first != NULL) {
        task *next = old->first->next;
        free(old->first->context);
        free(old->first);
        old->first = next;
    }
    free(old);
}

cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
    graph_free((graph *)(void *)handle);
    return cudaSuccess;
}

/* Takes the tasks over; the graph is left empty. */
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t handle, unsigned long long flags) {
    graph *from = (graph *)(void *)handle, *made = checked(calloc(1, sizeof *made));
    (void)flags;
    made->first = from->first;
    from->first = NULL;
    *out = (cudaGraphExec_t)(void *)made;
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t handle, cudaStream_t into) {
    (void)handle;
    (void)into;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t into) {
    if (stream_of(into)->captured) {
        return cudaErrorStreamCaptureUnsupported;
    }
    for (const task *t = ((graph *)(void *)handle)->first; t != NULL; t = t->next) {
        t->function(t->context);
    }
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
    graph_free((graph *)(void *)handle);
    return cudaSuccess;
}
