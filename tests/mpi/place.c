#define _GNU_SOURCE
#include "tests/mpi/place.h"

#include "base/mem.h"
#include "tests/mpi/check.h"
#ifdef DLTRAIN_TEST_NCCL /* on a GPU, or one that is none on the test device */
#include "comm/nccl/communicator.h"
#endif
#ifdef DLTRAIN_TEST_FAKE
#include "tests/mpi/fake_nccl.h"
#endif
#ifndef DLTRAIN_TEST_CUDA
#include "tests/mpi/test_device.h"
#endif

#include <stdlib.h>
#include <string.h>
#include <time.h>

static dl_status open_device(place *p) {
#ifdef DLTRAIN_TEST_CUDA
    return dl_comm_device_cuda(p->host->node_rank, &p->device);
#else
    return test_device_open((uint64_t)p->host->rank + 1, &p->device);
#endif
}

static dl_status close_device(place *p) {
#ifdef DLTRAIN_TEST_CUDA
    (void)p;
    return DL_OK;
#else
    return test_device_close(&p->device);
#endif
}

static dl_status open_device_comm(place *p, const char *name) {
    if (strcmp(name, "staged") == 0) {
        return dl_comm_staged_create(p->host, &p->device, &p->comm);
    }
    if (strcmp(name, "alone") == 0) {
        return dl_comm_alone_create(p->host, &p->device, &p->comm);
    }
#ifdef DLTRAIN_TEST_NCCL
#ifdef DLTRAIN_TEST_FAKE
    fake_nccl_use(p->host, &p->device);
#endif
    if (strcmp(name, "nccl") == 0) {
        return dl_comm_nccl_create(p->host, &p->device, &p->comm);
    }
#endif
    DL_RETURN_ERROR(DL_ERR_USAGE, "no communicator '%s' in this program", name);
}

/* The reason why there is none goes to stderr: tests that need a GPU skip on 77. */
static void leave(place *p, const char *name) {
    if (p->host->rank == 0) {
        (void)fprintf(stderr, "SKIP: %s: %s\n", name, dl_error_last()->message);
    }
    (void)p->host->functions->barrier(
        p->host); /* all of them come here; the first to leave ends the others */
    p->host->functions->abort_job(p->host, 77);
    exit(77);
}

void place_open(place *p, const char *name, size_t arena_bytes) {
    *p = (place){.arena_bytes = arena_bytes};
    const dl_status status = dl_comm_mpi_launched() && strcmp(name, "self") != 0
                                 ? dl_comm_mpi_create(&p->host)
                                 : dl_comm_self_create(&p->host);
    if (status != DL_OK) {
        (void)fprintf(stderr, "%s\n", dl_error_last()->message);
        exit(1);
    }
    check_world = p->host;
    dl_log_set_rank(p->host->rank, p->host->size);
    void *memory = NULL;
    CHECK_OK(dl_pages_alloc(arena_bytes, &memory));
    p->arena = memory;
    if (strcmp(name, p->host->functions->name) == 0) {
        p->comm = p->host;
        return;
    }
    if (open_device(p) != DL_OK || open_device_comm(p, name) != DL_OK) {
        leave(p, name);
    }
    CHECK_OK(p->device.stream_create(p->device.context, &p->stream));
    CHECK_OK(p->device.event_create(p->device.context, &p->event));
    CHECK_OK(p->device.pin(p->device.context, p->arena, arena_bytes));
}

void place_close(place *p) {
    if (p->comm != p->host) {
        p->device.unpin(p->device.context, p->arena, p->arena_bytes);
        p->device.stream_destroy(p->device.context, p->stream);
        p->device.event_destroy(p->device.context, p->event);
        dl_comm_destroy(&p->comm);
#ifdef DLTRAIN_TEST_FAKE
        CHECK(fake_nccl_living() == 0);
#endif
        CHECK_OK(close_device(p));
    }
    dl_pages_free(p->arena, p->arena_bytes);
    dl_comm_destroy(&p->host);
    dl_comm_mpi_finish();
}

void *place_take(place *p, size_t n_bytes) {
    char *taken = p->arena + p->used;
    p->used += dl_round_up(n_bytes, DL_CACHE_LINE);
    CHECK(p->used <= p->arena_bytes);
    return taken;
}

void place_upload(place *p, void *buffer, const void *from, size_t n_bytes) {
    if (p->comm != p->host) {
        CHECK_OK(p->device.copy_in(p->device.context, buffer, from, n_bytes, p->stream));
    } else {
        memcpy(buffer, from, n_bytes);
    }
}

void *place_download(place *p, const void *buffer, size_t n_bytes) {
    void *to = place_take(p, n_bytes);
    if (p->comm != p->host) {
        CHECK_OK(p->device.copy_out(p->device.context, to, buffer, n_bytes, p->stream));
    } else {
        memcpy(to, buffer, n_bytes);
    }
    return to;
}

dl_status place_settle(place *p) {
    const struct timespec pause = {0, 20000};
    p->used = 0;
    if (p->comm == p->host) {
        return DL_OK;
    }
    bool happened = false;
    DL_RETURN_IF_ERROR(p->device.record(p->device.context, p->event, p->stream));
    for (;;) {
        DL_RETURN_IF_ERROR(p->device.query(p->device.context, p->event, &happened));
        if (happened) {
            return p->device.synchronize(p->device.context, p->event);
        }
        DL_RETURN_IF_ERROR(p->comm->functions->check(p->comm));
        (void)nanosleep(&pause, NULL);
    }
}

void *place_buffer(place *p, size_t n_bytes, bool own) {
    void *buffer = NULL;
    if (own) {
        CHECK_OK(p->comm->functions->memory_create(p->comm, n_bytes + 1, &buffer));
    } else if (p->comm != p->host) {
        CHECK_OK(p->device.memory_create(p->device.context, n_bytes + 1, &buffer));
    } else {
        buffer = malloc(n_bytes + 1);
        CHECK(buffer != NULL);
    }
    return buffer;
}

void place_buffer_free(place *p, void *buffer, size_t n_bytes, bool own) {
    if (own) {
        p->comm->functions->memory_destroy(p->comm, buffer);
    } else if (p->comm != p->host) {
        p->device.memory_destroy(p->device.context, buffer, n_bytes + 1);
    } else {
        free(buffer);
    }
}
