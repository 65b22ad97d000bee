/* THE communication table. A communicator joins the ranks of one axis of the grid.
 *
 * Two kinds of calls:
 *  - collectives of a step are prepared once and then started and waited for, without allocation;
 *  - control-plane calls (barrier, broadcast, gather) block, work on host memory, and are used outside steps.
 * Buffers of collectives lie in host memory (self, mpi) or in the memory of a device (staged, nccl:
 * `on_device`), whose work is ordered by streams; comm/device.h is what such a communicator asks of the
 * device. Every function is collective over the communicator unless it says otherwise: all its ranks must
 * call it, in the same order, with arguments that agree. Errors: DL_ERR_PEER names the call. Collectives sum;
 * nobody averages. */
#ifndef DLTRAIN_COMM_COMM_H
#define DLTRAIN_COMM_COMM_H

#include "base/pieces.h"
#include "base/tensor.h"

typedef struct dl_comm dl_comm;
typedef struct dl_collective dl_collective;

typedef enum dl_reduction { DL_REDUCE_SUM, DL_REDUCE_MAX } dl_reduction;

/* One all-reduce to prepare. `buffer` (n_elements of dtype) ends with the same value on all ranks.
 * With n_blocks > 0 (reproducible mode) this rank brings n_blocks partial sums instead of one: block[i] is
 * the sum over pieces block_pieces[i], n_elements each, block[0] == buffer; the result is the sum over all
 * ranks' blocks in the binary tree over DL_PIECES pieces, and lands in `buffer`. */
typedef struct dl_reduce_desc {
    dl_reduction reduction;
    dl_dtype dtype; /* DL_F32, DL_F64, DL_BF16, DL_F16 for sums (blocks: the first two), DL_I32 for max */
    int64_t n_elements;
    void *buffer;
    int n_blocks;
    void *block[DL_MAX_BLOCKS];
    dl_range block_pieces[DL_MAX_BLOCKS];
    const char *name; /* "bucket 2": for messages and traces */
} dl_reduce_desc;

typedef struct dl_comm_functions {
    const char *name; /* "self", "mpi", "alone", "staged", "nccl" */
    const char *doc;
    bool on_device; /* memory_create gives, and buffers are, memory of a device */
    bool in_stream; /* a started collective leaves the rest to the stream (alone, nccl) */
    /* Memory that peers can reach quickly (gradient arenas): zeroed, page aligned. Falls back to private
     * memory where shared windows cannot be had, saying so once. */
    dl_status (*memory_create)(dl_comm *comm, size_t n_bytes, void **out);
    /* Not collective, never blocks: a rank that failed alone may call it. NULL is fine. */
    void (*memory_destroy)(dl_comm *comm, void *memory);
    /* Prepares an all-reduce; buffers inside memory from memory_create go the fast way. */
    dl_status (*all_reduce_prepare)(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out);
    void (*collective_destroy)(dl_collective *collective);
    /* Starts it; nobody may touch the buffer until it is done. Waits neither for other ranks nor for a
     * device. Host memory: the buffer is full, `stream` is NULL. On a device: the buffer is full when the
     * device comes to this place of `stream`, which is the same for all collectives of a communicator. With
     * in_stream the result is there for everything put into `stream` afterwards, and a start can be captured
     * (kernels/backend.h). */
    dl_status (*start)(dl_collective *collective, void *stream);
    /* All ranks wait for the started collectives of a communicator in one order, which need not be that of
     * start(). Host memory: returns when `buffer` holds the result.
     * On a device: the result is there for everything put into start()'s stream from now on. Without
     * in_stream (staged) the host drives the exchange here, waiting for the other ranks; with it the call
     * only looks for failures and never waits, and others may be started before it is called. */
    dl_status (*wait)(dl_collective *collective);
    /* Has another rank, or the way to it, failed? DL_ERR_PEER; on a device, what it still does for this
     * communicator then comes to an end. For whoever waits for an event of a device: the device does not
     * notice that a rank has died. Not collective, never blocks. */
    dl_status (*check)(dl_comm *comm);
    /* Control plane, host memory, blocking. */
    dl_status (*barrier)(dl_comm *comm);
    dl_status (*broadcast)(dl_comm *comm, void *bytes, size_t n_bytes, int root);
    /* out: n_bytes from each rank, in rank order. */
    dl_status (*all_gather)(dl_comm *comm, const void *bytes, size_t n_bytes, void *out);
    /* Ends the whole job at once with this exit code; called by one rank, returns only on self. */
    void (*abort_job)(dl_comm *comm, int exit_code);
    /* The ranks that pass the same color, in the order of their ranks, form a new communicator. */
    dl_status (*split)(dl_comm *comm, int color, dl_comm **out);
    /* True for the first of this node's ranks that asks, false from then on: who may tell the job's error.
     * Not collective, never blocks. */
    bool (*claim)(dl_comm *comm);
    /* A rank of this host whose process has ended, with its process number, or -1. Not collective, never
     * blocks, async-signal-safe. Only before the orderly end means it harm. */
    int (*lost_peer)(dl_comm *comm, int *process);
    /* Not collective and never blocks for parts of the world; the world itself is destroyed by all its ranks.
     */
    void (*destroy)(dl_comm *comm);
} dl_comm_functions;

/* The head of every communicator. */
struct dl_comm {
    const dl_comm_functions *functions;
    dl_comm
        *host; /* on a device: the communicator of the same ranks that does the control plane; else NULL */
    int rank, size;           /* in this communicator */
    int node_rank, node_size; /* among its ranks on this host */
    int n_nodes;
    int reduce_calls; /* collectives prepared so far: part of the digest ranks compare */
    bool failed; /* dl_comm_agree or dl_comm_compare told every rank of a failure: the job ends in order */
    int failed_rank; /* then: whose message it is, -1 when every rank has the same */
};

/* How a dead peer is told, wherever it is noticed: its rank and process number. */
#define DL_LOST_PEER_MESSAGE "rank %d (process %d) has died"

/* A communicator of one rank: never blocks, never fails. */
DL_NODISCARD dl_status dl_comm_self_create(dl_comm **out);

/* Was this process started by an MPI launcher (environment only; nothing is initialised)? */
bool dl_comm_mpi_launched(void);

/* This process's rank and the number of ranks as the launcher's environment has them, before MPI is started;
 * 0 and 1 without a launcher. For commands that do not start MPI. */
int dl_comm_mpi_launched_rank(void);
int dl_comm_mpi_launched_size(void);

/* Starts MPI and makes the world communicator. Called once, by launcher/bootstrap.c. Not with self. */
DL_NODISCARD dl_status dl_comm_mpi_create(dl_comm **out);

/* Ends MPI after an orderly run (all ranks must come). */
void dl_comm_mpi_finish(void);

/* Destroys any communicator; sets *comm to NULL. */
void dl_comm_destroy(dl_comm **comm);

/* Checks what a prepare function may rely on: reduction and type fit, block 0 is the buffer. For
 * implementations. */
DL_NODISCARD dl_status dl_reduce_desc_check(const dl_reduce_desc *desc);

/* All ranks learn whether any failed: returns DL_OK when all passed DL_OK; otherwise every rank returns the
 * lowest failing rank's code, and its error record holds that rank's message (the failing rank keeps its own
 * trace). *failed_rank (may be NULL) is that rank, or -1 when all ranks failed with the same code and
 * message, as with a mistake in the config: then the message is told without a rank. It is noted in
 * comm->failed and failed_rank, from which launcher/bootstrap.c sees that all ranks end together and who
 * prints; on a device in comm->host, too. For phases that all ranks go through. */
DL_NODISCARD dl_status dl_comm_agree(dl_comm *comm, dl_status status, int *failed_rank);

/* Compares a text over ranks ("config", "data", ...). DL_ERR_USAGE on all ranks when they differ, naming the
 * first differing line's key and both values: "ranks disagree (config): seed is 1 on rank 0 and 2 on rank 1".
 * Lines are "key: value". Only digests travel while they agree. Counts as an agreement (comm->failed). */
DL_NODISCARD dl_status dl_comm_compare(dl_comm *comm, const char *what, const char *text);

#endif
