/* Where the buffers of a communicator under test lie: host memory or a device's, behind one set of functions.
 */
#ifndef DLTRAIN_TESTS_MPI_PLACE_H
#define DLTRAIN_TESTS_MPI_PLACE_H

#include "comm/device.h"

typedef struct place {
    dl_comm *host; /* self or mpi */
    dl_comm *comm; /* the one under test; host itself when it is that */
    dl_comm_device device;
    void *stream, *event; /* of the device: where the test puts its work */
    char *arena;          /* pinned; what travels to and from buffers lies here until settle() */
    size_t arena_bytes, used;
} place;

/* Opens the host communicator and the one named: self, mpi, alone, staged, nccl. Ends the process when there
 * is none. */
void place_open(place *p, const char *name, size_t arena_bytes);
void place_close(place *p);

/* n_bytes of the arena, as long as there is room (else the test ends). */
void *place_take(place *p, size_t n_bytes);

/* Puts a copy into the stream: from arena memory into a buffer; from a buffer into arena memory, which holds
 * it after place_settle(). On the host at once. */
void place_upload(place *p, void *buffer, const void *from, size_t n_bytes);
void *place_download(place *p, const void *buffer, size_t n_bytes);

/* Waits for the stream; what was taken of the arena may be taken again. Ends with an error when a rank has
 * died. */
DL_NODISCARD dl_status place_settle(place *p);

/* A buffer: the communicator's memory (`own`) or some other of the same place. */
void *place_buffer(place *p, size_t n_bytes, bool own);
void place_buffer_free(place *p, void *buffer, size_t n_bytes, bool own);

#endif
