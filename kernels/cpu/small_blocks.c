/* oneDNN makes and frees a handful of small C++ objects in every execution. A step shall not go to the heap,
 * so the program gives C++ its operator new and delete: small blocks come from free lists, which after the
 * first steps are never empty. Large ones go to malloc as before.
 *
 * The symbols are the Itanium C++ ABI's names; every block carries its size class in front of it. */
#include "kernels/cpu/small_blocks.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED

bool dl_small_blocks_in_use(void) {
    return false; /* sanitizers bring their own operators */
}

void dl_small_blocks_top_up(void) {
}

#else

enum { CLASS_BYTES = 64, N_CLASSES = 16, HEADER_BYTES = 16, BLOCKS_AT_ONCE = 32 };
enum { BLOCKS_IN_FLIGHT = 16 }; /* more than threads hold of one class amid their executions */

/* In front of the caller's bytes; as large as malloc's alignment, so that those keep it. */
typedef struct block {
    size_t size_class; /* N_CLASSES: from malloc */
    struct block *next;
} block;
_Static_assert(sizeof(block) == HEADER_BYTES, "the header keeps the alignment of 16");

static block *free_blocks[N_CLASSES];
static int n_free[N_CLASSES];
static pthread_mutex_t free_blocks_lock = PTHREAD_MUTEX_INITIALIZER;

void *_Znwm(size_t n_bytes);
void *_Znam(size_t n_bytes);
void *_ZnwmRKSt9nothrow_t(size_t n_bytes, const void *nothrow);
void *_ZnamRKSt9nothrow_t(size_t n_bytes, const void *nothrow);
void _ZdlPv(void *memory);
void _ZdaPv(void *memory);
void _ZdlPvm(void *memory, size_t n_bytes);
void _ZdaPvm(void *memory, size_t n_bytes);
void _ZdlPvRKSt9nothrow_t(void *memory, const void *nothrow);
void _ZdaPvRKSt9nothrow_t(void *memory, const void *nothrow);

static void refill(size_t size_class) {
    const size_t n_bytes = (size_class + 1) * CLASS_BYTES + HEADER_BYTES;
    char *memory = malloc(BLOCKS_AT_ONCE * n_bytes); /* kept until the process ends */
    for (int i = 0; memory != NULL && i < BLOCKS_AT_ONCE; i++) {
        block *fresh = (block *)(void *)(memory + (size_t)i * n_bytes);
        *fresh = (block){.size_class = size_class, .next = free_blocks[size_class]};
        free_blocks[size_class] = fresh;
        n_free[size_class]++;
    }
}

void dl_small_blocks_top_up(void) {
    (void)pthread_mutex_lock(&free_blocks_lock);
    for (size_t size_class = 0; size_class < N_CLASSES; size_class++) {
        if (n_free[size_class] < BLOCKS_IN_FLIGHT) {
            refill(size_class);
        }
    }
    (void)pthread_mutex_unlock(&free_blocks_lock);
}

static block *take_small(size_t size_class) {
    (void)pthread_mutex_lock(&free_blocks_lock);
    if (free_blocks[size_class] == NULL) {
        refill(size_class);
    }
    block *found = free_blocks[size_class];
    if (found != NULL) {
        free_blocks[size_class] = found->next;
        n_free[size_class]--;
    }
    (void)pthread_mutex_unlock(&free_blocks_lock);
    return found;
}

static block *take_large(size_t n_bytes) {
    block *found = n_bytes <= SIZE_MAX - HEADER_BYTES ? malloc(n_bytes + HEADER_BYTES) : NULL;
    if (found != NULL) {
        found->size_class = N_CLASSES;
    }
    return found;
}

static void *take(size_t n_bytes) {
    const size_t size_class = n_bytes == 0 ? 0 : (n_bytes - 1) / CLASS_BYTES;
    block *found = size_class < N_CLASSES ? take_small(size_class) : take_large(n_bytes);
    return found != NULL ? found + 1 : NULL;
}

static void give(void *memory) {
    if (memory == NULL) {
        return;
    }
    block *returned = (block *)memory - 1;
    if (returned->size_class == N_CLASSES) {
        free(returned);
        return;
    }
    (void)pthread_mutex_lock(&free_blocks_lock);
    returned->next = free_blocks[returned->size_class];
    free_blocks[returned->size_class] = returned;
    n_free[returned->size_class]++;
    (void)pthread_mutex_unlock(&free_blocks_lock);
}

/* C cannot throw std::bad_alloc; where C++ asks for an object and there is no memory, the process cannot go
 * on. */
static void *take_or_trap(size_t n_bytes) {
    void *memory = take(n_bytes);
    if (memory == NULL) {
        __builtin_trap();
    }
    return memory;
}

void *_Znwm(size_t n_bytes) {
    return take_or_trap(n_bytes);
}

void *_Znam(size_t n_bytes) {
    return take_or_trap(n_bytes);
}

void *_ZnwmRKSt9nothrow_t(size_t n_bytes, const void *nothrow) {
    (void)nothrow;
    return take(n_bytes);
}

void *_ZnamRKSt9nothrow_t(size_t n_bytes, const void *nothrow) {
    (void)nothrow;
    return take(n_bytes);
}

void _ZdlPv(void *memory) {
    give(memory);
}

void _ZdaPv(void *memory) {
    give(memory);
}

void _ZdlPvm(void *memory, size_t n_bytes) {
    (void)n_bytes;
    give(memory);
}

void _ZdaPvm(void *memory, size_t n_bytes) {
    (void)n_bytes;
    give(memory);
}

void _ZdlPvRKSt9nothrow_t(void *memory, const void *nothrow) {
    (void)nothrow;
    give(memory);
}

void _ZdaPvRKSt9nothrow_t(void *memory, const void *nothrow) {
    (void)nothrow;
    give(memory);
}

bool dl_small_blocks_in_use(void) {
    return true;
}

#endif
