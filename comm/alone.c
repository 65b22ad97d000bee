/* The communicator of one rank with a device: sums are there already, but for blocks, which the device adds
 * up in its stream. */
#include "base/mem.h"
#include "comm/device_comm.h"

struct dl_collective {
    const dl_device_comm *comm;
    dl_reduce_desc desc;
};

static dl_status alone_prepare(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out) {
    const dl_device_comm *alone = dl_device_comm_of(comm);
    dl_collective *collective = NULL;
    DL_RETURN_IF_ERROR(dl_reduce_desc_check(desc));
    DL_RETURN_ERROR_IF(desc->n_blocks > 0 && alone->device.sum == NULL, DL_ERR_USAGE,
                       "reproducible sums need a device that adds in a given order, which %s does not",
                       alone->device.name);
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *collective, &collective));
    collective->comm = alone;
    collective->desc = *desc;
    comm->reduce_calls++;
    *out = collective;
    return DL_OK;
}

static void alone_collective_destroy(dl_collective *collective) {
    dl_free(&collective);
}

static dl_status alone_start(dl_collective *collective, void *stream) {
    const dl_reduce_desc *desc = &collective->desc;
    const dl_comm_device *device = &collective->comm->device;
    const void *leaf[DL_TREE_NODES] = {0};
    if (desc->n_blocks == 0 || desc->n_elements == 0) {
        return DL_OK;
    }
    for (int i = 0; i < desc->n_blocks; i++) {
        leaf[dl_tree_node(desc->block_pieces[i])] = desc->block[i];
    }
    return device->sum(device->context, desc->dtype, leaf, desc->n_elements, desc->buffer, stream);
}

static dl_status alone_wait(dl_collective *collective) {
    (void)collective;
    return DL_OK;
}

static void alone_destroy(dl_comm *comm) {
    dl_device_comm *alone = dl_device_comm_of(comm);
    dl_device_comm_release(alone);
    dl_free(&alone);
}

static dl_status alone_split(dl_comm *comm, int color, dl_comm **out) {
    return dl_device_comm_split(comm, color, dl_comm_alone_create, out);
}

static const dl_comm_functions alone_functions = {
    .name = "alone",
    .doc = "one rank with a device",
    .on_device = true,
    .in_stream = true,
    .memory_create = dl_device_comm_memory_create,
    .memory_destroy = dl_device_comm_memory_destroy,
    .all_reduce_prepare = alone_prepare,
    .collective_destroy = alone_collective_destroy,
    .start = alone_start,
    .wait = alone_wait,
    .check = dl_device_comm_check,
    .barrier = dl_device_comm_barrier,
    .broadcast = dl_device_comm_broadcast,
    .all_gather = dl_device_comm_all_gather,
    .abort_job = dl_device_comm_abort_job,
    .split = alone_split,
    .claim = dl_device_comm_claim,
    .lost_peer = dl_device_comm_lost_peer,
    .destroy = alone_destroy,
};

dl_status dl_comm_alone_create(dl_comm *host, const dl_comm_device *device, dl_comm **out) {
    dl_device_comm *comm = NULL;
    DL_RETURN_ERROR_IF(host->size != 1, DL_ERR_INTERNAL, "a communicator of one rank for %d", host->size);
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *comm, &comm));
    dl_device_comm_init(comm, &alone_functions, host, device);
    *out = &comm->head;
    return DL_OK;
}
