/* jansson reports a failed allocation as whatever it leads to: a syntax error, a missing value. A checkpoint
 * must not be called damaged for that, so allocations of this thread that fail are noticed here. */
#define _GNU_SOURCE
#include "train/checkpoint/checkpoint_private.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool failed;

static void *allocate(size_t n_bytes) {
    void *memory = malloc(n_bytes);
    failed = failed || memory == NULL;
    return memory;
}

/* The same allocator as before, so that objects made earlier can be freed by it. */
static void install(void) {
    json_set_alloc_funcs(allocate, free);
}

void dl_checkpoint_json_begin(void) {
    (void)pthread_once(&once, install);
    failed = false;
}

dl_status dl_checkpoint_json_end(dl_status status, const char *path) {
    DL_RETURN_ERROR_IF(failed && status != DL_ERR_MEMORY, DL_ERR_MEMORY,
                       "cannot read or write %s: out of memory", path);
    return status;
}
