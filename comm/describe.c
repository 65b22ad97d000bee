#include "comm/describe.h"

#include "base/mem.h"

#include <string.h>

dl_reduce_terms dl_reduce_terms_of(const dl_reduce_desc *desc) {
    return (dl_reduce_terms){.n_elements = desc->n_elements,
                             .reduction = (int32_t)desc->reduction,
                             .dtype = (int32_t)desc->dtype,
                             .in_blocks = desc->n_blocks > 0};
}

dl_status dl_reduce_terms_compare(const void *all, size_t stride_bytes, int n_ranks, const char *name) {
    const dl_reduce_terms *a = all;
    for (int rank = 1; rank < n_ranks; rank++) {
        const void *other = (const char *)all + (size_t)rank * stride_bytes;
        const dl_reduce_terms *b = other;
        DL_RETURN_ERROR_IF(
            memcmp(a, b, sizeof *a) != 0, DL_ERR_INTERNAL,
            "ranks disagree about all-reduce '%s': %lld elements of %s%s%s on rank 0, %lld of %s%s%s on rank %d",
            name, (long long)a->n_elements, dl_dtype_name((dl_dtype)a->dtype),
            a->reduction == (int32_t)DL_REDUCE_MAX ? " (max)" : "", a->in_blocks ? " in blocks" : "",
            (long long)b->n_elements, dl_dtype_name((dl_dtype)b->dtype),
            b->reduction == (int32_t)DL_REDUCE_MAX ? " (max)" : "", b->in_blocks ? " in blocks" : "", rank);
    }
    return DL_OK;
}

dl_status dl_reduce_agree(dl_comm *comm, const dl_reduce_desc *desc) {
    const dl_reduce_terms own = dl_reduce_terms_of(desc);
    dl_reduce_terms *all = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)comm->size, sizeof *all, &all));
    dl_status status = comm->functions->all_gather(comm, &own, sizeof own, all);
    if (status == DL_OK) {
        status = dl_reduce_terms_compare(all, sizeof *all, comm->size, desc->name);
    }
    dl_free(&all);
    return status;
}
