/* The other processes of this host: MPI does not tell when one of them dies, the kernel does. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "comm/mpi_comm.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROGRESS_TAG = 32001, CALLS_PER_LOOK = 32 };

typedef struct identity {
    int64_t process;
    uint64_t space; /* numbers of processes mean something only within one space (container) */
} identity;

static uint64_t process_space(void) {
    struct stat info;
    return stat("/proc/self/ns/pid", &info) == 0 ? (uint64_t)info.st_ino : 0;
}

dl_status dl_mpi_peers_find(dl_mpi *mpi) {
    const size_t size = (size_t)mpi->head.node_size;
    const identity own = {.process = (int64_t)getpid(), .space = process_space()};
    identity *all = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(size, sizeof *mpi->process, &mpi->process));
    DL_RETURN_IF_ERROR(dl_alloc(size, sizeof *all, &all));
    const dl_status status =
        DL_MPI(MPI_Allgather(&own, sizeof own, MPI_BYTE, all, sizeof own, MPI_BYTE, mpi->node));
    for (size_t i = 0; status == DL_OK && i < size; i++) {
        const bool known = all[i].space == own.space && (int)i != mpi->head.node_rank;
        mpi->process[i] = known ? (pid_t)all[i].process : 0;
    }
    dl_free(&all);
    return status;
}

int dl_mpi_lost_peer(dl_comm *comm, int *process) {
    const dl_mpi *mpi = (const dl_mpi *)comm;
    for (int i = 0; mpi->process != NULL && i < comm->node_size; i++) {
        if (mpi->process[i] > 0 && kill(mpi->process[i], 0) != 0 && errno == ESRCH) {
            *process = (int)mpi->process[i];
            return mpi->member[i];
        }
    }
    return -1;
}

dl_status dl_mpi_check_peers(dl_comm *comm) {
    int process = 0;
    const int lost = dl_mpi_lost_peer(comm, &process);
    DL_RETURN_ERROR_IF(lost >= 0, DL_ERR_PEER, DL_LOST_PEER_MESSAGE, lost, process);
    return DL_OK;
}

dl_status dl_mpi_progress(void *context) {
    dl_mpi *mpi = context;
    int there = 0;
    DL_RETURN_IF_ERROR(
        DL_MPI(MPI_Iprobe(MPI_ANY_SOURCE, PROGRESS_TAG, mpi->comm, &there, MPI_STATUS_IGNORE)));
    if (++mpi->n_progress_calls % CALLS_PER_LOOK == 0) {
        return dl_mpi_check_peers(&mpi->head);
    }
    return DL_OK;
}
