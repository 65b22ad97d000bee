/* What a communicator for the memory of a device asks of the device: memory, copies, streams, events. Whoever
 * opens the device fills the table; communicators know neither backends nor CUDA.
 *
 * A stream does what was put into it in the order of the calls; between streams only events make an order.
 * Streams and events are opaque. On CUDA a stream is the address of a struct whose first member is the
 * cudaStream_t (as `struct dl_stream` of the cuda backend): comm/nccl reads it there. */
#ifndef DLTRAIN_COMM_DEVICE_H
#define DLTRAIN_COMM_DEVICE_H

#include "comm/comm.h"

/* Nodes of the binary tree over the pieces (base/pieces.h): 1 is its root, 2k and 2k+1 are the halves of k,
 * and DL_PIECES + i is piece i. */
enum { DL_TREE_NODES = 2 * DL_PIECES };

/* The node of an aligned block of pieces (dl_aligned_blocks). */
static inline int dl_tree_node(dl_range pieces) {
    return (int)((DL_PIECES + pieces.begin) / (pieces.end - pieces.begin));
}

typedef struct dl_comm_device {
    const char *name; /* "NVIDIA H200", for messages */
    void *context;    /* handed to every function below */
    /* Memory of the device: zeroed, page aligned. The host cannot reach it. */
    dl_status (*memory_create)(void *context, size_t n_bytes, void **out);
    void (*memory_destroy)(void *context, void *memory, size_t n_bytes);
    /* Pages of the host that copies then reach without a detour. A failure costs speed only. */
    dl_status (*pin)(void *context, void *memory, size_t n_bytes);
    void (*unpin)(void *context, void *memory, size_t n_bytes);
    dl_status (*stream_create)(void *context, void **out);
    void (*stream_destroy)(void *context, void *stream); /* waits for its work; NULL is fine */
    dl_status (*event_create)(void *context, void **out);
    void (*event_destroy)(void *context, void *event); /* NULL is fine */
    /* The event happens when the stream has done what was put into it so far. It can be recorded again; waits
     * called for before mean the record before. */
    dl_status (*record)(void *context, void *event, void *stream);
    /* What is put into the stream from now on comes after the event's last record, if there was one. */
    dl_status (*stream_wait)(void *context, void *stream, void *event);
    /* The host waits for the event's last record. Tells failures of the work before it. */
    dl_status (*synchronize)(void *context, void *event);
    /* Has it happened? For waits that must end when another rank dies (dl_comm_functions.check). */
    dl_status (*query)(void *context, void *event, bool *happened);
    /* Copies put into a stream; the host's side must stay until the stream has come to them. */
    dl_status (*copy_out)(void *context, void *host, const void *device, size_t n_bytes, void *stream);
    dl_status (*copy_in)(void *context, void *device, const void *host, size_t n_bytes, void *stream);
    /* out[i] = sum over the tree of pieces, for n_elements of float32 or float64. leaf[k] is the address on
     * the device of the sum at node k of the tree (dl_tree_node), NULL where there is none; `out` may be one
     * of them. Whole leaves make up the tree. NULL: the device cannot. */
    dl_status (*sum)(void *context, dl_dtype dtype, const void *const leaf[DL_TREE_NODES], int64_t n_elements,
                     void *out, void *stream);
} dl_comm_device;

/* A communicator of `host`'s ranks for the memory of each rank's device. `host` (self or mpi; borrowed) does
 * its control plane and must outlive it; an error agreed on is noted in both. Copies *device; what it points
 * to must outlive the communicator. Collective over host. */
typedef dl_status dl_comm_device_create(dl_comm *host, const dl_comm_device *device, dl_comm **out);

/* alone: for one rank. DL_ERR_INTERNAL for more. */
DL_NODISCARD dl_comm_device_create dl_comm_alone_create;

/* staged: device -> pinned memory -> host's all-reduce -> device, in chunks that overtake each other. Any
 * number of ranks may share a device. Sums have the bits of `host`. */
DL_NODISCARD dl_comm_device_create dl_comm_staged_create;

#endif
