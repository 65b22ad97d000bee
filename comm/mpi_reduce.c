/* All-reduce of the mpi communicator: which way numbers travel is decided at prepare, from what all ranks
 * told. */
#include "base/mem.h"
#include "comm/describe.h"
#include "comm/mpi_comm.h"
#include "comm/shared.h"

#include <string.h>

enum { SMALL_BYTES = 4096, GATHER_CHUNK_BYTES = 256 << 10, MAX_COUNT = 1 << 28 };

/* What a rank brings: one array (its buffer), or its blocks. */
typedef struct contribution {
    dl_reduce_terms terms;
    int32_t n_blocks;
    int32_t window[DL_MAX_BLOCKS]; /* -1: not in shared memory */
    int64_t offset[DL_MAX_BLOCKS];
    dl_range pieces[DL_MAX_BLOCKS];
} contribution;

typedef enum way {
    WAY_BUFFERS, /* buffers in windows: the ranks of a node add in place, MPI adds the nodes */
    WAY_BANKS,   /* few numbers on one node: through the control area */
    WAY_MPI,     /* MPI_Allreduce */
    WAY_GATHER,  /* blocks that are not in windows or on several nodes: everybody gathers and adds them */
} way;

struct dl_collective {
    dl_mpi *mpi;
    dl_reduce_desc desc;
    way way;
    int n_leaves; /* arrays of all ranks (WAY_BUFFERS, WAY_BANKS on several nodes: of the node's ranks) */
    MPI_Datatype type; /* what MPI calls the elements, and how it adds them */
    MPI_Op op;
    dl_shared_reduce shared;              /* also holds the plan and the leaves of WAY_GATHER */
    int *n_arrays, *count, *displacement; /* [size]: WAY_GATHER */
};

static int arrays_of(const contribution *one) {
    return one->n_blocks > 0 ? one->n_blocks : 1;
}

static const void *array_of(const dl_reduce_desc *desc, int i) {
    return desc->n_blocks > 0 ? desc->block[i] : desc->buffer;
}

static size_t n_bytes_of(const dl_reduce_desc *desc) {
    return (size_t)desc->n_elements * dl_dtype_bytes(desc->dtype);
}

/* MPI's names for the elements and the reduction. */
static dl_status name_for_mpi(dl_collective *collective) {
    collective->op = collective->desc.reduction == DL_REDUCE_MAX ? MPI_MAX : MPI_SUM;
    switch (collective->desc.dtype) {
    case DL_F32:
        collective->type = MPI_FLOAT;
        return DL_OK;
    case DL_F64:
        collective->type = MPI_DOUBLE;
        return DL_OK;
    case DL_BF16:
    case DL_F16:
        collective->type = MPI_UINT16_T;
        return dl_mpi_narrow_sum(collective->desc.dtype, &collective->op);
    default: /* dl_reduce_desc_check lets no other through */
        collective->type = MPI_INT32_T;
        return DL_OK;
    }
}

static contribution describe(const dl_mpi *mpi, const dl_reduce_desc *desc) {
    contribution own;
    memset(&own, 0, sizeof own); /* padding travels too */
    own.terms = dl_reduce_terms_of(desc);
    own.n_blocks = desc->n_blocks;
    for (int i = 0; i < arrays_of(&own); i++) {
        own.window[i] = dl_mpi_window_find(mpi, array_of(desc, i), n_bytes_of(desc), &own.offset[i]);
        own.pieces[i] = desc->n_blocks > 0 ? desc->block_pieces[i] : (dl_range){0, 0};
    }
    return own;
}

static size_t bank_bytes_of(const dl_mpi *mpi, const contribution *all, size_t n_bytes) {
    int most = 1;
    for (int rank = 0; rank < mpi->head.size; rank++) {
        most = arrays_of(&all[rank]) > most ? arrays_of(&all[rank]) : most;
    }
    return dl_round_up((size_t)most * n_bytes + 1, DL_CACHE_LINE);
}

static bool all_in_windows(const dl_mpi *mpi, const contribution *all) {
    for (int rank = 0; rank < mpi->head.size; rank++) {
        for (int i = 0; i < arrays_of(&all[rank]); i++) {
            if (all[rank].window[i] < 0) {
                return false;
            }
        }
    }
    return true;
}

/* The same on every rank. *control is the place of the flags (and banks) in the control area. */
static way choose_way(dl_mpi *mpi, const contribution *all, const dl_reduce_desc *desc, int64_t *control) {
    const bool one_node = mpi->head.n_nodes == 1;
    const size_t bank_bytes = bank_bytes_of(mpi, all, n_bytes_of(desc));
    if (mpi->head.size > 1 && all_in_windows(mpi, all) && (one_node || desc->n_blocks == 0)) {
        dl_mpi_control_take(mpi, sizeof(dl_shared_flags), control);
        if (*control >= 0) {
            return WAY_BUFFERS;
        }
    } else if (mpi->head.size > 1 && mpi->use_windows && one_node &&
               bank_bytes <= SMALL_BYTES + DL_CACHE_LINE) {
        dl_mpi_control_take(mpi, sizeof(dl_shared_flags) + 2 * bank_bytes, control);
        if (*control >= 0) {
            return WAY_BANKS;
        }
    }
    return desc->n_blocks > 0 ? WAY_GATHER : WAY_MPI;
}

/* The order of the additions: the tree over all ranks' blocks, or the node's ranks one after the other. */
static dl_status make_plan(dl_collective *collective, const contribution *all) {
    const dl_mpi *mpi = collective->mpi;
    if (collective->desc.n_blocks == 0) {
        collective->n_leaves = mpi->head.node_size;
        return dl_sum_plan_line(collective->n_leaves, &collective->shared.plan);
    }
    int n = 0;
    for (int rank = 0; rank < mpi->head.size; rank++) {
        n += arrays_of(&all[rank]);
    }
    collective->n_leaves = n;
    dl_range *pieces = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *pieces, &pieces));
    n = 0;
    for (int rank = 0; rank < mpi->head.size; rank++) {
        for (int i = 0; i < arrays_of(&all[rank]); i++) {
            pieces[n++] = all[rank].pieces[i];
        }
    }
    const dl_status status = dl_sum_plan_tree(pieces, n, &collective->shared.plan);
    dl_free(&pieces);
    return status;
}

static dl_status alloc_shared(dl_collective *collective) {
    dl_shared_reduce *shared = &collective->shared;
    const dl_mpi *mpi = collective->mpi;
    const size_t size = (size_t)mpi->head.node_size;
    *shared = (dl_shared_reduce){
        .rank = mpi->head.node_rank,
        .size = mpi->head.node_size,
        .progress = dl_mpi_progress,
        .progress_context = collective->mpi,
        .reduction = collective->desc.reduction,
        .dtype = collective->desc.dtype,
        .n_elements = collective->desc.n_elements,
        .plan = shared->plan,
        .n_slices = mpi->n_slices,
    };
    DL_RETURN_IF_ERROR(dl_alloc(2 * (size_t)collective->n_leaves, sizeof *shared->leaf, &shared->leaf));
    DL_RETURN_IF_ERROR(dl_alloc(size, sizeof *shared->flags, &shared->flags));
    return dl_alloc(size, sizeof *shared->out, &shared->out);
}

/* Where all the node's arrays, results and flags lie in this process. */
static void find_places(dl_collective *collective, const contribution *all, int64_t control) {
    dl_shared_reduce *shared = &collective->shared;
    const dl_mpi *mpi = collective->mpi;
    const size_t n_bytes = n_bytes_of(&collective->desc);
    shared->bank_bytes = collective->way == WAY_BANKS ? bank_bytes_of(mpi, all, n_bytes) : 0;
    int n = 0;
    for (int rank = 0; rank < mpi->head.node_size; rank++) {
        const contribution *one = &all[mpi->member[rank]];
        char *area = mpi->control->base[rank] + control;
        char *bank = area + sizeof(dl_shared_flags);
        shared->flags[rank] = (dl_shared_flags *)(void *)area;
        for (int i = 0; i < arrays_of(one); i++, n++) {
            if (collective->way == WAY_BANKS) {
                shared->leaf[n] = bank + (size_t)i * n_bytes;
                shared->leaf[collective->n_leaves + n] = bank + shared->bank_bytes + (size_t)i * n_bytes;
            } else {
                shared->leaf[n] = mpi->window[one->window[i]]->base[rank] + one->offset[i];
            }
        }
        shared->out[rank] = collective->way == WAY_BANKS
                                ? collective->desc.buffer
                                : mpi->window[one->window[0]]->base[rank] + one->offset[0];
        if (rank == shared->rank) {
            shared->bank = bank;
        }
    }
    shared->n_own = arrays_of(&all[mpi->head.rank]);
    for (int i = 0; i < shared->n_own; i++) {
        shared->own[i] = array_of(&collective->desc, i);
    }
}

static dl_status prepare_gather(dl_collective *collective, const contribution *all) {
    dl_mpi *mpi = collective->mpi;
    const size_t size = (size_t)mpi->head.size;
    DL_RETURN_IF_ERROR(dl_alloc(size, sizeof(int), &collective->n_arrays));
    DL_RETURN_IF_ERROR(dl_alloc(size, sizeof(int), &collective->count));
    DL_RETURN_IF_ERROR(dl_alloc(size, sizeof(int), &collective->displacement));
    for (int rank = 0; rank < mpi->head.size; rank++) {
        collective->n_arrays[rank] = arrays_of(&all[rank]);
    }
    return dl_grow(&mpi->scratch, &mpi->scratch_bytes, (int64_t)collective->n_leaves * GATHER_CHUNK_BYTES, 1);
}

static dl_status prepare(dl_collective *collective, contribution *all) {
    dl_mpi *mpi = collective->mpi;
    const contribution own = describe(mpi, &collective->desc);
    const int n_bytes = (int)sizeof own;
    DL_RETURN_IF_ERROR(DL_MPI(MPI_Allgather(&own, n_bytes, MPI_BYTE, all, n_bytes, MPI_BYTE, mpi->comm)));
    DL_RETURN_IF_ERROR(dl_reduce_terms_compare(all, sizeof own, mpi->head.size, collective->desc.name));
    int64_t control = -1;
    collective->way = choose_way(mpi, all, &collective->desc, &control);
    DL_RETURN_IF_ERROR(make_plan(collective, all));
    DL_RETURN_IF_ERROR(alloc_shared(collective));
    if (collective->way == WAY_BUFFERS || collective->way == WAY_BANKS) {
        find_places(collective, all, control);
    } else if (collective->way == WAY_GATHER) {
        DL_RETURN_IF_ERROR(prepare_gather(collective, all));
    }
    return DL_OK;
}

dl_status dl_mpi_reduce_prepare(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out) {
    DL_RETURN_IF_ERROR(dl_reduce_desc_check(desc));
    dl_collective *collective = NULL;
    contribution *all = NULL;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc(1, sizeof *collective, &collective), fail);
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)comm->size, sizeof *all, &all), fail);
    collective->mpi = (dl_mpi *)comm;
    collective->desc = *desc;
    collective->desc.name = desc->name != NULL ? desc->name : "(no name)";
    DL_GOTO_IF_ERROR(status, name_for_mpi(collective), fail);
    DL_GOTO_IF_ERROR(status, prepare(collective, all), fail);
    dl_free(&all);
    comm->reduce_calls++;
    *out = collective;
    return DL_OK;
fail:
    dl_free(&all);
    dl_mpi_reduce_destroy(collective);
    return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "preparing all-reduce '%s'",
                              desc->name != NULL ? desc->name : "(no name)");
}

void dl_mpi_reduce_destroy(dl_collective *collective) {
    if (collective == NULL) {
        return;
    }
    dl_sum_plan_free(&collective->shared.plan);
    dl_free(&collective->shared.leaf);
    dl_free(&collective->shared.flags);
    dl_free(&collective->shared.out);
    dl_free(&collective->n_arrays);
    dl_free(&collective->count);
    dl_free(&collective->displacement);
    dl_free(&collective);
}

dl_status dl_mpi_reduce_start(dl_collective *collective, void *stream) {
    (void)stream;
    if (collective->way == WAY_BUFFERS || collective->way == WAY_BANKS) {
        dl_shared_start(&collective->shared);
    }
    return DL_OK;
}

/* Adds the elements of `range` of the buffer over the ranks of `comm`, in place. */
static dl_status all_reduce(const dl_collective *collective, dl_range range, MPI_Comm comm) {
    const dl_reduce_desc *desc = &collective->desc;
    for (int64_t at = range.begin; at < range.end; at += MAX_COUNT) {
        const int64_t n = range.end - at < MAX_COUNT ? range.end - at : MAX_COUNT;
        char *place = (char *)desc->buffer + (size_t)at * dl_dtype_bytes(desc->dtype);
        DL_RETURN_IF_ERROR_DOING(
            DL_MPI(MPI_Allreduce(MPI_IN_PLACE, place, (int)n, collective->type, collective->op, comm)),
            "all-reduce '%s'", desc->name);
    }
    return DL_OK;
}

static dl_status add_nodes(void *context, dl_range slice) {
    const dl_collective *collective = context;
    return all_reduce(collective, slice, collective->mpi->cross);
}

/* Gathers n elements from `at` on of every block, and adds them. */
static dl_status gather_chunk(dl_collective *collective, int64_t at, int64_t n) {
    dl_mpi *mpi = collective->mpi;
    const dl_reduce_desc *desc = &collective->desc;
    const size_t size = dl_dtype_bytes(desc->dtype), n_bytes = (size_t)n * size;
    int total = 0;
    for (int rank = 0; rank < mpi->head.size; rank++) {
        collective->displacement[rank] = total * (int)n_bytes;
        collective->count[rank] = collective->n_arrays[rank] * (int)n_bytes;
        total += collective->n_arrays[rank];
    }
    for (int i = 0; i < desc->n_blocks; i++) {
        memcpy(mpi->scratch + collective->displacement[mpi->head.rank] + (size_t)i * n_bytes,
               (const char *)desc->block[i] + (size_t)at * size, n_bytes);
    }
    for (int i = 0; i < total; i++) {
        collective->shared.leaf[i] = mpi->scratch + (size_t)i * n_bytes;
    }
    DL_RETURN_IF_ERROR_DOING(
        DL_MPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, mpi->scratch, collective->count,
                              collective->displacement, MPI_BYTE, mpi->comm)),
        "all-reduce '%s'", desc->name);
    void *out = (char *)desc->buffer + (size_t)at * size;
    dl_sum_run(&collective->shared.plan, desc->reduction, desc->dtype, collective->shared.leaf,
               (dl_range){0, n}, &out, 1);
    return DL_OK;
}

static dl_status gather(dl_collective *collective) {
    const dl_reduce_desc *desc = &collective->desc;
    if (collective->mpi->head.size == 1) {
        for (int i = 0; i < desc->n_blocks; i++) {
            collective->shared.leaf[i] = desc->block[i];
        }
        dl_sum_run(&collective->shared.plan, desc->reduction, desc->dtype, collective->shared.leaf,
                   (dl_range){0, desc->n_elements}, &collective->desc.buffer, 1);
        return DL_OK;
    }
    const int64_t chunk = GATHER_CHUNK_BYTES / (int64_t)dl_dtype_bytes(collective->desc.dtype);
    for (int64_t at = 0; at < collective->desc.n_elements; at += chunk) {
        const int64_t left = collective->desc.n_elements - at;
        DL_RETURN_IF_ERROR(gather_chunk(collective, at, left < chunk ? left : chunk));
    }
    return DL_OK;
}

dl_status dl_mpi_reduce_wait(dl_collective *collective) {
    const dl_mpi *mpi = collective->mpi;
    switch (collective->way) {
    case WAY_MPI: /* without a thread of its own MPI would not move before this call anyway */
        return mpi->head.size == 1
                   ? DL_OK
                   : all_reduce(collective, (dl_range){0, collective->desc.n_elements}, mpi->comm);
    case WAY_GATHER:
        return gather(collective);
    case WAY_BUFFERS:
    case WAY_BANKS:
        break;
    }
    DL_RETURN_IF_ERROR_DOING(
        dl_shared_wait(&collective->shared, mpi->head.n_nodes > 1 ? add_nodes : NULL, collective),
        "all-reduce '%s'", collective->desc.name);
    return DL_OK;
}
