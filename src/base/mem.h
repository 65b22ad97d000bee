/* Checked host memory: zeroed allocations, growing arrays, pools that free everything at once. */
#ifndef DLTRAIN_BASE_MEM_H
#define DLTRAIN_BASE_MEM_H

#include "base/status.h"

#include <stdint.h>

enum { DL_CACHE_LINE = 64, DL_PAGE_BYTES = 4096 };

/* Allocates n * size zeroed bytes into *out (release with dl_free). DL_ERR_MEMORY names the size. n = 0 gives
 * a valid pointer. */
DL_NODISCARD dl_status dl_alloc(size_t n, size_t size, void *out);

/* Frees *pointer (NULL is fine) and sets it to NULL. `pointer` is the address of any object pointer. */
void dl_free(void *pointer);

/* Allocates whole zero pages by mmap: for tensors. Untouched pages cost nothing; large areas ask for huge
 * ones. */
DL_NODISCARD dl_status dl_pages_alloc(size_t n_bytes, void **out);
void dl_pages_free(void *pointer, size_t n_bytes);

/* Makes room for `need` elements of `size` bytes in the array *array of capacity *capacity (doubling). */
DL_NODISCARD dl_status dl_grow(void *array, int64_t *capacity, int64_t need, size_t size);

/* n * size, or DL_ERR_MEMORY when it does not fit a size_t. */
DL_NODISCARD dl_status dl_mul_size(size_t n, size_t size, size_t *out);

/* A pool owns many small objects that live equally long: a model, a program, a configuration. */
typedef struct dl_pool dl_pool;
DL_NODISCARD dl_status dl_pool_create(dl_pool **out);
void dl_pool_destroy(dl_pool **pool); /* frees all that was taken from it; sets *pool to NULL; NULL-safe */

/* n * size zeroed bytes, aligned to 16, owned by the pool. `out` is the address of any object pointer. */
DL_NODISCARD dl_status dl_pool_alloc(dl_pool *pool, size_t n, size_t size, void *out);

/* A copy of a string, owned by the pool. */
DL_NODISCARD dl_status dl_pool_strdup(dl_pool *pool, const char *text, char **out);
DL_NODISCARD dl_status dl_pool_printf(dl_pool *pool, char **out, const char *format, ...) DL_PRINTF(3, 4);

/* Rounds up to a multiple of `unit` (a power of two). */
static inline size_t dl_round_up(size_t n, size_t unit) {
    return (n + unit - 1) & ~(unit - 1);
}

#endif
