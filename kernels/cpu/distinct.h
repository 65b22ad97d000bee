/* The distinct tokens of a batch, and where each of them stands. */
#ifndef DLTRAIN_KERNELS_CPU_DISTINCT_H
#define DLTRAIN_KERNELS_CPU_DISTINCT_H

#include <stddef.h>
#include <stdint.h>

/* Row r is token[r], in ascending order; positions that hold no token of the vocabulary share one more row,
 * the last, of token -1. Its positions, ascending, are place[first[r]] .. place[first[r + 1] - 1]. */
typedef struct dl_distinct {
    int64_t n;       /* rows */
    int64_t n_known; /* without that of token -1 */
    int32_t *token;  /* [n] */
    int32_t *first;  /* [n + 1] */
    int32_t *place;  /* [positions] */
} dl_distinct;

/* Rows at most. */
int64_t dl_distinct_most(int64_t n_positions, int64_t vocabulary);

/* Bytes of workspace for so many positions (below 2^31). */
size_t dl_distinct_bytes(int64_t n_positions, int64_t vocabulary);

/* Finds them. The workspace, of those bytes and aligned to 8, belongs to the result. */
dl_distinct dl_distinct_find(const int32_t *x, int64_t n_positions, int64_t vocabulary, void *workspace);

#endif
