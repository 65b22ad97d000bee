/* The mpi communicator: start, split, control plane. */
#include "base/mem.h"
#include "base/text.h"
#include "comm/mpi_comm.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 30, CONTROL_BYTES = 256 << 10 };

/* The flag by which one rank of the node claims the job's message: in shared memory where there is some. */
static _Atomic int private_claim;
static _Atomic int *claim_flag = &private_claim;

static const dl_comm_functions mpi_functions;

dl_status dl_mpi_check(int code, const char *call, const char *file, int line, const char *function) {
    if (code == MPI_SUCCESS) {
        return DL_OK;
    }
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int n = 0;
    if (MPI_Error_string(code, text, &n) != MPI_SUCCESS) {
        n = 0;
    }
    text[n] = '\0';
    return dl_error_raise(DL_ERR_PEER, file, line, function, "%s: %s", call, text);
}

dl_status dl_mpi_all(MPI_Comm comm, bool mine, bool *all) {
    int value = mine ? 1 : 0, least = 0;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Allreduce(&value, &least, 1, MPI_INT, MPI_MIN, comm)));
    *all = least != 0;
    return DL_OK;
}

static dl_status mpi_barrier(dl_comm *comm) {
    return DL_MPI(MPI_Barrier(((dl_mpi *)comm)->comm));
}

static dl_status mpi_broadcast(dl_comm *comm, void *bytes, size_t n_bytes, int root) {
    for (size_t at = 0; at < n_bytes; at += CHUNK_BYTES) {
        const size_t n = n_bytes - at < CHUNK_BYTES ? n_bytes - at : CHUNK_BYTES;
        DL_RETURN_IF_ERROR(
            DL_MPI(MPI_Bcast((char *)bytes + at, (int)n, MPI_BYTE, root, ((dl_mpi *)comm)->comm)));
    }
    return DL_OK;
}

static dl_status mpi_all_gather(dl_comm *comm, const void *bytes, size_t n_bytes, void *out) {
    if (n_bytes <= CHUNK_BYTES) {
        return DL_MPI(MPI_Allgather(bytes, (int)n_bytes, MPI_BYTE, out, (int)n_bytes, MPI_BYTE,
                                    ((dl_mpi *)comm)->comm));
    }
    memcpy((char *)out + (size_t)comm->rank * n_bytes, bytes, n_bytes);
    for (int rank = 0; rank < comm->size; rank++) {
        DL_RETURN_IF_ERROR(mpi_broadcast(comm, (char *)out + (size_t)rank * n_bytes, n_bytes, rank));
    }
    return DL_OK;
}

static bool mpi_claim(dl_comm *comm) {
    (void)comm;
    return atomic_exchange(claim_flag, 1) == 0;
}

static void mpi_abort_job(dl_comm *comm, int exit_code) {
    (void)MPI_Abort(((dl_mpi *)comm)->comm, exit_code);
}

/* Frees everything. Collective over the communicator. */
static void free_all(dl_mpi *mpi) {
    for (int64_t i = 0; i < mpi->n_windows; i++) {
        dl_mpi_window_destroy(&mpi->window[i]);
    }
    dl_free(&mpi->window);
    if (mpi->control != NULL && (char *)claim_flag == mpi->control->base[0]) {
        claim_flag = &private_claim;
    }
    dl_mpi_window_destroy(&mpi->control);
    MPI_Comm *comms[] = {&mpi->cross, &mpi->node, &mpi->comm};
    for (int i = 0; i < 3; i++) {
        if (*comms[i] != MPI_COMM_NULL) {
            (void)MPI_Comm_free(comms[i]);
        }
    }
    dl_free(&mpi->member);
    dl_free(&mpi->process);
    dl_free(&mpi->scratch);
    dl_free(&mpi);
}

/* A part of the world may be given up by a rank that failed alone, so that waits until the world ends: in the
 * order of creation, which all ranks have in common. */
static void mpi_destroy(dl_comm *comm) {
    dl_mpi *mpi = (dl_mpi *)comm;
    if (mpi->world != NULL) {
        dl_mpi **at = &mpi->world->given_up;
        while (*at != NULL && (*at)->number < mpi->number) {
            at = &(*at)->given_up;
        }
        mpi->given_up = *at;
        *at = mpi;
        return;
    }
    for (dl_mpi *part = mpi->given_up; part != NULL;) {
        dl_mpi *next = part->given_up;
        free_all(part);
        part = next;
    }
    free_all(mpi);
}

/* DLTRAIN_TEST_NODE_SIZE=N makes every N ranks of a host pass for a host of their own, so that tests can
 * exercise several hosts on one. */
static dl_status split_by_node(dl_mpi *mpi) {
    DL_RETURN_IF_ERROR(
        DL_MPI(MPI_Comm_split_type(mpi->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &mpi->node)));
    const char *text = getenv("DLTRAIN_TEST_NODE_SIZE");
    int64_t size = 0;
    if (text != NULL && dl_parse_int64(text, &size) && size > 0) {
        MPI_Comm host = mpi->node;
        int rank = 0;
        DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_rank(host, &rank)));
        DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_split(host, (int)(rank / size), 0, &mpi->node)));
        DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_free(&host)));
    }
    return DL_OK;
}

static dl_status find_nodes(dl_mpi *mpi) {
    dl_comm *head = &mpi->head;
    DL_RETURN_IF_ERROR(split_by_node(mpi));
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_rank(mpi->node, &head->node_rank)));
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_size(mpi->node, &head->node_size)));
    const int first = head->node_rank == 0;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Allreduce(&first, &head->n_nodes, 1, MPI_INT, MPI_SUM, mpi->comm)));
    DL_RETURN_IF_ERROR(
        DL_MPI(MPI_Allreduce(&head->node_size, &mpi->n_slices, 1, MPI_INT, MPI_MIN, mpi->comm)));
    const int color = head->node_rank < mpi->n_slices ? head->node_rank : MPI_UNDEFINED;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_split(mpi->comm, color, 0, &mpi->cross)));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)head->node_size, sizeof *mpi->member, &mpi->member));
    return DL_MPI(MPI_Allgather(&head->rank, 1, MPI_INT, mpi->member, 1, MPI_INT, mpi->node));
}

/* The control area, where ranks share a host. Its first line is the claim. */
static dl_status create_control(dl_mpi *mpi) {
    const char *off = getenv("DLTRAIN_NO_SHARED_WINDOW");
    const bool wanted = off == NULL || off[0] == '\0' || strcmp(off, "0") == 0;
    DL_RETURN_IF_ERROR(dl_mpi_all(mpi->comm, wanted, &mpi->use_windows));
    if (mpi->head.size > mpi->head.n_nodes) {
        char why[256];
        DL_RETURN_IF_ERROR(dl_mpi_window_create(mpi, CONTROL_BYTES, &mpi->control, why, sizeof why));
        int64_t claim = 0;
        dl_mpi_control_take(mpi, DL_CACHE_LINE, &claim);
    }
    return DL_OK;
}

/* Takes over `comm`, also when it fails. world NULL: this is the world. */
static dl_status create(MPI_Comm comm, dl_mpi *world, dl_comm **out) {
    static int n_created;
    dl_mpi *mpi = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *mpi, &mpi));
    mpi->head.functions = &mpi_functions;
    mpi->comm = comm;
    mpi->world = world;
    mpi->number = n_created++;
    mpi->node = mpi->cross = MPI_COMM_NULL;
    dl_status status = DL_OK;
    /* Communicators made from this one inherit the handler. */
    DL_GOTO_IF_ERROR(status, DL_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN)), fail);
    DL_GOTO_IF_ERROR(status, DL_MPI(MPI_Comm_rank(comm, &mpi->head.rank)), fail);
    DL_GOTO_IF_ERROR(status, DL_MPI(MPI_Comm_size(comm, &mpi->head.size)), fail);
    DL_GOTO_IF_ERROR(status, find_nodes(mpi), fail);
    DL_GOTO_IF_ERROR(status, dl_mpi_peers_find(mpi), fail);
    DL_GOTO_IF_ERROR(status, create_control(mpi), fail);
    *out = &mpi->head;
    return DL_OK;
fail:
    mpi_destroy(&mpi->head);
    return status;
}

static dl_status mpi_split(dl_comm *comm, int color, dl_comm **out) {
    MPI_Comm part = MPI_COMM_NULL;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_split(((dl_mpi *)comm)->comm, color, 0, &part)));
    dl_mpi *mpi = (dl_mpi *)comm;
    return create(part, mpi->world != NULL ? mpi->world : mpi, out);
}

static const dl_comm_functions mpi_functions = {
    .name = "mpi",
    .doc = "ranks started by MPI: shared windows on a node, MPI between nodes",
    .memory_create = dl_mpi_memory_create,
    .memory_destroy = dl_mpi_memory_destroy,
    .all_reduce_prepare = dl_mpi_reduce_prepare,
    .collective_destroy = dl_mpi_reduce_destroy,
    .start = dl_mpi_reduce_start,
    .wait = dl_mpi_reduce_wait,
    .check = dl_mpi_check_peers,
    .barrier = mpi_barrier,
    .broadcast = mpi_broadcast,
    .all_gather = mpi_all_gather,
    .split = mpi_split,
    .claim = mpi_claim,
    .lost_peer = dl_mpi_lost_peer,
    .abort_job = mpi_abort_job,
    .destroy = mpi_destroy,
};

dl_status dl_comm_mpi_create(dl_comm **out) {
    int provided = 0;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided)));
    DL_RETURN_ERROR_IF(provided < MPI_THREAD_FUNNELED, DL_ERR_INTERNAL,
                       "this MPI library allows no threads beside the one that calls it");
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN)));
    MPI_Comm world = MPI_COMM_NULL;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &world)));
    DL_RETURN_IF_ERROR(create(world, NULL, out));
    const dl_mpi *mpi = (const dl_mpi *)*out;
    if (mpi->control != NULL) {
        claim_flag = (_Atomic int *)(void *)mpi->control->base[0];
    }
    return DL_OK;
}

void dl_comm_mpi_finish(void) {
    int initialized = 0, finalized = 0;
    (void)MPI_Initialized(&initialized);
    (void)MPI_Finalized(&finalized);
    if (initialized && !finalized) {
        dl_mpi_narrow_free();
        (void)MPI_Finalize();
    }
}
