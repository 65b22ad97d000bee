#include "comm/device_comm.h"

#include "base/mem.h"

void dl_device_comm_init(dl_device_comm *comm, const dl_comm_functions *functions, dl_comm *host,
                         const dl_comm_device *device) {
    comm->device = *device;
    comm->head = (dl_comm){.functions = functions,
                           .host = host,
                           .rank = host->rank,
                           .size = host->size,
                           .node_rank = host->node_rank,
                           .node_size = host->node_size,
                           .n_nodes = host->n_nodes};
}

void dl_device_comm_release(dl_device_comm *comm) {
    for (int64_t i = 0; i < comm->n_memories; i++) {
        dl_device_comm_memory_destroy(&comm->head, comm->memory[i].address);
    }
    dl_free(&comm->memory);
    if (comm->owns_host) {
        dl_comm_destroy(&comm->head.host);
    }
}

dl_status dl_device_comm_memory_create(dl_comm *comm, size_t n_bytes, void **out) {
    dl_device_comm *one = dl_device_comm_of(comm);
    DL_RETURN_IF_ERROR(dl_grow(&one->memory, &one->capacity, one->n_memories + 1, sizeof *one->memory));
    DL_RETURN_IF_ERROR(one->device.memory_create(one->device.context, n_bytes, out));
    one->memory[one->n_memories++] = (dl_device_memory){.address = *out, .n_bytes = n_bytes};
    return DL_OK;
}

void dl_device_comm_memory_destroy(dl_comm *comm, void *memory) {
    dl_device_comm *one = dl_device_comm_of(comm);
    for (int64_t i = 0; memory != NULL && i < one->n_memories; i++) {
        if (one->memory[i].address == memory) {
            one->device.memory_destroy(one->device.context, memory, one->memory[i].n_bytes);
            one->memory[i].address = NULL;
            return;
        }
    }
}

dl_status dl_device_comm_split(dl_comm *comm, int color, dl_comm_device_create *create, dl_comm **out) {
    dl_comm *part = NULL;
    DL_RETURN_IF_ERROR(comm->host->functions->split(comm->host, color, &part));
    const dl_status status = create(part, &dl_device_comm_of(comm)->device, out);
    if (status != DL_OK) {
        dl_comm_destroy(&part);
        return status;
    }
    dl_device_comm_of(*out)->owns_host = true;
    return DL_OK;
}

dl_status dl_device_comm_check(dl_comm *comm) {
    return comm->host->functions->check(comm->host);
}

dl_status dl_device_comm_barrier(dl_comm *comm) {
    return comm->host->functions->barrier(comm->host);
}

dl_status dl_device_comm_broadcast(dl_comm *comm, void *bytes, size_t n_bytes, int root) {
    return comm->host->functions->broadcast(comm->host, bytes, n_bytes, root);
}

dl_status dl_device_comm_all_gather(dl_comm *comm, const void *bytes, size_t n_bytes, void *out) {
    return comm->host->functions->all_gather(comm->host, bytes, n_bytes, out);
}

void dl_device_comm_abort_job(dl_comm *comm, int exit_code) {
    comm->host->functions->abort_job(comm->host, exit_code);
}

bool dl_device_comm_claim(dl_comm *comm) {
    return comm->host->functions->claim(comm->host);
}

int dl_device_comm_lost_peer(dl_comm *comm, int *process) {
    return comm->host->functions->lost_peer(comm->host, process);
}
