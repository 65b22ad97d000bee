/* Do the ranks mean the same all-reduce? For implementations. */
#ifndef DLTRAIN_COMM_DESCRIBE_H
#define DLTRAIN_COMM_DESCRIBE_H

#include "comm/comm.h"

/* What all ranks must have in common: no padding, it travels as bytes. */
typedef struct dl_reduce_terms {
    int64_t n_elements;
    int32_t reduction, dtype, in_blocks, zero;
} dl_reduce_terms;

dl_reduce_terms dl_reduce_terms_of(const dl_reduce_desc *desc);

/* DL_ERR_INTERNAL naming the first rank whose terms are not rank 0's. all[rank * stride_bytes]. */
DL_NODISCARD dl_status dl_reduce_terms_compare(const void *all, size_t stride_bytes, int n_ranks,
                                               const char *name);

/* Gathers and compares them. Collective. */
DL_NODISCARD dl_status dl_reduce_agree(dl_comm *comm, const dl_reduce_desc *desc);

#endif
