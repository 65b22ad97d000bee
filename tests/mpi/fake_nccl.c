#define _GNU_SOURCE
/* NCCL's functions as far as comm/nccl uses them, over the test device and an mpi communicator: so that its
 * life can be tested without a GPU. What these do is what NCCL's documents promise of communicators that do
 * not block: calls answer ncclInProgress, a handle appears late, the work comes in the stream's order (here
 * at once: the stream is waited for).
 *
 * FAKE_NCCL makes it fail: "id", "init" (an error in the course of it), "hang" (rank 0 never gets through),
 * "step" (the third collective meets an error between ranks), "split". */
#include "tests/mpi/fake_nccl.h"

#include "base/mem.h"
#include "tests/mpi/check.h"

#include <nccl.h>
#include <stdlib.h>
#include <string.h>

enum { POLLS = 3, MAX_GROUP = 16 };

typedef struct task {
    char *at;
    size_t n_bytes;
    int root;
    void *stream;
} task;

struct ncclComm {
    dl_comm *host; /* owned */
    int polls;     /* answers "in progress" that are still to be given */
    ncclResult_t state;
    ncclComm_t *appears; /* where a split's handle goes when it is done, */
    ncclComm_t split;    /* and the handle */
    int n_calls;
};

static dl_comm *fake_world;
static const dl_comm_device *fake_device;
static int group_depth, n_tasks, n_living;
static task group[MAX_GROUP];
static ncclComm_t group_comm;

static bool fails(const char *how) {
    const char *wanted = getenv("FAKE_NCCL");
    return wanted != NULL && strcmp(wanted, how) == 0;
}

void fake_nccl_use(dl_comm *world, const dl_comm_device *device) {
    fake_world = check_world = world;
    fake_device = device;
}

int fake_nccl_living(void) {
    return n_living;
}

const char *ncclGetErrorString(ncclResult_t result) {
    return result == ncclSuccess ? "no error" : "unhandled fake error";
}

const char *ncclGetLastError(ncclComm_t comm) {
    (void)comm;
    return "it was asked for";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    memset(id, 7, sizeof *id);
    return fails("id") ? ncclSystemError : ncclSuccess;
}

static ncclComm_t make(dl_comm *host) {
    ncclComm_t made = calloc(1, sizeof *made);
    CHECK(made != NULL);
    n_living++;
    *made = (struct ncclComm){.host = host, .polls = POLLS, .state = ncclSuccess};
    return made;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int n_ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
    dl_comm *host = NULL;
    CHECK(id.internal[0] == 7 && id.internal[NCCL_UNIQUE_ID_BYTES - 1] == 7);
    CHECK(config->blocking == 0 && n_ranks == fake_world->size && rank == fake_world->rank);
    CHECK_OK(fake_world->functions->split(fake_world, 0, &host));
    *comm = make(host);
    if (fails("init") && rank == n_ranks - 1) {
        (*comm)->state = ncclRemoteError;
    }
    if (fails("hang") && rank == 0) {
        (*comm)->polls = 1 << 30;
    }
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state) {
    *state = ncclInProgress;
    if (comm->polls > 0) {
        comm->polls--;
        return ncclSuccess;
    }
    if (comm->appears != NULL) {
        *comm->appears = comm->split;
        comm->appears = NULL;
    }
    *state = comm->state;
    return ncclSuccess;
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t *out, ncclConfig_t *config) {
    dl_comm *host = NULL;
    CHECK(comm->polls == 0 && color >= 0 && key == comm->host->rank && config->blocking == 0);
    CHECK_OK(comm->host->functions->split(comm->host, color, &host));
    *out = NULL;
    comm->split = make(host);
    comm->appears = out;
    comm->polls = POLLS;
    if (fails("split")) {
        comm->state = ncclInternalError;
    }
    return ncclInProgress;
}

static void release(ncclComm_t comm) {
    dl_comm_destroy(&comm->host);
    n_living--;
    free(comm);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    CHECK(comm->polls == 0);
    comm->polls = POLLS;
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    CHECK(comm->polls == 0);
    release(comm);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    if (comm->appears != NULL) {
        *comm->appears = comm->split;
    }
    release(comm);
    return ncclSuccess;
}

/* ---- collectives ---- */

/* The bytes at `at` on the device, when the stream has come to this place. */
static void fetch(void *to, const char *at, size_t n_bytes, void *stream) {
    void *event = NULL;
    CHECK_OK(fake_device->event_create(fake_device->context, &event));
    CHECK_OK(fake_device->copy_out(fake_device->context, to, at, n_bytes, stream));
    CHECK_OK(fake_device->record(fake_device->context, event, stream));
    CHECK_OK(fake_device->synchronize(fake_device->context, event));
    fake_device->event_destroy(fake_device->context, event);
}

static void store(char *at, const void *from, size_t n_bytes, void *stream) {
    void *event = NULL;
    CHECK_OK(fake_device->event_create(fake_device->context, &event));
    CHECK_OK(fake_device->copy_in(fake_device->context, at, from, n_bytes, stream));
    CHECK_OK(fake_device->record(fake_device->context, event, stream));
    CHECK_OK(fake_device->synchronize(fake_device->context, event)); /* `from` is given back */
    fake_device->event_destroy(fake_device->context, event);
}

static void *pinned(size_t n_bytes) {
    void *memory = NULL;
    const size_t size = dl_round_up(n_bytes + 1, DL_PAGE_BYTES);
    CHECK_OK(dl_pages_alloc(size, &memory));
    CHECK_OK(fake_device->pin(fake_device->context, memory, size));
    return memory;
}

static void unpin(void *memory, size_t n_bytes) {
    const size_t size = dl_round_up(n_bytes + 1, DL_PAGE_BYTES);
    fake_device->unpin(fake_device->context, memory, size);
    dl_pages_free(memory, size);
}

static dl_dtype dtype_of(ncclDataType_t type) {
    switch (type) {
    case ncclFloat32:
        return DL_F32;
    case ncclFloat64:
        return DL_F64;
    case ncclBfloat16:
        return DL_BF16;
    case ncclFloat16:
        return DL_F16;
    default:
        CHECK(type == ncclInt32);
        return DL_I32;
    }
}

static ncclResult_t launched(ncclComm_t comm) {
    comm->polls = POLLS;
    comm->n_calls++;
    if (fails("step") && comm->n_calls == 3) {
        comm->state = ncclRemoteError;
    }
    return ncclInProgress;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
    CHECK(from == to && comm->polls == 0 && group_depth == 0);
    const size_t n_bytes = n * dl_dtype_bytes(dtype_of(type));
    void *memory = pinned(n_bytes);
    const dl_reduce_desc desc = {.reduction = op == ncclMax ? DL_REDUCE_MAX : DL_REDUCE_SUM,
                                 .dtype = dtype_of(type),
                                 .n_elements = (int64_t)n,
                                 .buffer = memory,
                                 .name = "fake"};
    dl_collective *collective = NULL;
    CHECK_OK(comm->host->functions->all_reduce_prepare(comm->host, &desc, &collective));
    fetch(memory, to, n_bytes, stream);
    CHECK_OK(comm->host->functions->start(collective, NULL));
    CHECK_OK(comm->host->functions->wait(collective));
    store(to, memory, n_bytes, stream);
    comm->host->functions->collective_destroy(collective);
    unpin(memory, n_bytes);
    return launched(comm);
}

/* nccl.h declares these two without prototypes. */
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

ncclResult_t ncclGroupStart(void) {
    group_depth++;
    return ncclSuccess;
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t n, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
    CHECK(from == to && comm->polls == 0 && group_depth == 1 && n_tasks < MAX_GROUP);
    group_comm = comm;
    group[n_tasks++] =
        (task){.at = to, .n_bytes = n * dl_dtype_bytes(dtype_of(type)), .root = root, .stream = stream};
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void) {
    CHECK(--group_depth == 0);
    for (int i = 0; i < n_tasks; i++) {
        const task *one = &group[i];
        void *memory = pinned(one->n_bytes);
        const dl_comm *host = group_comm->host;
        if (host->rank == one->root) {
            fetch(memory, one->at, one->n_bytes, one->stream);
        }
        CHECK_OK(host->functions->broadcast(group_comm->host, memory, one->n_bytes, one->root));
        if (host->rank != one->root) {
            store(one->at, memory, one->n_bytes, one->stream);
        }
        unpin(memory, one->n_bytes);
    }
    n_tasks = 0;
    return launched(group_comm);
}
