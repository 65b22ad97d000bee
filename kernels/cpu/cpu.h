/* Inside the cpu backend: its device, its two forms of prepared operation, and who prepares what. */
#ifndef DLTRAIN_KERNELS_CPU_CPU_H
#define DLTRAIN_KERNELS_CPU_CPU_H

#include "kernels/cpu/loops/loops.h"
#include "kernels/cpu/onednn.h"

typedef struct dl_cpu_device {
    dl_device base;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const dl_cpu_loops *loops; /* compiled for this machine's instruction set */
} dl_cpu_device;

static inline dl_cpu_device *dl_cpu_device_of(dl_device *device) {
    return (dl_cpu_device *)(void *)device;
}

/* ---- operations that oneDNN runs: a few primitives one after the other ---- */

enum { DL_CPU_MAX_CALLS = 6, DL_CPU_MAX_ARGS = 6 };

/* One argument of a primitive: oneDNN's number, the descriptor, and which memory it is. */
typedef struct dl_cpu_arg {
    int index;     /* DNNL_ARG_... */
    dl_md md;      /* lives as long as the process (interned) */
    int slot;      /* slot number; info->n_slots is the workspace */
    size_t offset; /* bytes into that memory */
} dl_cpu_arg;

/* A primitive ready to run. The memory objects exist once for each thread that may run the operation at the
 * same time (for_each), because setting an address changes them. */
typedef struct dl_cpu_call {
    dnnl_primitive_t primitive;
    int n_args;
    dl_cpu_arg arg[DL_CPU_MAX_ARGS];
    dnnl_exec_arg_t *exec; /* [n_sets][n_args] */
} dl_cpu_call;

typedef struct dl_cpu_calls_op {
    dl_op base;
    int n_sets;
    int n_calls;
    dl_cpu_call call[DL_CPU_MAX_CALLS];
    size_t staging_bytes; /* the part of the workspace before the scratchpads */
} dl_cpu_calls_op;

/* A new operation without calls; all layouts plain. */
DL_NODISCARD dl_status dl_cpu_calls_create(dl_device *device, const dl_op_desc *desc, dl_cpu_calls_op **out);

/* Takes `n_bytes` of the workspace for a tensor between two calls; the offset goes to *offset. All staging
 * must be taken before the first call is added. */
void dl_cpu_calls_stage(dl_cpu_calls_op *op, size_t n_bytes, size_t *offset);

/* Adds a primitive made from `pd` (which stays the caller's); its scratchpad is added to the arguments. */
DL_NODISCARD dl_status dl_cpu_calls_add(dl_cpu_calls_op *op, dl_pd_const pd, int n_args,
                                        const dl_cpu_arg *args);

/* Adds a reorder between two memories; `add` adds to the target instead of writing it. */
DL_NODISCARD dl_status dl_cpu_calls_add_reorder(dl_cpu_calls_op *op, const dl_cpu_arg *from,
                                                const dl_cpu_arg *to, bool add);
void dl_cpu_calls_destroy(dl_op *op);

/* Attributes every primitive here has: scratchpads belong to the caller. Release with
 * dnnl_primitive_attr_destroy. */
DL_NODISCARD dl_status dl_cpu_attr_create(dnnl_primitive_attr_t *out);

/* backend->download (download.c). */
DL_NODISCARD dl_status dl_cpu_download(dl_device *device, void *to, const void *from, size_t n_bytes,
                                       dl_stream *stream);

/* Most threads that run operations at the same time: the largest n_threads of a device opened so far. */
int dl_cpu_concurrency(void);

/* ---- operations that are loops of our own ---- */

typedef struct dl_cpu_loop_op {
    dl_op base;
    dl_cpu_loop loop;
    dl_cpu_part part;
    int64_t n_items; /* divided over the threads in multiples of `grain` */
    int64_t grain;
    int64_t item_elements; /* for judging whether threads are worth it */
} dl_cpu_loop_op;

/* ---- who prepares what; each returns DL_OK with *out set ---- */

DL_NODISCARD dl_status dl_cpu_prepare_product(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                              dl_op **out);
DL_NODISCARD dl_status dl_cpu_prepare_dense(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                            dl_op **out);
DL_NODISCARD dl_status dl_cpu_prepare_embedding_dense(dl_device *device, const dl_op_desc *desc,
                                                      const dl_op *forward, dl_op **out);
DL_NODISCARD dl_status dl_cpu_prepare_reorder(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                              dl_op **out);
DL_NODISCARD dl_status dl_cpu_prepare_lstm(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                           dl_op **out);
DL_NODISCARD dl_status dl_cpu_prepare_loop(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                           dl_op **out);

/* Whether these functions take a desc. */
bool dl_cpu_product_takes(const dl_device *device, const dl_op_desc *desc);
bool dl_cpu_dense_takes(const dl_device *device, const dl_op_desc *desc);
bool dl_cpu_embedding_dense_takes(const dl_device *device, const dl_op_desc *desc);
bool dl_cpu_lstm_takes(const dl_device *device, const dl_op_desc *desc);
bool dl_cpu_reorder_takes(const dl_device *device, const dl_op_desc *desc);
bool dl_cpu_loop_takes(const dl_device *device, const dl_op_desc *desc);

/* Has this processor instructions for products of bfloat16, and may oneDNN use them? */
bool dl_cpu_multiplies_bfloat16(void);

/* Algorithms of a product: 0 direct, 1 Winograd, where oneDNN has it for these layouts. */
int dl_cpu_product_algorithms(const dl_device *device, const dl_op_desc *desc);
const char *dl_cpu_product_algorithm_name(const dl_device *device, const dl_op_desc *desc, int algorithm);

/* Weights of dense layers packed for our own products (dense.c): panels of 64 outputs, one input behind the
 * other. Their layout, bytes, the sides of y = x w^T without addresses, and packing from w[o,i]. */
DL_NODISCARD dl_status dl_cpu_packed_weights(int64_t outputs, int64_t inputs, const dl_layout **out);
size_t dl_cpu_packed_bytes(int64_t outputs, int64_t inputs);
dl_cpu_matrices dl_cpu_packed_matrices(int64_t outputs, int64_t inputs);
void dl_cpu_pack_weights(const dl_cpu_matrices *m, const float *w, float *packed);
/* The same panels from a plain matrix b of k rows of n. */
void dl_cpu_pack_columns(const dl_cpu_matrices *m, const float *b, float *packed);

/* The sides of dx = dy w and of dw = dy^T x over n rows, all plain, without addresses. */
dl_cpu_matrices dl_cpu_data_matrices(int64_t outputs, int64_t inputs);
dl_cpu_matrices dl_cpu_weight_matrices(int64_t n, int64_t outputs, int64_t inputs);

/* A thread's room for a product of so many rows or fewer (loops.h), in whole cache lines. */
size_t dl_cpu_room_bytes(const dl_cpu_matrices *m, int64_t n_rows);

/* Descriptors for a slot's tensor: its layout when it has one, "any" when it asks for any, else plain. */
DL_NODISCARD dl_status dl_cpu_md_activation(const dl_tensor_desc *tensor, const dl_layout **out);
DL_NODISCARD dl_status dl_cpu_md_weights(const dl_tensor_desc *tensor, int64_t groups, const dl_layout **out);
DL_NODISCARD dl_status dl_cpu_md_vector(const dl_tensor_desc *tensor, const dl_layout **out);

/* An image tensor seen as n images of rows x columns x channels next to each other: plain tensors as they
 * are, channel-blocked ones as n * C / block images of `block` channels. False for other layouts. */
typedef struct dl_cpu_image_view {
    int64_t n, rows, columns, channels;
    int64_t block; /* 0: plain */
} dl_cpu_image_view;
bool dl_cpu_image_view_of(const dl_tensor_desc *tensor, dl_cpu_image_view *out);

#endif
