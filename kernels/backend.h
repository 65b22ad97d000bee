/* THE backend table. A backend runs operations on one device; it knows no model, no rank, no file.
 *
 * Create once, execute many: prepare() chooses the algorithm, fixes shapes and layouts, and says how much
 * workspace it needs; run() only enqueues. No run() allocates. A backend does what it does better and
 * delegates the rest to its fallback; `ref` takes every kind. */
#ifndef DLTRAIN_KERNELS_BACKEND_H
#define DLTRAIN_KERNELS_BACKEND_H

#include "kernels/op.h"

typedef struct dl_device dl_device;
typedef struct dl_op dl_op;
typedef struct dl_stream dl_stream; /* NULL on backends that run an operation before run() returns */
typedef struct dl_event dl_event;
typedef struct dl_capture dl_capture; /* work kept as one piece */

enum { DL_MAX_LAYOUTS = 4, DL_LAYOUT_NAME_BYTES = 48 };

typedef struct dl_device_options {
    int n_threads; /* CPU threads this rank may use, >= 1 */
    int index;     /* which GPU of this host */
    /* Of GPU libraries' implementations: only those that give the same bits every time; those that round the
     * float32 they multiply to tf32, too. Without either, what the CPU backends do. */
    bool deterministic, tf32;
} dl_device_options;

typedef struct dl_op_functions {
    /* Enqueues the operation. slots[i] is the address of slot i (NULL when absent); slots[info->n_slots] is
     * the workspace of op->workspace_bytes (NULL when 0). Errors: DL_ERR_INTERNAL with the library's own
     * words. */
    dl_status (*run)(const dl_op *op, void *const *slots, dl_stream *stream);
    void (*destroy)(dl_op *op);
} dl_op_functions;

/* The head of every prepared operation; backends put their own fields behind it. */
struct dl_op {
    const dl_op_functions *functions;
    dl_device *device;                        /* the one that runs it (a fallback's, when delegated) */
    dl_op_desc desc;                          /* as asked, layouts as in `layout` */
    const dl_layout *layout[DL_OP_MAX_SLOTS]; /* the layouts it wants; NULL plain */
    size_t workspace_bytes;
    bool batch_invariant; /* rows of outputs do not depend on the number of samples, bit for bit */
    bool rounds_sums;     /* float32 outputs of 16-bit inputs were rounded to those 16 bits on their way */
    char implementation[DL_LAYOUT_NAME_BYTES]; /* "brgconv:avx512_core", "ref": for --program and the tests */
};

typedef struct dl_backend dl_backend;

/* The head of every open device. */
struct dl_device {
    const dl_backend *backend;
    dl_device *fallback; /* opened and closed with this device; NULL on ref */
    int n_threads;
    int index;                /* which GPU of this host; 0 on CPUs */
    bool deterministic, tf32; /* as opened */
};

/* Queues of work that run side by side. A stream does what was put into it in the order of the calls; between
 * streams only events make an order. The calls themselves wait for nothing but where they say so. */
typedef struct dl_stream_functions {
    /* `urgent`: its work goes before that of other streams where both are ready (exchanges between ranks). */
    dl_status (*create)(dl_device *device, bool urgent, dl_stream **out);
    /* Waits for its work. NULL is fine. */
    void (*destroy)(dl_device *device, dl_stream *stream);
    /* The host waits until all work put into it so far is done; NULL: all work of the device. Tells failures
     * of that work (DL_ERR_INTERNAL). */
    dl_status (*synchronize)(dl_device *device, dl_stream *stream);
    dl_status (*event_create)(dl_device *device, dl_event **out);
    void (*event_destroy)(dl_device *device, dl_event *event);
    /* The event happens when the work put into the stream so far is done. It can be recorded again: waits
     * called for before mean the record before. */
    dl_status (*event_record)(dl_device *device, dl_event *event, dl_stream *stream);
    /* Work put into the stream from now on waits for the event's last record; for nothing when there is none.
     */
    dl_status (*event_wait)(dl_device *device, dl_event *event, dl_stream *stream);
    /* The host waits for the event's last record. */
    dl_status (*event_synchronize)(dl_device *device, dl_event *event);
    /* Has the event's last record happened? Optional: for waits in which other ranks are looked after. */
    dl_status (*event_query)(dl_device *device, dl_event *event, bool *happened);
    /* Host memory, zeroed, that a download in a stream goes to while the host does other things. */
    dl_status (*host_create)(dl_device *device, size_t n_bytes, void **out);
    void (*host_destroy)(dl_device *device, void *memory, size_t n_bytes);
    /* From memory of the device to memory of the device. */
    dl_status (*copy)(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream);
    /* Work as one piece that can be done again and again (a CUDA graph). Optional: all four or none.
     * From capture_begin on what is put into `stream` is kept, not done, and so is what is put into others
     * behind a wait for an event that was recorded since; before capture_end `stream` must wait for an event
     * at the end of each of those. In between the host waits for nothing, nothing is uploaded or downloaded,
     * and only events recorded since are waited for, which mean nothing afterwards until they are recorded
     * anew. capture_end with out == NULL forgets what was kept; so does a failure. */
    dl_status (*capture_begin)(dl_device *device, dl_stream *stream);
    dl_status (*capture_end)(dl_device *device, dl_stream *stream, dl_capture **out);
    /* Puts the piece into a stream: it does the same to the same memory each time. */
    dl_status (*capture_launch)(dl_device *device, dl_capture *capture, dl_stream *stream);
    void (*capture_destroy)(dl_device *device, dl_capture *capture);
} dl_stream_functions;

struct dl_backend {
    /* REQUIRED */
    const char *name;
    const char *doc;      /* one line for --help */
    const char *fallback; /* name of the backend that takes what this one does not; NULL: it is an error */
    /* Opens a device; the generic part opens the fallback. DL_ERR_USAGE with the reason when there is none.
     */
    dl_status (*open)(const dl_device_options *options, dl_device **out);
    void (*close)(dl_device *device);
    /* "oneDNN 2.6.3" into out, for the banner. */
    void (*version)(char *out, size_t n_bytes);
    /* Does this backend itself take the operation? Asked when a program is compiled, never in a step. */
    bool (*takes)(const dl_device *device, const dl_op_desc *desc);
    /* Prepares an operation. `forward` is the prepared forward kind for gradient kinds, else NULL; it must
     * outlive the call only. */
    dl_status (*prepare)(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out);
    dl_status (*memory_create)(dl_device *device, size_t n_bytes, void **out); /* zeroed, page aligned */
    void (*memory_destroy)(dl_device *device, void *memory, size_t n_bytes);
    /* Copies between host and device. With a stream upload() has taken the bytes when it returns, and they
     * arrive in the stream's order; a download is complete when the stream has come to it. Without one both
     * wait for all work of the device, and all is done on return. */
    dl_status (*upload)(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream);
    dl_status (*download)(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream);

    /* OPTIONAL, with defaults */
    int steps_in_flight; /* steps launched before the control word of the first is read: 0 on CPUs */
    bool strict;         /* the executor fences each instruction's memory (ref:strict) */
    bool own_memory;     /* the host cannot reach what memory_create gives */
    const dl_stream_functions *streams; /* NULL: run() returns when the operation is done */
    /* "NVIDIA H200, 140 GiB, driver 580.95.05" into out: the opened device, for the banner. */
    void (*describe)(const dl_device *device, char *out, size_t n_bytes);
    /* What decides how fast it is: the name of the GPU (default: the processor's). */
    const char *(*model)(const dl_device *device);
    /* Number of algorithms for a desc (default 1: algorithm 0). Algorithm numbers mean the same on all ranks.
     * The name of one that computes by way of a transform begins with "winograd" or "fourier"; NULL: there is
     * none of that number, which may be known long before they are counted. */
    int (*n_algorithms)(const dl_device *device, const dl_op_desc *desc);
    const char *(*algorithm_name)(const dl_device *device, const dl_op_desc *desc, int algorithm);
    /* Layouts beside plain that an activation of this shape could have inside a chain (default: none);
     * returns how many it wrote to out[DL_MAX_LAYOUTS]. */
    int (*layouts)(dl_device *device, dl_dtype dtype, const dl_shape *shape, const dl_layout **out);
    /* The same layout for another number of samples. */
    const dl_layout *(*layout_with_samples)(dl_device *device, const dl_layout *layout, int64_t n_samples);
    /* How 16-bit floats of this type are computed with, for the banner ("products by ..."; default: in
     * float32, every result rounded). */
    const char *(*describe_half)(const dl_device *device, dl_dtype half);
    /* Calls function(context, i) for i in 0..n-1, spread over the device's threads, each call on one thread
     * (default: in a loop). Operations run inside it must have been prepared with n_threads = 1. */
    dl_status (*for_each)(dl_device *device, int n, dl_status (*function)(void *context, int i),
                          void *context);
};

/* The backend of this name ("ref", "ref:strict", "cpu"), or NULL. One of a plugin once it was opened. */
const dl_backend *dl_backend_find(const char *name);

/* The same; a backend that is not built in is looked for in the plugin dltrain_NAME.so (kernels/plugin.h),
 * which is opened at the first call. DL_ERR_USAGE says why there is none. */
DL_NODISCARD dl_status dl_backend_open(const char *name, const dl_backend **out);

/* The backend of `backend: auto`: cuda where this process has a GPU, else cpu. `why_cpu` (n_bytes) says why a
 * GPU is not used where one might be expected: there is a driver or a plugin; else it is empty. */
const dl_backend *dl_backend_auto(char *why_cpu, size_t n_bytes);
/* All backends built in, NULL-terminated. */
const dl_backend *const *dl_backends(void);

/* Opens `backend` and, behind it, its fallbacks. Close with dl_device_close, which sets *device to NULL. */
DL_NODISCARD dl_status dl_device_open(const dl_backend *backend, const dl_device_options *options,
                                      dl_device **out);
void dl_device_close(dl_device **device);

/* Checks the desc, then prepares it on the device or the first fallback that takes it. A fallback is asked
 * for plain layouts in place of the device's own (read op->layout). A gradient kind that reads what its
 * forward kind saved is prepared where the forward kind was; give that slot the layout of forward->layout.
 * What no device takes on 16-bit floats is computed in float32 between conversions (kernels/widened.h). */
DL_NODISCARD dl_status dl_op_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                     dl_op **out);
void dl_op_destroy(dl_op **op);

/* Bytes of slot i of a prepared operation (0 when absent). */
size_t dl_op_slot_bytes(const dl_op *op, int i);

const char *dl_device_describe_half(const dl_device *device, dl_dtype half);
int dl_device_n_algorithms(const dl_device *device, const dl_op_desc *desc);
const char *dl_device_algorithm_name(const dl_device *device, const dl_op_desc *desc, int algorithm);
/* The name where a device has but one for a desc. */
static inline const char *dl_only_algorithm_name(int algorithm) {
    return algorithm == 0 ? "default" : NULL;
}
int dl_device_layouts(dl_device *device, dl_dtype dtype, const dl_shape *shape, const dl_layout **out);
/* The host waits for all work of the device; nothing to wait for on backends without streams. */
DL_NODISCARD dl_status dl_device_synchronize(dl_device *device);
DL_NODISCARD dl_status dl_device_for_each(dl_device *device, int n, dl_status (*function)(void *, int),
                                          void *context);

#endif
