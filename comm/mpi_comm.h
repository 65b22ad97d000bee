/* Inside of the mpi communicator; only comm/mpi*.c include this. */
#ifndef DLTRAIN_COMM_MPI_COMM_H
#define DLTRAIN_COMM_MPI_COMM_H

#include "comm/comm.h"

#include <mpi.h>
#include <sys/types.h>

/* Memory made by memory_create (or for flags): a shared window, or private pages where none can be had. */
typedef struct dl_mpi_window {
    MPI_Win win; /* MPI_WIN_NULL: private */
    size_t n_bytes;
    char *mine;  /* NULL: given up */
    char **base; /* [node_size]: every rank's part as mapped here; NULL when private */
} dl_mpi_window;

typedef struct dl_mpi {
    dl_comm head;
    struct dl_mpi *world;    /* NULL: this is the world */
    struct dl_mpi *given_up; /* world: parts destroyed so far, by number; a part: the next one */
    int number;              /* communicators created before */
    MPI_Comm comm;
    MPI_Comm node;  /* the ranks of this host */
    MPI_Comm cross; /* one rank a host: those with my node rank; MPI_COMM_NULL from n_slices on */
    int n_slices;   /* ranks of the smallest host */
    int *member;    /* [node_size]: node rank -> rank */
    pid_t *process; /* [node_size]; 0: myself, or not to be seen from here */
    unsigned n_progress_calls;
    int64_t n_windows, window_capacity;
    dl_mpi_window **window;
    bool use_windows;       /* DLTRAIN_NO_SHARED_WINDOW=1 (for tests) says no */
    dl_mpi_window *control; /* flags and small values; NULL: none to be had */
    size_t control_used;
    char *scratch; /* shared by collectives that gather blocks through MPI: they wait one after the other */
    int64_t scratch_bytes;
} dl_mpi;

/* Fails with DL_ERR_PEER, the call's text and MPI's own words. */
DL_NODISCARD dl_status dl_mpi_check(int code, const char *call, const char *file, int line,
                                    const char *function);

#define DL_MPI(call) dl_mpi_check((call), #call, __FILE__, __LINE__, __func__)

/* *all: whether `mine` holds on every rank of `comm`. */
DL_NODISCARD dl_status dl_mpi_all(MPI_Comm comm, bool mine, bool *all);

/* mpi_peers.c. Learns the processes of this host. Collective over the node. */
DL_NODISCARD dl_status dl_mpi_peers_find(dl_mpi *mpi);
int dl_mpi_lost_peer(dl_comm *comm, int *process);
dl_status dl_mpi_check_peers(dl_comm *comm);

/* Lets MPI finish what it has taken on, while this rank waits without being inside MPI. DL_ERR_PEER when one
 * of the processes of this host is gone. */
dl_status dl_mpi_progress(void *context);

/* mpi_window.c. A zeroed, page-aligned part of n_bytes for each rank of the node, or *out = NULL, on all
 * ranks of the communicator alike, with a reason in `why` (rank 0's). Collective over comm. */
DL_NODISCARD dl_status dl_mpi_window_create(dl_mpi *mpi, size_t n_bytes, dl_mpi_window **out, char *why,
                                            size_t why_bytes);
void dl_mpi_window_destroy(dl_mpi_window **window);
dl_status dl_mpi_memory_create(dl_comm *comm, size_t n_bytes, void **out);
void dl_mpi_memory_destroy(dl_comm *comm, void *memory);

/* The window that holds all n_bytes at `address`, with its offset; -1 when none or a private one does. */
int dl_mpi_window_find(const dl_mpi *mpi, const void *address, size_t n_bytes, int64_t *offset);

/* Takes n_bytes (rounded up to cache lines) from every rank's control area: the same place on all ranks.
 * *offset is -1 when there is no control area or it is used up. */
void dl_mpi_control_take(dl_mpi *mpi, size_t n_bytes, int64_t *offset);

/* mpi_narrow.c. The sum of 16-bit floats as an operation of MPI (over MPI_UINT16_T), made at the first call.
 */
DL_NODISCARD dl_status dl_mpi_narrow_sum(dl_dtype dtype, MPI_Op *out);
void dl_mpi_narrow_free(void); /* before MPI ends */

/* mpi_reduce.c */
dl_status dl_mpi_reduce_prepare(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out);
void dl_mpi_reduce_destroy(dl_collective *collective);
dl_status dl_mpi_reduce_start(dl_collective *collective, void *stream);
dl_status dl_mpi_reduce_wait(dl_collective *collective);

#endif
