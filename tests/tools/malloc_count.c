/* Preloaded (LD_PRELOAD) into a program: counts its calls of malloc, calloc, realloc and their aligned
 * relatives, and writes the counts to the file named by MALLOC_COUNT_FILE when the program ends. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* The allocator of the GNU C library, under the names that it exports for this purpose. */
void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *memory, size_t n_bytes);
void *__libc_memalign(size_t alignment, size_t n_bytes);

void *memalign(size_t alignment, size_t n_bytes);

static atomic_long n_malloc, n_calloc, n_realloc, n_aligned;

void *malloc(size_t n_bytes) {
    atomic_fetch_add(&n_malloc, 1);
    return __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t n_bytes) {
    atomic_fetch_add(&n_calloc, 1);
    return __libc_calloc(n, n_bytes);
}

void *realloc(void *memory, size_t n_bytes) {
    atomic_fetch_add(&n_realloc, 1);
    return __libc_realloc(memory, n_bytes);
}

void *memalign(size_t alignment, size_t n_bytes) {
    atomic_fetch_add(&n_aligned, 1);
    return __libc_memalign(alignment, n_bytes);
}

void *aligned_alloc(size_t alignment, size_t n_bytes) {
    return memalign(alignment, n_bytes);
}

int posix_memalign(void **out, size_t alignment, size_t n_bytes) {
    *out = memalign(alignment, n_bytes);
    return *out ? 0 : ENOMEM;
}

__attribute__((destructor)) static void write_counts(void) {
    const long counts[] = {n_malloc, n_calloc, n_realloc, n_aligned};
    const char *name = getenv("MALLOC_COUNT_FILE");
    FILE *file = name ? fopen(name, "w") : NULL;
    if (file) {
        fprintf(file, "malloc %ld\ncalloc %ld\nrealloc %ld\naligned %ld\n", counts[0], counts[1], counts[2],
                counts[3]);
        fclose(file);
    }
}
