/* All-reduce over NCCL, in the caller's stream. Sums in blocks: every rank gathers all blocks, a chunk at a
 * time, and adds them in the one tree, as NCCL's own order depends on how many ranks there are. */
#include "base/mem.h"
#include "comm/describe.h"
#include "comm/nccl/nccl_comm.h"
#include "comm/tree.h"

enum { GATHER_CHUNK_BYTES = 4 << 20 };

/* A rank's blocks, as the others have to know them; no padding. */
typedef struct share {
    int64_t n_blocks;
    dl_range pieces[DL_MAX_BLOCKS];
} share;

/* A block of some rank. */
typedef struct leaf {
    int rank, block; /* whose, and the how manieth of that rank */
    int node;        /* of the tree */
} leaf;

struct dl_collective {
    dl_nccl *comm;
    dl_reduce_desc desc;
    ncclDataType_t type;
    ncclRedOp_t op;
    int n_leaves; /* 0: plain */
    leaf leaf[DL_PIECES];
};

static ncclDataType_t type_of(dl_dtype dtype) {
    switch (dtype) {
    case DL_F64:
        return ncclFloat64;
    case DL_BF16:
        return ncclBfloat16;
    case DL_F16:
        return ncclFloat16;
    case DL_I32:
        return ncclInt32;
    default: /* dl_reduce_desc_check lets no other through */
        return ncclFloat32;
    }
}

/* ---- prepare ---- */

/* All ranks' blocks in the order of the ranks; they make up the tree. */
static dl_status list_leaves(dl_collective *collective, const share *all, int n_ranks) {
    dl_range pieces[DL_PIECES];
    for (int rank = 0; rank < n_ranks; rank++) {
        for (int i = 0; i < all[rank].n_blocks; i++) {
            DL_RETURN_ERROR_IF(collective->n_leaves == DL_PIECES, DL_ERR_INTERNAL, "more than %d blocks",
                               DL_PIECES);
            pieces[collective->n_leaves] = all[rank].pieces[i];
            collective->leaf[collective->n_leaves++] =
                (leaf){.rank = rank, .block = i, .node = dl_tree_node(all[rank].pieces[i])};
        }
    }
    dl_sum_plan plan; /* knows whether they do */
    DL_RETURN_IF_ERROR(dl_sum_plan_tree(pieces, collective->n_leaves, &plan));
    dl_sum_plan_free(&plan);
    return DL_OK;
}

static int64_t chunk_elements(const dl_collective *collective) {
    return GATHER_CHUNK_BYTES / (int64_t)dl_dtype_bytes(collective->desc.dtype);
}

/* Room for a chunk of every leaf (its own rank's are not used). Not in a step, and freeing memory of a GPU
 * waits for whoever uses it. */
static dl_status grow_scratch(dl_collective *collective) {
    dl_nccl *comm = collective->comm;
    const dl_comm_device *device = &comm->base.device;
    const int64_t per_chunk = chunk_elements(collective), n = collective->desc.n_elements;
    const size_t n_bytes = (size_t)collective->n_leaves * (size_t)(n < per_chunk ? n : per_chunk) *
                           dl_dtype_bytes(collective->desc.dtype);
    if (n_bytes <= comm->scratch_bytes) {
        return DL_OK;
    }
    if (comm->scratch != NULL) {
        device->memory_destroy(device->context, comm->scratch, comm->scratch_bytes);
        comm->scratch = NULL;
        comm->scratch_bytes = 0;
    }
    DL_RETURN_IF_ERROR(device->memory_create(device->context, n_bytes, &comm->scratch));
    comm->scratch_bytes = n_bytes;
    return DL_OK;
}

static dl_status prepare_blocks(dl_collective *collective) {
    dl_comm *head = &collective->comm->base.head;
    const dl_reduce_desc *desc = &collective->desc;
    DL_RETURN_ERROR_IF(
        collective->comm->base.device.sum == NULL, DL_ERR_USAGE,
        "reproducible sums over NCCL need a device that adds in a given order, which %s does not",
        collective->comm->base.device.name);
    share own = {.n_blocks = desc->n_blocks}, *all = NULL;
    for (int i = 0; i < desc->n_blocks; i++) {
        own.pieces[i] = desc->block_pieces[i];
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)head->size, sizeof *all, &all));
    dl_status status = dl_device_comm_all_gather(head, &own, sizeof own, all);
    status = status == DL_OK ? list_leaves(collective, all, head->size) : status;
    dl_free(&all);
    DL_RETURN_IF_ERROR(status);
    return grow_scratch(collective);
}

static dl_status prepare(dl_collective *collective) {
    DL_RETURN_IF_ERROR(dl_reduce_agree(collective->comm->base.head.host, &collective->desc));
    collective->type = type_of(collective->desc.dtype);
    collective->op = collective->desc.reduction == DL_REDUCE_MAX ? ncclMax : ncclSum;
    return collective->desc.n_blocks > 0 ? prepare_blocks(collective) : DL_OK;
}

dl_status dl_nccl_reduce_prepare(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out) {
    DL_RETURN_IF_ERROR(dl_reduce_desc_check(desc));
    dl_collective *collective = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *collective, &collective));
    collective->comm = (dl_nccl *)(void *)comm;
    collective->desc = *desc;
    collective->desc.name = desc->name != NULL ? desc->name : "(no name)";
    const dl_status status = prepare(collective);
    if (status != DL_OK) {
        dl_free(&collective);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "preparing all-reduce '%s'",
                                  desc->name != NULL ? desc->name : "(no name)");
    }
    comm->reduce_calls++;
    *out = collective;
    return DL_OK;
}

void dl_nccl_reduce_destroy(dl_collective *collective) {
    dl_free(&collective);
}

/* ---- a step ---- */

/* Where n elements from `at` on of leaf i are, or will be: in the own block, or in its part of the scratch.
 */
static char *place_of(const dl_collective *collective, int i, int64_t at, int64_t n) {
    const leaf *one = &collective->leaf[i];
    const size_t size = dl_dtype_bytes(collective->desc.dtype);
    if (one->rank == collective->comm->base.head.rank) {
        return (char *)collective->desc.block[one->block] + (size_t)at * size;
    }
    return (char *)collective->comm->scratch + (size_t)(i * n) * size;
}

/* Every leaf goes from its rank to all; one launch for all of them. */
static dl_status gather_chunk(const dl_collective *collective, int64_t at, int64_t n, cudaStream_t stream) {
    dl_nccl *comm = collective->comm;
    DL_RETURN_IF_ERROR(dl_nccl_check(comm, ncclGroupStart(), "ncclGroupStart", __LINE__));
    ncclResult_t worst = ncclSuccess;
    for (int i = 0; i < collective->n_leaves; i++) {
        char *place = place_of(collective, i, at, n);
        const ncclResult_t result = ncclBroadcast(place, place, (size_t)n, collective->type,
                                                  collective->leaf[i].rank, comm->nccl, stream);
        worst = result != ncclSuccess && result != ncclInProgress ? result : worst;
    }
    const ncclResult_t ended = ncclGroupEnd(); /* also after a failure, or the thread stays in the group */
    return dl_nccl_settle(comm, worst != ncclSuccess ? worst : ended, "ncclBroadcast", __LINE__);
}

static dl_status sum_chunk(const dl_collective *collective, int64_t at, int64_t n, void *stream) {
    const dl_comm_device *device = &collective->comm->base.device;
    const void *node[DL_TREE_NODES] = {0};
    for (int i = 0; i < collective->n_leaves; i++) {
        node[collective->leaf[i].node] = place_of(collective, i, at, n);
    }
    char *out = (char *)collective->desc.buffer + (size_t)at * dl_dtype_bytes(collective->desc.dtype);
    return device->sum(device->context, collective->desc.dtype, node, n, out, stream);
}

static dl_status start_blocks(const dl_collective *collective, void *stream) {
    const int64_t per_chunk = chunk_elements(collective), n_elements = collective->desc.n_elements;
    for (int64_t at = 0; at < n_elements; at += per_chunk) {
        const int64_t n = n_elements - at < per_chunk ? n_elements - at : per_chunk;
        DL_RETURN_IF_ERROR(gather_chunk(collective, at, n, dl_nccl_stream(stream)));
        DL_RETURN_IF_ERROR(sum_chunk(collective, at, n, stream));
    }
    return DL_OK;
}

dl_status dl_nccl_reduce_start(dl_collective *collective, void *stream) {
    dl_nccl *comm = collective->comm;
    const dl_reduce_desc *desc = &collective->desc;
    DL_RETURN_ERROR_IF(comm->nccl == NULL, DL_ERR_PEER, "all-reduce '%s' after NCCL has failed", desc->name);
    if (desc->n_elements == 0) {
        return DL_OK;
    }
    if (collective->n_leaves > 0) {
        DL_RETURN_IF_ERROR_DOING(start_blocks(collective, stream), "all-reduce '%s'", desc->name);
        return DL_OK;
    }
    DL_RETURN_IF_ERROR_DOING(
        DL_NCCL(comm, ncclAllReduce(desc->buffer, desc->buffer, (size_t)desc->n_elements, collective->type,
                                    collective->op, comm->nccl, dl_nccl_stream(stream))),
        "all-reduce '%s'", desc->name);
    return DL_OK;
}

dl_status dl_nccl_reduce_wait(dl_collective *collective) {
    DL_RETURN_IF_ERROR_DOING(dl_nccl_look(&collective->comm->base.head), "all-reduce '%s'",
                             collective->desc.name);
    return DL_OK;
}
