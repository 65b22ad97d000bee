/* Memory that all ranks of a host see. */
#define _GNU_SOURCE
#include "base/log.h"
#include "base/mem.h"
#include "comm/mpi_comm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* Left to MPI itself for every rank: Open MPI's message queues lie in the same place and are touched bit by
 * bit. */
enum { SPARE_BYTES = 4 << 20 };

/* Open MPI keeps windows in files of this folder; its pages are taken only when touched, and touching one
 * that is not there is SIGBUS. So there must be room before, and every page is taken at once. */
static const char *backing_folder(void) {
    const char *folder = getenv("OMPI_MCA_osc_sm_backing_directory");
    return folder != NULL && folder[0] != '\0' ? folder : "/dev/shm";
}

static bool has_room(uint64_t n_bytes, char *why, size_t why_bytes) {
    struct statvfs room;
    if (statvfs(backing_folder(), &room) != 0) {
        (void)snprintf(why, why_bytes, "%s: %s", backing_folder(), strerror(errno));
        return false;
    }
    const uint64_t free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    (void)snprintf(why, why_bytes, "%s has %.1f MiB free, %.1f are needed", backing_folder(),
                   (double)free_bytes / (1 << 20), (double)n_bytes / (1 << 20));
    return free_bytes >= n_bytes;
}

/* Takes every page; false when there is no room for one. */
static bool take_pages(char *memory, size_t n_bytes) {
    if (madvise(memory, n_bytes, MADV_POPULATE_WRITE) == 0) {
        return true;
    }
    if (errno != EINVAL) {
        return false;
    }
    memset(memory, 0, n_bytes); /* an older kernel: the room was there a moment ago */
    return true;
}

static char *page_aligned(char *address) {
    return (char *)(void *)dl_round_up((size_t)(void *)address, DL_PAGE_BYTES);
}

/* Finds everybody's part. The mapping is page aligned, so aligning up skips as many bytes in every process.
 */
static dl_status map_parts(const dl_mpi *mpi, dl_mpi_window *window) {
    DL_RETURN_IF_ERROR(dl_alloc((size_t)mpi->head.node_size, sizeof *window->base, &window->base));
    for (int rank = 0; rank < mpi->head.node_size; rank++) {
        MPI_Aint size = 0;
        int unit = 0;
        void *base = NULL;
        DL_RETURN_IF_ERROR(DL_MPI(MPI_Win_shared_query(window->win, rank, &size, &unit, &base)));
        window->base[rank] = page_aligned(base);
    }
    window->mine = window->base[mpi->head.node_rank];
    return DL_OK;
}

/* Makes the window itself; *made is false on all ranks of the node when MPI or the kernel refuses. */
static dl_status allocate(const dl_mpi *mpi, dl_mpi_window *window, bool *made) {
    MPI_Info info = MPI_INFO_NULL;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Info_create(&info)));
    dl_status status = DL_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
    void *memory = NULL;
    const size_t n_bytes = dl_round_up(window->n_bytes, DL_PAGE_BYTES) + DL_PAGE_BYTES;
    const int code = MPI_Win_allocate_shared((MPI_Aint)n_bytes, 1, info, mpi->node, &memory, &window->win);
    (void)MPI_Info_free(&info);
    DL_RETURN_IF_ERROR(status);
    DL_RETURN_IF_ERROR(dl_mpi_all(mpi->node, code == MPI_SUCCESS, made));
    if (code != MPI_SUCCESS) {
        window->win = MPI_WIN_NULL;
    }
    if (!*made) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Win_set_errhandler(window->win, MPI_ERRORS_RETURN)));
    DL_RETURN_IF_ERROR(map_parts(mpi, window));
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, window->win)));
    const size_t n_taken = dl_round_up(window->n_bytes, DL_PAGE_BYTES);
    const bool taken = take_pages(window->mine, n_taken);
    if (mpi->head.node_size == 1) {
        memset(window->mine, 0, n_taken); /* for one rank Open MPI takes memory as malloc leaves it */
    }
    return dl_mpi_all(mpi->node, taken, made);
}

dl_status dl_mpi_window_create(dl_mpi *mpi, size_t n_bytes, dl_mpi_window **out, char *why,
                               size_t why_bytes) {
    *out = NULL;
    const uint64_t mine = dl_round_up(n_bytes, DL_PAGE_BYTES) + DL_PAGE_BYTES;
    uint64_t node_bytes = 0;
    bool good = false;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Allreduce(&mine, &node_bytes, 1, MPI_UINT64_T, MPI_SUM, mpi->node)));
    const uint64_t needed = node_bytes + (uint64_t)mpi->head.node_size * SPARE_BYTES;
    DL_RETURN_IF_ERROR(dl_mpi_all(mpi->comm, has_room(needed, why, why_bytes), &good));
    if (!good) {
        return DL_OK;
    }
    dl_mpi_window *window = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *window, &window));
    window->win = MPI_WIN_NULL;
    window->n_bytes = n_bytes;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, allocate(mpi, window, &good), fail);
    DL_GOTO_IF_ERROR(status, dl_mpi_all(mpi->comm, good, &good), fail);
    if (!good) {
        (void)snprintf(why, why_bytes, "MPI cannot make a window of %.1f MiB in %s",
                       (double)node_bytes / (1 << 20), backing_folder());
        goto fail;
    }
    *out = window;
    return DL_OK;
fail:
    dl_mpi_window_destroy(&window);
    return status;
}

void dl_mpi_window_destroy(dl_mpi_window **window) {
    dl_mpi_window *one = *window;
    if (one == NULL) {
        return;
    }
    if (one->win != MPI_WIN_NULL) {
        (void)MPI_Win_unlock_all(one->win);
        (void)MPI_Win_free(&one->win);
    } else {
        dl_pages_free(one->mine, one->n_bytes);
    }
    dl_free(&one->base);
    dl_free(window);
}

/* Private memory in the place of a window. */
static dl_status create_private(size_t n_bytes, dl_mpi_window **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    (*out)->win = MPI_WIN_NULL;
    (*out)->n_bytes = n_bytes;
    void *memory = NULL;
    const dl_status status = dl_pages_alloc(n_bytes, &memory);
    if (status != DL_OK) {
        dl_free(out);
        return status;
    }
    (*out)->mine = memory;
    return DL_OK;
}

dl_status dl_mpi_memory_create(dl_comm *comm, size_t n_bytes, void **out) {
    static bool said;
    dl_mpi *mpi = (dl_mpi *)comm;
    dl_mpi_window *window = NULL;
    DL_RETURN_IF_ERROR(
        dl_grow(&mpi->window, &mpi->window_capacity, mpi->n_windows + 1, sizeof(dl_mpi_window *)));
    const bool neighbours = comm->size > comm->n_nodes; /* somebody shares a host with somebody */
    if (neighbours) {
        char why[256] = "DLTRAIN_NO_SHARED_WINDOW is set";
        if (mpi->use_windows) {
            DL_RETURN_IF_ERROR(dl_mpi_window_create(mpi, n_bytes, &window, why, sizeof why));
        }
        if (window == NULL && !said) {
            said = true;
            DL_WARN("no shared memory between ranks (%s): gradients travel by MPI_Allreduce, which is slower",
                    why);
        }
    }
    if (window == NULL) {
        DL_RETURN_IF_ERROR(create_private(n_bytes, &window));
    }
    mpi->window[mpi->n_windows++] = window;
    *out = window->mine;
    return DL_OK;
}

/* A rank that failed alone gives memory up, too, so the window itself is freed with the communicator; its
 * pages go back at once. */
void dl_mpi_memory_destroy(dl_comm *comm, void *memory) {
    dl_mpi *mpi = (dl_mpi *)comm;
    for (int64_t i = 0; memory != NULL && i < mpi->n_windows; i++) {
        dl_mpi_window *window = mpi->window[i];
        if (window == NULL || window->mine != memory) {
            continue;
        }
        if (window->win == MPI_WIN_NULL) {
            dl_mpi_window_destroy(&mpi->window[i]);
        } else {
            (void)madvise(window->mine, dl_round_up(window->n_bytes, DL_PAGE_BYTES), MADV_REMOVE);
            window->mine = NULL;
        }
        return;
    }
}

int dl_mpi_window_find(const dl_mpi *mpi, const void *address, size_t n_bytes, int64_t *offset) {
    const size_t at = (size_t)address;
    for (int64_t i = 0; i < mpi->n_windows; i++) {
        const dl_mpi_window *window = mpi->window[i];
        if (window == NULL || window->win == MPI_WIN_NULL || window->mine == NULL) {
            continue;
        }
        const size_t begin = (size_t)(const void *)window->mine;
        if (at >= begin && at + n_bytes <= begin + window->n_bytes) {
            *offset = (int64_t)(at - begin);
            return (int)i;
        }
    }
    return -1;
}

void dl_mpi_control_take(dl_mpi *mpi, size_t n_bytes, int64_t *offset) {
    *offset = -1;
    const size_t size = dl_round_up(n_bytes, DL_CACHE_LINE);
    if (mpi->control != NULL && mpi->control_used + size <= mpi->control->n_bytes) {
        *offset = (int64_t)mpi->control_used;
        mpi->control_used += size;
    }
}
