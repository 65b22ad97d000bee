/* All-reduce among ranks that see each other's memory: flags, waiting, sums. Knows nothing of MPI.
 *
 * Every rank owns a pair of flags per collective that only it writes: `full` (my numbers of round s are
 * there) and `done` (I have written my part of the result of round s everywhere). Both hold the number of the
 * last round and only grow, so nothing is ever reset. A release store publishes, an acquire load takes.
 *
 * Buffers: rank r adds slice r of all ranks' leaves and stores the result in every rank's buffer. Slices are
 * disjoint and read before they are written, by one rank only; `done` of all ranks ends the round. Small
 * values: every rank copies its numbers into its bank (round modulo 2) and adds all banks itself; a bank is
 * filled again two rounds later, when `full` of the round between shows that everybody has left it. */
#ifndef DLTRAIN_COMM_SHARED_H
#define DLTRAIN_COMM_SHARED_H

#include "comm/tree.h"

#include <stdatomic.h>

typedef struct dl_shared_flags {
    _Alignas(64) _Atomic uint64_t full;
    _Alignas(64) _Atomic uint64_t done;
} dl_shared_flags;

typedef struct dl_shared_reduce {
    int rank, size;          /* among the ranks that share memory */
    dl_shared_flags **flags; /* [size] */
    dl_status (*progress)(
        void *context); /* called now and then while waiting, a failure ends the wait; or NULL */
    void *progress_context;
    uint64_t round;
    dl_reduction reduction;
    dl_dtype dtype;
    int64_t n_elements;
    dl_sum_plan plan; /* over leaves, owned by whoever made this */
    const void *
        *leaf;    /* [n_leaves]: buffers; for small values [2 n_leaves]: places in banks 0, then in banks 1 */
    void **out;   /* [size]: every rank's buffer; for small values only out[rank] is used */
    int n_slices; /* the first n_slices ranks add; size, or fewer when nodes differ in size */
    size_t bank_bytes; /* small values: a bank's size; bank 1 lies bank_bytes after bank 0. 0: buffers */
    char *bank;        /* my bank 0 */
    int n_own;         /* small values: what to copy into the bank, one after the other */
    const void *own[DL_MAX_BLOCKS];
} dl_shared_reduce;

/* The slice of the elements that rank `rank` adds; cut at cache lines. Empty from n_slices on. */
dl_range dl_shared_slice(const dl_shared_reduce *reduce, int rank);

/* Begins a round: my numbers are complete. Does not block. */
void dl_shared_start(dl_shared_reduce *reduce);

/* Ends the round: out[rank] holds the result. `between` (may be NULL; buffers only) is called when my slice
 * of out[rank] holds this node's sum, to add the other nodes'; its failure ends the wait. */
DL_NODISCARD dl_status dl_shared_wait(dl_shared_reduce *reduce,
                                      dl_status (*between)(void *context, dl_range slice), void *context);

#endif
