/* The staged communicator: sums of device memory made on the host.
 *
 * start() puts the copies out of the device into a stream of its own, behind the caller's stream; wait()
 * takes the chunks as they arrive, lets the host communicator add them, and puts the copies back into a
 * second stream, for which the caller's stream then waits. So while the host adds one chunk, the next one
 * comes and the one before goes back. The host's part runs where the caller waits anyway, on the thread that
 * calls MPI: all ranks come to the exchanges in the order of the list, and no lock is needed. */
#include "base/log.h"
#include "base/mem.h"
#include "comm/describe.h"
#include "comm/device_comm.h"

#include <string.h>

/* A chunk takes 20 us over PCIe 5.0 and 100 us to be added, a start of a copy 5 us. */
enum { CHUNK_BYTES = 1 << 20, SMALL_BYTES = 4096 };

typedef struct staged_comm {
    dl_device_comm base;
    void *out_stream,
        *in_stream; /* copies from the device, copies to it; made when there is something to do */
} staged_comm;

typedef struct chunk {
    dl_range elements;
    dl_collective *host; /* adds this chunk in the staging memory */
    void *arrived;       /* event: it is in the staging memory */
} chunk;

struct dl_collective {
    staged_comm *comm;
    dl_reduce_desc desc; /* on the device */
    char *staging;       /* [blocks, or 1][n_elements] on the host, as the chunks of `host` see it */
    size_t staging_bytes;
    bool shared, pinned; /* the host communicator's memory; copies reach it directly */
    int n_chunks;
    chunk *chunk;
    void *full, *back; /* events: the caller's stream has filled the buffer, the last chunk is back */
    void *stream;      /* the caller's, from start() to wait() */
    bool started;      /* at least once: the device may still be copying */
};

static int arrays_of(const dl_reduce_desc *desc) {
    return desc->n_blocks > 0 ? desc->n_blocks : 1;
}

/* One rank with one array has its sum. */
static bool nothing_to_do(const dl_collective *collective) {
    return collective->comm->base.head.size == 1 && arrays_of(&collective->desc) == 1;
}

/* ---- prepare ---- */

/* Memory that the ranks of a node share, but for few numbers: those have a way of their own. */
static dl_status create_staging(dl_collective *collective) {
    static bool said;
    dl_comm *host = collective->comm->base.head.host;
    const dl_comm_device *device = &collective->comm->base.device;
    const size_t n_bytes = (size_t)collective->desc.n_elements * dl_dtype_bytes(collective->desc.dtype);
    collective->staging_bytes =
        dl_round_up((size_t)arrays_of(&collective->desc) * n_bytes + 1, DL_PAGE_BYTES);
    void *memory = NULL;
    collective->shared = n_bytes > SMALL_BYTES;
    if (collective->shared) {
        DL_RETURN_IF_ERROR(host->functions->memory_create(host, collective->staging_bytes, &memory));
    } else {
        DL_RETURN_IF_ERROR(dl_pages_alloc(collective->staging_bytes, &memory));
    }
    collective->staging = memory;
    collective->pinned = device->pin(device->context, memory, collective->staging_bytes) == DL_OK;
    if (!collective->pinned && !said) {
        said = true;
        DL_WARN("gradients travel through memory that is not pinned, which is slower: %s",
                dl_error_last()->message);
    }
    return DL_OK;
}

static dl_status prepare_chunk(dl_collective *collective, int number) {
    const dl_comm_device *device = &collective->comm->base.device;
    dl_comm *host = collective->comm->base.head.host;
    const dl_reduce_desc *desc = &collective->desc;
    const size_t size = dl_dtype_bytes(desc->dtype);
    const int64_t per_chunk = CHUNK_BYTES / (int64_t)size;
    chunk *one = &collective->chunk[number];
    one->elements.begin = number * per_chunk;
    one->elements.end =
        number + 1 < collective->n_chunks ? one->elements.begin + per_chunk : desc->n_elements;
    dl_reduce_desc part = *desc;
    part.n_elements = one->elements.end - one->elements.begin;
    part.buffer = collective->staging + (size_t)one->elements.begin * size;
    for (int i = 0; i < desc->n_blocks; i++) {
        part.block[i] = collective->staging + (size_t)(i * desc->n_elements + one->elements.begin) * size;
    }
    DL_RETURN_IF_ERROR(host->functions->all_reduce_prepare(host, &part, &one->host));
    return device->event_create(device->context, &one->arrived);
}

static dl_status create_streams(staged_comm *comm) {
    const dl_comm_device *device = &comm->base.device;
    if (comm->out_stream == NULL) {
        DL_RETURN_IF_ERROR(device->stream_create(device->context, &comm->out_stream));
    }
    return comm->in_stream == NULL ? device->stream_create(device->context, &comm->in_stream) : DL_OK;
}

static dl_status prepare(dl_collective *collective) {
    const dl_comm_device *device = &collective->comm->base.device;
    const int64_t per_chunk = CHUNK_BYTES / (int64_t)dl_dtype_bytes(collective->desc.dtype);
    DL_RETURN_IF_ERROR(dl_reduce_agree(collective->comm->base.head.host, &collective->desc));
    if (nothing_to_do(collective)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(create_streams(collective->comm));
    DL_RETURN_IF_ERROR(device->event_create(device->context, &collective->full));
    DL_RETURN_IF_ERROR(device->event_create(device->context, &collective->back));
    DL_RETURN_IF_ERROR(create_staging(collective));
    const int64_t n_chunks = (collective->desc.n_elements + per_chunk - 1) / per_chunk;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_chunks, sizeof *collective->chunk, &collective->chunk));
    collective->n_chunks = (int)n_chunks;
    for (int i = 0; i < collective->n_chunks; i++) {
        DL_RETURN_IF_ERROR(prepare_chunk(collective, i));
    }
    return DL_OK;
}

/* Copies may be on their way to and from the staging memory, also after a failure. */
static void wait_for_copies(const dl_collective *collective) {
    const dl_comm_device *device = &collective->comm->base.device;
    for (int i = 0; collective->started && i < collective->n_chunks; i++) {
        (void)device->synchronize(device->context, collective->chunk[i].arrived);
    }
    if (collective->started && collective->n_chunks > 0) {
        (void)device->synchronize(device->context, collective->back);
    }
}

static void staged_collective_destroy(dl_collective *collective) {
    if (collective == NULL) {
        return;
    }
    const dl_comm_device *device = &collective->comm->base.device;
    dl_comm *host = collective->comm->base.head.host;
    wait_for_copies(collective);
    for (int i = 0; i < collective->n_chunks; i++) {
        host->functions->collective_destroy(collective->chunk[i].host);
        device->event_destroy(device->context, collective->chunk[i].arrived);
    }
    dl_free(&collective->chunk);
    device->event_destroy(device->context, collective->full);
    device->event_destroy(device->context, collective->back);
    if (collective->pinned) {
        device->unpin(device->context, collective->staging, collective->staging_bytes);
    }
    if (collective->shared) {
        host->functions->memory_destroy(host, collective->staging);
    } else {
        dl_pages_free(collective->staging, collective->staging_bytes);
    }
    dl_free(&collective);
}

static dl_status staged_prepare(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out) {
    DL_RETURN_IF_ERROR(dl_reduce_desc_check(desc));
    dl_collective *collective = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *collective, &collective));
    collective->comm = (staged_comm *)(void *)comm;
    collective->desc = *desc;
    collective->desc.name = desc->name != NULL ? desc->name : "(no name)";
    const dl_status status = prepare(collective);
    if (status != DL_OK) {
        staged_collective_destroy(collective);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "preparing all-reduce '%s'",
                                  desc->name != NULL ? desc->name : "(no name)");
    }
    comm->reduce_calls++;
    *out = collective;
    return DL_OK;
}

/* ---- a step ---- */

static dl_status copy_chunk_out(dl_collective *collective, const chunk *one) {
    const dl_comm_device *device = &collective->comm->base.device;
    const dl_reduce_desc *desc = &collective->desc;
    const size_t size = dl_dtype_bytes(desc->dtype), at = (size_t)one->elements.begin * size;
    const size_t n_bytes = (size_t)(one->elements.end - one->elements.begin) * size;
    for (int i = 0; i < arrays_of(desc); i++) {
        const char *from = desc->n_blocks > 0 ? desc->block[i] : desc->buffer;
        char *to = collective->staging + (size_t)(i * desc->n_elements) * size + at;
        DL_RETURN_IF_ERROR(
            device->copy_out(device->context, to, from + at, n_bytes, collective->comm->out_stream));
    }
    return device->record(device->context, one->arrived, collective->comm->out_stream);
}

static dl_status staged_start(dl_collective *collective, void *stream) {
    const staged_comm *comm = collective->comm;
    const dl_comm_device *device = &comm->base.device;
    collective->stream = stream;
    collective->started = true;
    if (nothing_to_do(collective)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(device->record(device->context, collective->full, stream));
    DL_RETURN_IF_ERROR(device->stream_wait(device->context, comm->out_stream, collective->full));
    for (int i = 0; i < collective->n_chunks; i++) {
        DL_RETURN_IF_ERROR(copy_chunk_out(collective, &collective->chunk[i]));
    }
    return DL_OK;
}

/* The chunk is on the host, and the stream of the copies back has nothing to wait for. */
static dl_status add_chunk(dl_collective *collective, const chunk *one) {
    const dl_comm_device *device = &collective->comm->base.device;
    const dl_comm *host = collective->comm->base.head.host;
    const size_t size = dl_dtype_bytes(collective->desc.dtype), at = (size_t)one->elements.begin * size;
    const size_t n_bytes = (size_t)(one->elements.end - one->elements.begin) * size;
    DL_RETURN_IF_ERROR(device->synchronize(device->context, one->arrived));
    DL_RETURN_IF_ERROR(host->functions->start(one->host, NULL));
    DL_RETURN_IF_ERROR(host->functions->wait(one->host));
    return device->copy_in(device->context, (char *)collective->desc.buffer + at, collective->staging + at,
                           n_bytes, collective->comm->in_stream);
}

static dl_status staged_wait(dl_collective *collective) {
    const staged_comm *comm = collective->comm;
    const dl_comm_device *device = &comm->base.device;
    if (nothing_to_do(collective)) {
        return DL_OK;
    }
    for (int i = 0; i < collective->n_chunks; i++) {
        DL_RETURN_IF_ERROR_DOING(add_chunk(collective, &collective->chunk[i]), "all-reduce '%s'",
                                 collective->desc.name);
    }
    DL_RETURN_IF_ERROR(device->record(device->context, collective->back, comm->in_stream));
    return device->stream_wait(device->context, collective->stream, collective->back);
}

/* ---- the communicator ---- */

static void staged_destroy(dl_comm *comm) {
    staged_comm *staged = (staged_comm *)(void *)comm;
    const dl_comm_device *device = &staged->base.device;
    device->stream_destroy(device->context, staged->out_stream);
    device->stream_destroy(device->context, staged->in_stream);
    dl_device_comm_release(&staged->base);
    dl_free(&staged);
}

static dl_status staged_split(dl_comm *comm, int color, dl_comm **out) {
    return dl_device_comm_split(comm, color, dl_comm_staged_create, out);
}

static const dl_comm_functions staged_functions = {
    .name = "staged",
    .doc = "ranks with devices, through memory of their hosts: any number of ranks for a device",
    .on_device = true,
    .memory_create = dl_device_comm_memory_create,
    .memory_destroy = dl_device_comm_memory_destroy,
    .all_reduce_prepare = staged_prepare,
    .collective_destroy = staged_collective_destroy,
    .start = staged_start,
    .wait = staged_wait,
    .check = dl_device_comm_check,
    .barrier = dl_device_comm_barrier,
    .broadcast = dl_device_comm_broadcast,
    .all_gather = dl_device_comm_all_gather,
    .abort_job = dl_device_comm_abort_job,
    .split = staged_split,
    .claim = dl_device_comm_claim,
    .lost_peer = dl_device_comm_lost_peer,
    .destroy = staged_destroy,
};

dl_status dl_comm_staged_create(dl_comm *host, const dl_comm_device *device, dl_comm **out) {
    staged_comm *comm = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *comm, &comm));
    dl_device_comm_init(&comm->base, &staged_functions, host, device);
    *out = &comm->base.head;
    return DL_OK;
}
