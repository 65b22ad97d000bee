/* What the communicators for the memory of a device have in common; only they include this. */
#ifndef DLTRAIN_COMM_DEVICE_COMM_H
#define DLTRAIN_COMM_DEVICE_COMM_H

#include "comm/device.h"

typedef struct dl_device_memory {
    void *address; /* NULL: given up */
    size_t n_bytes;
} dl_device_memory;

/* The head of each of them. */
typedef struct dl_device_comm {
    dl_comm head;
    dl_comm_device device;
    bool owns_host; /* a part of the world: destroys head.host with itself */
    int64_t n_memories, capacity;
    dl_device_memory *memory;
} dl_device_comm;

static inline dl_device_comm *dl_device_comm_of(dl_comm *comm) {
    return (dl_device_comm *)(void *)comm;
}

/* Fills the head after `host`. */
void dl_device_comm_init(dl_device_comm *comm, const dl_comm_functions *functions, dl_comm *host,
                         const dl_comm_device *device);
/* Frees what init and the functions below have taken, not `comm` itself. */
void dl_device_comm_release(dl_device_comm *comm);

/* For the table: memory of the device, and the control plane, which is the host communicator's. */
dl_status dl_device_comm_memory_create(dl_comm *comm, size_t n_bytes, void **out);
void dl_device_comm_memory_destroy(dl_comm *comm, void *memory);
/* The host's part, and over it what `create` makes for the same device. */
dl_status dl_device_comm_split(dl_comm *comm, int color, dl_comm_device_create *create, dl_comm **out);
dl_status dl_device_comm_check(dl_comm *comm);
dl_status dl_device_comm_barrier(dl_comm *comm);
dl_status dl_device_comm_broadcast(dl_comm *comm, void *bytes, size_t n_bytes, int root);
dl_status dl_device_comm_all_gather(dl_comm *comm, const void *bytes, size_t n_bytes, void *out);
void dl_device_comm_abort_job(dl_comm *comm, int exit_code);
bool dl_device_comm_claim(dl_comm *comm);
int dl_device_comm_lost_peer(dl_comm *comm, int *process);

#endif
