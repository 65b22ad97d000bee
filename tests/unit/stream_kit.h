/* A backend whose streams are queues over `ref`: nothing runs before something waits for it, and then in an
 * order that only events limit. What an executor or a list of instructions leaves unordered goes wrong here,
 * as it may on a GPU.
 *
 * Of the lanes that could go on, the one that stands first in `order` does: every order of three lanes can be
 * tried. */
#ifndef DLTRAIN_TESTS_UNIT_STREAM_KIT_H
#define DLTRAIN_TESTS_UNIT_STREAM_KIT_H

#include "program_kit.h"

#include "base/mem.h"

enum { SIM_MAX_STREAMS = 8, SIM_MAX_TASKS = 20000, SIM_ROW = DL_OP_MAX_SLOTS + 1 };

typedef enum sim_type { SIM_RUN, SIM_COPY, SIM_RECORD, SIM_WAIT } sim_type;

struct dl_event {
    int recorded, happened; /* how often: handed over, and come to */
    bool captured;          /* at the last record */
};

typedef struct sim_task {
    sim_type type;
    const dl_op *op;
    void *slots[SIM_ROW];
    void *to, *bytes; /* copy: from own bytes, or (download) from `from` */
    const void *from;
    size_t n_bytes;
    dl_event *event;
    int record; /* which record of the event is waited for */
} sim_task;

struct dl_stream {
    int number;
    int first, n; /* tasks done, tasks handed over */
    bool captured;
    sim_task task[SIM_MAX_TASKS];
};

/* Tasks of several streams, in the order in which they were handed over. */
struct dl_capture {
    int n;
    dl_stream *stream[SIM_MAX_TASKS];
    sim_task task[SIM_MAX_TASKS];
};

typedef struct sim_device {
    dl_device base;
    dl_device *ref; /* which computes */
} sim_device;

/* What all devices have together; a plan may open a second one. */
typedef struct sim {
    int n_devices;
    int n_streams;
    dl_stream *stream[SIM_MAX_STREAMS];
    int order[SIM_MAX_STREAMS]; /* numbers of streams, by what comes first */
    int64_t n_done;
    int n_waits_held;    /* times that the first in the order had to wait for another */
    dl_capture *capture; /* under way */
    int n_launches;
} sim;

static sim sim_state;

/* --- running --- */

static bool sim_can_go_on(const dl_stream *stream) {
    if (stream == NULL || stream->first == stream->n) {
        return false;
    }
    const sim_task *task = &stream->task[stream->first];
    return task->type != SIM_WAIT || task->event->happened >= task->record;
}

static void sim_do(dl_stream *stream) {
    sim_task *task = &stream->task[stream->first++];
    sim_state.n_done++;
    switch (task->type) {
    case SIM_RUN:
        KIT_OK(task->op->functions->run(task->op, task->slots, NULL));
        break;
    case SIM_COPY:
        memcpy(task->to, task->bytes != NULL ? task->bytes : task->from, task->n_bytes);
        free(task->bytes);
        break;
    case SIM_RECORD:
        task->event->happened++;
        break;
    case SIM_WAIT:
        break;
    }
    if (stream->first == stream->n) {
        stream->first = stream->n = 0;
    }
}

/* Runs one task of the first stream in the order that can go on; false: nothing is left. */
static bool sim_step(void) {
    bool left = false;
    for (int i = 0; i < sim_state.n_streams; i++) {
        dl_stream *stream = sim_state.stream[sim_state.order[i]];
        if (sim_can_go_on(stream)) {
            sim_do(stream);
            return true;
        }
        left = left || (stream != NULL && stream->first < stream->n);
        sim_state.n_waits_held += left;
    }
    if (left) {
        fail_msg("every stream waits for another\n%s", kit_context);
    }
    return false;
}

static void sim_drain(const dl_stream *until) {
    while ((until == NULL || until->first < until->n) && sim_step()) {
    }
}

/* --- the backend's functions --- */

static sim_task *sim_add(dl_stream *stream, sim_type type) {
    dl_capture *capture = sim_state.capture;
    if (stream->captured) {
        assert_in_range(capture->n, 0, SIM_MAX_TASKS - 1);
        assert_int_not_equal(type, SIM_COPY);
        capture->stream[capture->n] = stream;
        capture->task[capture->n] = (sim_task){.type = type};
        return &capture->task[capture->n++];
    }
    assert_in_range(stream->n, 0, SIM_MAX_TASKS - 1);
    stream->task[stream->n] = (sim_task){.type = type};
    return &stream->task[stream->n++];
}

static dl_status sim_stream_create(dl_device *device, bool urgent, dl_stream **out) {
    (void)device;
    (void)urgent;
    assert_in_range(sim_state.n_streams, 0, SIM_MAX_STREAMS - 1);
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    (*out)->number = sim_state.n_streams;
    sim_state.order[sim_state.n_streams] = sim_state.n_streams;
    sim_state.stream[sim_state.n_streams++] = *out;
    return DL_OK;
}

static void sim_stream_destroy(dl_device *device, dl_stream *stream) {
    (void)device;
    if (stream != NULL) {
        sim_drain(stream);
        sim_state.stream[stream->number] = NULL;
        dl_free(&stream);
    }
}

static dl_status sim_synchronize(dl_device *device, dl_stream *stream) {
    (void)device;
    sim_drain(stream);
    return DL_OK;
}

static dl_status sim_event_create(dl_device *device, dl_event **out) {
    (void)device;
    return dl_alloc(1, sizeof **out, out);
}

static void sim_event_destroy(dl_device *device, dl_event *event) {
    (void)device;
    dl_free(&event);
}

static dl_status sim_event_record(dl_device *device, dl_event *event, dl_stream *stream) {
    (void)device;
    event->captured = stream->captured;
    event->recorded += !stream->captured;
    sim_add(stream, SIM_RECORD)->event = event;
    return DL_OK;
}

static dl_status sim_event_wait(dl_device *device, dl_event *event, dl_stream *stream) {
    (void)device;
    if (event->captured) { /* or it means nothing any more */
        assert_non_null(sim_state.capture);
        stream->captured = true;
    } else {
        assert_false(stream->captured);
    }
    sim_task *task = sim_add(stream, SIM_WAIT);
    task->event = event;
    task->record = event->recorded;
    return DL_OK;
}

static dl_status sim_event_synchronize(dl_device *device, dl_event *event) {
    (void)device;
    const int record = event->recorded;
    while (event->happened < record && sim_step()) {
    }
    return DL_OK;
}

/* Whoever asks often enough gets it done. */
static dl_status sim_event_query(dl_device *device, dl_event *event, bool *happened) {
    (void)device;
    *happened = event->happened >= event->recorded || !sim_step();
    return DL_OK;
}

static dl_status sim_capture_begin(dl_device *device, dl_stream *stream) {
    (void)device;
    assert_null(sim_state.capture);
    stream->captured = true;
    return dl_alloc(1, sizeof *sim_state.capture, &sim_state.capture);
}

static dl_status sim_capture_end(dl_device *device, dl_stream *stream, dl_capture **out) {
    (void)device;
    assert_true(stream->captured);
    for (int i = 0; i < sim_state.n_streams; i++) {
        if (sim_state.stream[i] != NULL) {
            sim_state.stream[i]->captured = false;
        }
    }
    if (out != NULL) {
        *out = sim_state.capture;
    } else {
        dl_free(&sim_state.capture);
    }
    sim_state.capture = NULL;
    return DL_OK;
}

/* The tasks anew, each in its stream; the waits among them are for the records among them. */
static dl_status sim_capture_launch(dl_device *device, dl_capture *capture, dl_stream *stream) {
    (void)device;
    assert_ptr_equal(stream, capture->stream[0]);
    sim_state.n_launches++;
    for (int i = 0; i < capture->n; i++) {
        sim_task *task = sim_add(capture->stream[i], capture->task[i].type);
        *task = capture->task[i];
        if (task->type == SIM_RECORD) {
            task->event->recorded++;
        } else if (task->type == SIM_WAIT) {
            task->record = task->event->recorded;
        }
    }
    return DL_OK;
}

static void sim_capture_destroy(dl_device *device, dl_capture *capture) {
    (void)device;
    dl_free(&capture);
}

static dl_status sim_memory_create(dl_device *device, size_t n_bytes, void **out) {
    (void)device;
    return dl_pages_alloc(n_bytes, out);
}

static void sim_memory_destroy(dl_device *device, void *memory, size_t n_bytes) {
    (void)device;
    dl_pages_free(memory, n_bytes);
}

static dl_status sim_host_create(dl_device *device, size_t n_bytes, void **out) {
    return sim_memory_create(device, n_bytes, out);
}

static void sim_host_destroy(dl_device *device, void *memory, size_t n_bytes) {
    sim_memory_destroy(device, memory, n_bytes);
}

static dl_status sim_download(dl_device *device, void *to, const void *from, size_t n_bytes,
                              dl_stream *stream) {
    (void)device;
    if (stream == NULL) {
        sim_drain(NULL);
        memcpy(to, from, n_bytes);
        return DL_OK;
    }
    sim_task *task = sim_add(stream, SIM_COPY);
    task->to = to;
    task->from = from;
    task->n_bytes = n_bytes;
    return DL_OK;
}

static dl_status sim_copy(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream) {
    return sim_download(device, to, from, n_bytes, stream);
}

static const dl_stream_functions sim_streams = {
    .create = sim_stream_create,
    .destroy = sim_stream_destroy,
    .synchronize = sim_synchronize,
    .event_create = sim_event_create,
    .event_destroy = sim_event_destroy,
    .event_record = sim_event_record,
    .event_wait = sim_event_wait,
    .event_synchronize = sim_event_synchronize,
    .event_query = sim_event_query,
    .host_create = sim_host_create,
    .host_destroy = sim_host_destroy,
    .copy = sim_copy,
    .capture_begin = sim_capture_begin,
    .capture_end = sim_capture_end,
    .capture_launch = sim_capture_launch,
    .capture_destroy = sim_capture_destroy,
};

typedef struct sim_op {
    dl_op base;
    dl_op *inner; /* of ref */
} sim_op;

static dl_status sim_run(const dl_op *op, void *const *slots, dl_stream *stream) {
    const sim_op *self = (const sim_op *)(const void *)op;
    if (stream == NULL) {
        return self->inner->functions->run(self->inner, slots, NULL);
    }
    sim_task *task = sim_add(stream, SIM_RUN);
    task->op = self->inner;
    memcpy(task->slots, slots, ((size_t)dl_op_info_of(op->desc.kind)->n_slots + 1) * sizeof *slots);
    return DL_OK;
}

static void sim_op_destroy(dl_op *op) {
    dl_op_destroy(&((sim_op *)(void *)op)->inner);
    dl_free(&op);
}

static const dl_op_functions sim_op_functions = {.run = sim_run, .destroy = sim_op_destroy};

static dl_status sim_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    sim_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    const dl_op *inner_forward = forward == NULL ? NULL : ((const sim_op *)(const void *)forward)->inner;
    dl_device *ref = ((sim_device *)(void *)device)->ref;
    const dl_status status = dl_op_prepare(ref, desc, inner_forward, &op->inner);
    if (status != DL_OK) {
        dl_free(&op);
        return status;
    }
    op->base = *op->inner;
    op->base.functions = &sim_op_functions;
    op->base.device = device;
    *out = &op->base;
    return DL_OK;
}

static void sim_close(dl_device *base) {
    sim_device *device = (sim_device *)(void *)base;
    sim_state.n_devices--;
    dl_device_close(&device->ref);
    dl_free(&device);
}

static dl_status sim_open(const dl_device_options *options, dl_device **out) {
    sim_device *device = NULL;
    if (sim_state.n_devices == 0) {
        sim_state = (sim){.n_streams = 0};
    }
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *device, &device));
    const dl_status status = dl_device_open(dl_backend_find("ref"), options, &device->ref);
    if (status != DL_OK) {
        dl_free(&device);
        return status;
    }
    sim_state.n_devices++;
    *out = &device->base;
    return DL_OK;
}

static void sim_version(char *out, size_t n_bytes) {
    (void)snprintf(out, n_bytes, "simulated streams");
}

static bool sim_takes(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    return dl_op_check(desc) == DL_OK;
}

/* The bytes are taken at once, as through pinned memory. */
static dl_status sim_upload(dl_device *device, void *to, const void *from, size_t n_bytes,
                            dl_stream *stream) {
    (void)device;
    if (stream == NULL) {
        sim_drain(NULL);
        memcpy(to, from, n_bytes);
        return DL_OK;
    }
    sim_task *task = sim_add(stream, SIM_COPY);
    task->to = to;
    task->n_bytes = n_bytes;
    task->bytes = malloc(n_bytes > 0 ? n_bytes : 1);
    assert_non_null(task->bytes);
    memcpy(task->bytes, from, n_bytes);
    return DL_OK;
}

static const dl_backend sim_backend = {
    .name = "simulated",
    .doc = "ref behind queues",
    .open = sim_open,
    .close = sim_close,
    .version = sim_version,
    .takes = sim_takes,
    .prepare = sim_prepare,
    .memory_create = sim_memory_create,
    .memory_destroy = sim_memory_destroy,
    .upload = sim_upload,
    .download = sim_download,
    .steps_in_flight = 2,
    .streams = &sim_streams,
};

#endif
