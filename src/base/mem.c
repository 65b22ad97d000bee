#define _GNU_SOURCE
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { POOL_BLOCK_BYTES = 16384, POOL_ALIGN = 16, HUGE_PAGE_BYTES = 2 << 20 };

typedef struct pool_block {
    struct pool_block *next;
    size_t used, size;
} pool_block;

struct dl_pool {
    pool_block *first; /* the block being filled; full and large ones follow */
};

dl_status dl_mul_size(size_t n, size_t size, size_t *out) {
    DL_RETURN_ERROR_IF(__builtin_mul_overflow(n, size, out), DL_ERR_MEMORY,
                       "%zu elements of %zu bytes: too large", n, size);
    return DL_OK;
}

dl_status dl_alloc(size_t n, size_t size, void *out) {
    size_t n_bytes = 0;
    DL_RETURN_IF_ERROR(dl_mul_size(n, size, &n_bytes));
    void *memory = calloc(n_bytes > 0 ? n_bytes : 1, 1);
    DL_RETURN_ERROR_IF(memory == NULL, DL_ERR_MEMORY, "cannot allocate %zu bytes", n_bytes);
    memcpy(out, &memory, sizeof memory);
    return DL_OK;
}

void dl_free(void *pointer) {
    void *memory = NULL;
    memcpy(&memory, pointer, sizeof memory);
    free(memory);
    memory = NULL;
    memcpy(pointer, &memory, sizeof memory);
}

dl_status dl_pages_alloc(size_t n_bytes, void **out) {
    const size_t size = dl_round_up(n_bytes > 0 ? n_bytes : 1, DL_PAGE_BYTES);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    DL_RETURN_ERROR_IF(memory == MAP_FAILED, DL_ERR_MEMORY, "cannot map %zu bytes of memory", size);
    if (size >= HUGE_PAGE_BYTES) {
        (void)madvise(memory, size, MADV_HUGEPAGE); /* a wish; without it all works, a little slower */
    }
    *out = memory;
    return DL_OK;
}

void dl_pages_free(void *pointer, size_t n_bytes) {
    if (pointer != NULL) {
        (void)munmap(pointer, dl_round_up(n_bytes > 0 ? n_bytes : 1, DL_PAGE_BYTES));
    }
}

dl_status dl_grow(void *array, int64_t *capacity, int64_t need, size_t size) {
    if (need <= *capacity) {
        return DL_OK;
    }
    int64_t wanted = *capacity > 0 ? *capacity : 16;
    while (wanted < need) {
        wanted *= 2;
    }
    size_t n_bytes = 0;
    DL_RETURN_IF_ERROR(dl_mul_size((size_t)wanted, size, &n_bytes));
    void *memory = NULL;
    memcpy(&memory, array, sizeof memory);
    void *grown = realloc(memory, n_bytes);
    DL_RETURN_ERROR_IF(grown == NULL, DL_ERR_MEMORY, "cannot grow an array to %zu bytes", n_bytes);
    memset((char *)grown + (size_t)*capacity * size, 0, n_bytes - (size_t)*capacity * size);
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return DL_OK;
}

dl_status dl_pool_create(dl_pool **out) {
    return dl_alloc(1, sizeof(dl_pool), out);
}

void dl_pool_destroy(dl_pool **pool) {
    if (*pool == NULL) {
        return;
    }
    for (pool_block *block = (*pool)->first; block != NULL;) {
        pool_block *next = block->next;
        free(block);
        block = next;
    }
    dl_free(pool);
}

/* A block with room for n_bytes: the first one, or a new one. Large requests get a block of their own, placed
 * second so that the first keeps being filled. */
static dl_status block_with_room(dl_pool *pool, size_t n_bytes, pool_block **out) {
    pool_block *first = pool->first;
    if (first != NULL && first->size - first->used >= n_bytes) {
        *out = first;
        return DL_OK;
    }
    const size_t header = dl_round_up(sizeof(pool_block), POOL_ALIGN);
    const bool large = n_bytes > POOL_BLOCK_BYTES / 4;
    const size_t size = header + (large ? n_bytes : POOL_BLOCK_BYTES);
    pool_block *block = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(size, 1, &block));
    block->used = header;
    block->size = size;
    if (large && first != NULL) {
        block->next = first->next;
        first->next = block;
    } else {
        block->next = first;
        pool->first = block;
    }
    *out = block;
    return DL_OK;
}

dl_status dl_pool_alloc(dl_pool *pool, size_t n, size_t size, void *out) {
    size_t n_bytes = 0;
    DL_RETURN_IF_ERROR(dl_mul_size(n, size, &n_bytes));
    n_bytes = dl_round_up(n_bytes > 0 ? n_bytes : 1, POOL_ALIGN);
    pool_block *block = NULL;
    DL_RETURN_IF_ERROR(block_with_room(pool, n_bytes, &block));
    void *memory = (char *)block + block->used;
    block->used += n_bytes;
    memcpy(out, &memory, sizeof memory);
    return DL_OK;
}

dl_status dl_pool_strdup(dl_pool *pool, const char *text, char **out) {
    const size_t n = strlen(text) + 1;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, n, 1, out));
    memcpy(*out, text, n);
    return DL_OK;
}

dl_status dl_pool_printf(dl_pool *pool, char **out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    DL_RETURN_ERROR_IF(n < 0, DL_ERR_INTERNAL, "bad format '%s'", format);
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, (size_t)n + 1, 1, out));
    va_start(args, format);
    (void)vsnprintf(*out, (size_t)n + 1, format, args);
    va_end(args);
    return DL_OK;
}
