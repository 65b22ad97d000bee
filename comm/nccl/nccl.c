/* The nccl communicator: start, split, failures, end. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "comm/nccl/nccl_comm.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { YIELDS = 2000, LOOKS_PER_PEERS = 64, PAUSE_NS = 50000, DEFAULT_TIMEOUT = 120 };
static const double end_seconds = 5; /* for an orderly end; then it is cut off */

static const dl_comm_functions nccl_functions;

/* ---- failures ---- */

void dl_nccl_abort(dl_nccl *comm) {
    if (comm->nccl != NULL) {
        (void)ncclCommAbort(comm->nccl);
        comm->nccl = NULL;
    }
}

dl_status dl_nccl_check(dl_nccl *comm, ncclResult_t result, const char *call, int line) {
    if (result == ncclSuccess || result == ncclInProgress) {
        return DL_OK;
    }
    char last[512] = "";
    const char *words = ncclGetLastError(comm->nccl);
    (void)snprintf(last, sizeof last, "%s", words != NULL ? words : "");
    dl_nccl_abort(comm);
    return dl_error_raise(DL_ERR_PEER, __FILE__, line, __func__, "%s: %s%s%s (NCCL_DEBUG=INFO shows more)",
                          call, ncclGetErrorString(result), last[0] != '\0' ? ": " : "", last);
}

static dl_status aborted(void) {
    DL_RETURN_ERROR(DL_ERR_PEER, "NCCL's communicator was given up after a failure");
}

/* A rank that has died is noticed by the host: over NVLink NCCL waits for it forever. */
static dl_status check_peers(dl_nccl *comm) {
    const dl_status status = dl_device_comm_check(&comm->base.head);
    if (status != DL_OK) {
        dl_nccl_abort(comm);
    }
    return status;
}

dl_status dl_nccl_look(dl_comm *comm) {
    dl_nccl *nccl = (dl_nccl *)(void *)comm;
    ncclResult_t state = ncclSuccess;
    if (nccl->nccl == NULL) {
        return aborted();
    }
    DL_RETURN_IF_ERROR(
        dl_nccl_check(nccl, ncclCommGetAsyncError(nccl->nccl, &state), "ncclCommGetAsyncError", __LINE__));
    DL_RETURN_IF_ERROR(dl_nccl_check(nccl, state, "between ranks", __LINE__));
    return check_peers(nccl);
}

static dl_status timed_out(dl_nccl *comm, const char *call) {
    const dl_comm *head = &comm->base.head;
    char last[512] = "";
    const char *words = ncclGetLastError(comm->nccl);
    (void)snprintf(last, sizeof last, "%s", words != NULL ? words : "");
    dl_nccl_abort(comm);
    DL_RETURN_ERROR(DL_ERR_PEER,
                    "rank %d of %d waited %.0f s for the others (%s)%s%s: see that every rank runs, that the "
                    "hosts reach each other over the interface NCCL takes (NCCL_SOCKET_IFNAME chooses it, "
                    "NCCL_DEBUG=INFO shows it); DLTRAIN_NCCL_TIMEOUT sets the seconds",
                    head->rank, head->size, comm->timeout, call, last[0] != '\0' ? ": " : "", last);
}

/* Passes the time until the call is done: a launch takes some 30 us, a start seconds. */
static void pause_a_little(int n) {
    const struct timespec pause = {0, PAUSE_NS};
    if (n < YIELDS) {
        (void)sched_yield();
    } else {
        (void)nanosleep(&pause, NULL);
    }
}

dl_status dl_nccl_settle(dl_nccl *comm, ncclResult_t result, const char *call, int line) {
    DL_RETURN_IF_ERROR(dl_nccl_check(comm, result, call, line));
    if (result != ncclInProgress) {
        return DL_OK;
    }
    const double end = dl_clock_seconds() + comm->timeout;
    for (int n = 0;; n = n < YIELDS + LOOKS_PER_PEERS ? n + 1 : YIELDS) {
        ncclResult_t state = ncclInProgress;
        DL_RETURN_IF_ERROR(
            dl_nccl_check(comm, ncclCommGetAsyncError(comm->nccl, &state), "ncclCommGetAsyncError", line));
        DL_RETURN_IF_ERROR(dl_nccl_check(comm, state, call, line));
        if (state == ncclSuccess) {
            return DL_OK;
        }
        if (n % LOOKS_PER_PEERS == LOOKS_PER_PEERS - 1) {
            DL_RETURN_IF_ERROR(check_peers(comm));
            if (dl_clock_seconds() > end) {
                return timed_out(comm, call);
            }
        }
        pause_a_little(n);
    }
}

/* ---- start ---- */

/* For tests: ranks on one GPU pass for hosts of their own, which NCCL reads once in a process. Peers by
 * sockets are then all that is left between them. */
static dl_status pretend_host(const dl_comm *host) {
    const char *wanted = getenv("DLTRAIN_NCCL_HOSTID");
    char name[32];
    if (wanted == NULL || strcmp(wanted, "1") != 0) {
        return DL_OK;
    }
    (void)snprintf(name, sizeof name, "dltrain-%d", host->rank);
    DL_RETURN_ERROR_IF(setenv("NCCL_HOSTID", name, 1) != 0, DL_ERR_MEMORY, "setting NCCL_HOSTID");
    return DL_OK;
}

static dl_status read_timeout(double *out) {
    const char *text = getenv("DLTRAIN_NCCL_TIMEOUT");
    int64_t seconds = DEFAULT_TIMEOUT;
    DL_RETURN_ERROR_IF(text != NULL && text[0] != '\0' && (!dl_parse_int64(text, &seconds) || seconds < 1),
                       DL_ERR_USAGE, "DLTRAIN_NCCL_TIMEOUT is '%s'; it must be a number of seconds", text);
    *out = (double)seconds;
    return DL_OK;
}

/* Rank 0 makes the id; when it cannot, all ranks learn that. */
static dl_status share_id(dl_nccl *comm, ncclUniqueId *id) {
    struct {
        int64_t made;
        ncclUniqueId id;
    } message;
    memset(&message, 0, sizeof message);
    dl_status status = DL_OK;
    if (comm->base.head.rank == 0) {
        status = dl_nccl_check(comm, ncclGetUniqueId(&message.id), "ncclGetUniqueId", __LINE__);
        message.made = status == DL_OK;
    }
    dl_error kept;
    dl_error_take(&kept);
    DL_RETURN_IF_ERROR(dl_device_comm_broadcast(&comm->base.head, &message, sizeof message, 0));
    if (status != DL_OK) {
        return dl_error_restore(&kept);
    }
    DL_RETURN_ERROR_IF(message.made == 0, DL_ERR_PEER, "rank 0 could not make an id for NCCL");
    *id = message.id;
    return DL_OK;
}

static ncclConfig_t make_config(void) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.splitShare = 1; /* the axes of a grid use one set of buffers and connections */
    return config;
}

static dl_status init(dl_nccl *comm) {
    const dl_comm *head = &comm->base.head;
    ncclUniqueId id;
    ncclConfig_t config = make_config();
    DL_RETURN_IF_ERROR(share_id(comm, &id));
    return DL_NCCL(comm, ncclCommInitRankConfig(&comm->nccl, head->size, id, head->rank, &config));
}

static dl_status create(dl_comm *host, const dl_comm_device *device, dl_nccl **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    dl_device_comm_init(&(*out)->base, &nccl_functions, host, device);
    return read_timeout(&(*out)->timeout);
}

/* Waits for the others to let go, not for long; without them it is cut off. The GPU may still work for it. */
static void end(dl_nccl *comm) {
    if (comm->nccl != NULL) {
        comm->timeout = end_seconds;
        if (DL_NCCL(comm, ncclCommFinalize(comm->nccl)) == DL_OK) {
            (void)ncclCommDestroy(comm->nccl);
            comm->nccl = NULL;
        }
    }
}

static void nccl_destroy(dl_comm *comm) {
    dl_nccl *nccl = (dl_nccl *)(void *)comm;
    const dl_comm_device *device = &nccl->base.device;
    end(nccl);
    if (nccl->scratch != NULL) {
        device->memory_destroy(device->context, nccl->scratch, nccl->scratch_bytes);
    }
    dl_device_comm_release(&nccl->base);
    dl_free(&nccl);
}

dl_status dl_comm_nccl_create(dl_comm *host, const dl_comm_device *device, dl_comm **out) {
    dl_nccl *comm = NULL;
    dl_status status = pretend_host(host);
    status = status == DL_OK ? create(host, device, &comm) : status;
    /* before the others wait inside NCCL for a rank that does not come */
    status = dl_comm_agree(host, status, NULL);
    if (status == DL_OK) {
        status = dl_comm_agree(host, init(comm), NULL);
    }
    if (status != DL_OK) {
        if (comm != NULL) {
            dl_nccl_abort(comm);
            nccl_destroy(&comm->base.head);
        }
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "starting NCCL on %s", device->name);
    }
    *out = &comm->base.head;
    return DL_OK;
}

/* ---- parts ---- */

/* The part's handle appears when the split is done, which the whole's state tells. */
static dl_status split_nccl(dl_nccl *whole, dl_nccl *part, int color) {
    if (whole->nccl == NULL) {
        return aborted();
    }
    ncclConfig_t config = make_config();
    DL_RETURN_IF_ERROR(
        DL_NCCL(whole, ncclCommSplit(whole->nccl, color, whole->base.head.rank, &part->nccl, &config)));
    DL_RETURN_ERROR_IF(part->nccl == NULL, DL_ERR_INTERNAL, "ncclCommSplit gave no communicator");
    return dl_nccl_settle(part, ncclInProgress, "ncclCommSplit", __LINE__);
}

static dl_status nccl_split(dl_comm *comm, int color, dl_comm **out) {
    dl_nccl *whole = (dl_nccl *)(void *)comm, *part = NULL;
    dl_comm *host = NULL;
    DL_RETURN_IF_ERROR(comm->host->functions->split(comm->host, color, &host));
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, create(host, &whole->base.device, &part), fail);
    DL_GOTO_IF_ERROR(status, split_nccl(whole, part, color), fail);
    part->base.owns_host = true;
    *out = &part->base.head;
    return DL_OK;
fail:
    if (part != NULL) {
        dl_nccl_abort(whole); /* the whole first: either may be what hangs */
        dl_nccl_abort(part);
        nccl_destroy(&part->base.head);
    }
    dl_comm_destroy(&host);
    return status;
}

static const dl_comm_functions nccl_functions = {
    .name = "nccl",
    .doc = "ranks with a GPU each: NCCL, in the order of the GPU's streams",
    .on_device = true,
    .in_stream = true,
    .memory_create = dl_device_comm_memory_create,
    .memory_destroy = dl_device_comm_memory_destroy,
    .all_reduce_prepare = dl_nccl_reduce_prepare,
    .collective_destroy = dl_nccl_reduce_destroy,
    .start = dl_nccl_reduce_start,
    .wait = dl_nccl_reduce_wait,
    .check = dl_nccl_look,
    .barrier = dl_device_comm_barrier,
    .broadcast = dl_device_comm_broadcast,
    .all_gather = dl_device_comm_all_gather,
    .abort_job = dl_device_comm_abort_job,
    .split = nccl_split,
    .claim = dl_device_comm_claim,
    .lost_peer = dl_device_comm_lost_peer,
    .destroy = nccl_destroy,
};
