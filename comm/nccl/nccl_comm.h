/* Inside of the nccl communicator; only comm/nccl includes this. */
#ifndef DLTRAIN_COMM_NCCL_NCCL_COMM_H
#define DLTRAIN_COMM_NCCL_NCCL_COMM_H

#include "comm/device_comm.h"
#include "comm/nccl/communicator.h"

#include <nccl.h>

typedef struct dl_nccl {
    dl_device_comm base;
    ncclComm_t nccl;      /* NULL: aborted */
    double timeout;       /* seconds that a call may stay under way */
    void *scratch;        /* on the GPU: blocks of other ranks, a chunk at a time */
    size_t scratch_bytes; /* shared by all collectives, which take turns in their one stream */
} dl_nccl;

/* The struct at a stream's address begins with CUDA's own. */
static inline cudaStream_t dl_nccl_stream(void *stream) {
    return stream == NULL ? NULL : *(cudaStream_t *)stream;
}

/* What a call of NCCL gave, when that was not ncclSuccess or ncclInProgress: DL_ERR_PEER with the call,
 * NCCL's words and its last message; the communicator is aborted. */
DL_NODISCARD dl_status dl_nccl_check(dl_nccl *comm, ncclResult_t result, const char *call, int line);

/* The communicators do not block: a call has only begun when it returns, and nothing may be put behind it in
 * the stream before it is done. Waits for that, for comm->timeout at most. DL_ERR_PEER as above. */
DL_NODISCARD dl_status dl_nccl_settle(dl_nccl *comm, ncclResult_t result, const char *call, int line);

#define DL_NCCL(comm, call) dl_nccl_settle((comm), (call), #call, __LINE__)

/* Gives up what is under way; what waits on the GPU for other ranks comes to its end. */
void dl_nccl_abort(dl_nccl *comm);

/* nccl_reduce.c: for the table. */
dl_status dl_nccl_reduce_prepare(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out);
void dl_nccl_reduce_destroy(dl_collective *collective);
dl_status dl_nccl_reduce_start(dl_collective *collective, void *stream);
dl_status dl_nccl_reduce_wait(dl_collective *collective);
dl_status dl_nccl_look(dl_comm *comm);

#endif
