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

enum { DL_MAX_LAYOUTS = 4, DL_LAYOUT_NAME_BYTES = 48 };

typedef struct dl_device_options {
    int n_threads; /* CPU threads this rank may use, >= 1 */
    int index;     /* which GPU of this host */
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
    char implementation[DL_LAYOUT_NAME_BYTES]; /* "brgconv:avx512_core", "ref": for --program and the tests */
};

typedef struct dl_backend dl_backend;

/* The head of every open device. */
struct dl_device {
    const dl_backend *backend;
    dl_device *fallback; /* opened and closed with this device; NULL on ref */
    int n_threads;
};

struct dl_backend {
    /* REQUIRED */
    const char *name;
    const char *doc;      /* one line for --help */
    const char *fallback; /* name of the backend that takes what this one does not; NULL on ref */
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
    dl_status (*upload)(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream);
    dl_status (*download)(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream);

    /* OPTIONAL, with defaults */
    int steps_in_flight; /* steps launched before the control word of the first is read: 0 on CPUs */
    bool strict;         /* the executor fences each instruction's memory (ref:strict) */
    /* Number of algorithms for a desc (default 1: algorithm 0). Algorithm numbers mean the same on all ranks.
     */
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

/* The backend of this name ("ref", "ref:strict", "cpu"), or NULL. */
const dl_backend *dl_backend_find(const char *name);
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
int dl_device_layouts(dl_device *device, dl_dtype dtype, const dl_shape *shape, const dl_layout **out);
DL_NODISCARD dl_status dl_device_for_each(dl_device *device, int n, dl_status (*function)(void *, int),
                                          void *context);

#endif
