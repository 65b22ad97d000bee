/* The communicator of one rank: the sums are there already, except that blocks are still to be added up. */
#include "base/mem.h"
#include "comm/comm.h"
#include "comm/tree.h"

#include <string.h>

typedef struct self_comm {
    dl_comm head;
    bool claimed;
} self_comm;

struct dl_collective {
    dl_reduce_desc desc;
    dl_sum_plan plan;
};

static dl_status self_memory_create(dl_comm *comm, size_t n_bytes, void **out) {
    (void)comm;
    const size_t size = n_bytes + DL_PAGE_BYTES; /* the first page remembers the size */
    char *pages = NULL;
    void *memory = NULL;
    DL_RETURN_IF_ERROR(dl_pages_alloc(size, &memory));
    pages = memory;
    memcpy(pages, &size, sizeof size);
    *out = pages + DL_PAGE_BYTES;
    return DL_OK;
}

static void self_memory_destroy(dl_comm *comm, void *memory) {
    (void)comm;
    if (memory != NULL) {
        char *pages = (char *)memory - DL_PAGE_BYTES;
        size_t size = 0;
        memcpy(&size, pages, sizeof size);
        dl_pages_free(pages, size);
    }
}

static dl_status self_prepare(dl_comm *comm, const dl_reduce_desc *desc, dl_collective **out) {
    DL_RETURN_IF_ERROR(dl_reduce_desc_check(desc));
    dl_collective *collective = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *collective, &collective));
    collective->desc = *desc;
    if (desc->n_blocks > 0) {
        const dl_status status = dl_sum_plan_tree(desc->block_pieces, desc->n_blocks, &collective->plan);
        if (status != DL_OK) {
            dl_free(&collective);
            return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "all-reduce '%s'", desc->name);
        }
    }
    comm->reduce_calls++;
    *out = collective;
    return DL_OK;
}

static void self_collective_destroy(dl_collective *collective) {
    if (collective != NULL) {
        dl_sum_plan_free(&collective->plan);
        dl_free(&collective);
    }
}

static dl_status self_start(dl_collective *collective, void *stream) {
    (void)collective, (void)stream;
    return DL_OK;
}

static dl_status self_wait(dl_collective *collective) {
    dl_reduce_desc *desc = &collective->desc;
    if (desc->n_blocks > 1) {
        const void *leaf[DL_MAX_BLOCKS];
        for (int i = 0; i < desc->n_blocks; i++) {
            leaf[i] = desc->block[i];
        }
        dl_sum_run(&collective->plan, desc->reduction, desc->dtype, leaf, (dl_range){0, desc->n_elements},
                   &desc->buffer, 1);
    }
    return DL_OK;
}

static dl_status self_check(dl_comm *comm) {
    (void)comm;
    return DL_OK;
}

static dl_status self_barrier(dl_comm *comm) {
    (void)comm;
    return DL_OK;
}

static dl_status self_broadcast(dl_comm *comm, void *bytes, size_t n_bytes, int root) {
    (void)comm, (void)bytes, (void)n_bytes, (void)root;
    return DL_OK;
}

static dl_status self_all_gather(dl_comm *comm, const void *bytes, size_t n_bytes, void *out) {
    (void)comm;
    if (n_bytes > 0 && out != bytes) {
        memmove(out, bytes, n_bytes);
    }
    return DL_OK;
}

static dl_status self_split(dl_comm *comm, int color, dl_comm **out) {
    (void)comm, (void)color;
    return dl_comm_self_create(out);
}

static bool self_claim(dl_comm *comm) {
    self_comm *self = (self_comm *)comm;
    const bool first = !self->claimed;
    self->claimed = true;
    return first;
}

static int self_lost_peer(dl_comm *comm, int *process) {
    (void)comm, (void)process;
    return -1;
}

static void self_abort_job(dl_comm *comm, int exit_code) {
    (void)comm, (void)exit_code;
}

static void self_destroy(dl_comm *comm) {
    dl_free(&comm);
}

static const dl_comm_functions self_functions = {
    .name = "self",
    .doc = "one rank: nothing to exchange",
    .memory_create = self_memory_create,
    .memory_destroy = self_memory_destroy,
    .all_reduce_prepare = self_prepare,
    .collective_destroy = self_collective_destroy,
    .start = self_start,
    .wait = self_wait,
    .check = self_check,
    .barrier = self_barrier,
    .broadcast = self_broadcast,
    .all_gather = self_all_gather,
    .split = self_split,
    .claim = self_claim,
    .lost_peer = self_lost_peer,
    .abort_job = self_abort_job,
    .destroy = self_destroy,
};

dl_status dl_comm_self_create(dl_comm **out) {
    self_comm *self = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *self, &self));
    self->head = (dl_comm){.functions = &self_functions, .size = 1, .node_size = 1, .n_nodes = 1};
    *out = &self->head;
    return DL_OK;
}
