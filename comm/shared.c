#define _GNU_SOURCE
#include "comm/shared.h"

#include <sched.h>
#include <string.h>
#include <time.h>

/* Waiting costs others nothing for long: first spin (the peer is about to arrive), then yield (there may be
 * more ranks than cores), then sleep. One wait has one patience, whatever the number of flags it looks at. */
enum { SPINS = 60, YIELDS = 4000, YIELDS_PER_PROGRESS = 16, FIRST_SLEEP_NS = 10000, LAST_SLEEP_NS = 100000 };

static void pause_processor(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static dl_status call_progress(const dl_shared_reduce *reduce) {
    return reduce->progress != NULL ? reduce->progress(reduce->progress_context) : DL_OK;
}

/* Passes the time before the flags are looked at again; *patience counts how often it was called in this
 * wait. */
static dl_status pass_time(const dl_shared_reduce *reduce, int *patience) {
    const int n = (*patience)++;
    if (n < SPINS) {
        pause_processor();
    } else if (n < SPINS + YIELDS) {
        if (n % YIELDS_PER_PROGRESS == YIELDS_PER_PROGRESS - 1) {
            DL_RETURN_IF_ERROR(call_progress(reduce));
        }
        (void)sched_yield();
    } else {
        const int doublings = n - SPINS - YIELDS < 4 ? n - SPINS - YIELDS : 4;
        const long nanoseconds = (long)FIRST_SLEEP_NS << doublings;
        const struct timespec sleep = {0, nanoseconds < LAST_SLEEP_NS ? nanoseconds : LAST_SLEEP_NS};
        DL_RETURN_IF_ERROR(call_progress(reduce));
        (void)nanosleep(&sleep, NULL);
        *patience = n < SPINS + YIELDS + 4 ? *patience : n; /* never wraps */
    }
    return DL_OK;
}

static dl_status wait_for_full(const dl_shared_reduce *reduce) {
    int patience = 0;
    for (int rank = 0; rank < reduce->size; rank++) {
        while (atomic_load_explicit(&reduce->flags[rank]->full, memory_order_acquire) < reduce->round) {
            DL_RETURN_IF_ERROR(pass_time(reduce, &patience));
        }
    }
    return DL_OK;
}

static dl_status wait_for_done(const dl_shared_reduce *reduce) {
    int patience = 0;
    for (int rank = 0; rank < reduce->size; rank++) {
        while (atomic_load_explicit(&reduce->flags[rank]->done, memory_order_acquire) < reduce->round) {
            DL_RETURN_IF_ERROR(pass_time(reduce, &patience));
        }
    }
    return DL_OK;
}

dl_range dl_shared_slice(const dl_shared_reduce *reduce, int rank) {
    if (rank >= reduce->n_slices) {
        return (dl_range){0, 0};
    }
    const int64_t per_line = 64 / (int64_t)dl_dtype_bytes(reduce->dtype);
    const int64_t lines = (reduce->n_elements + per_line - 1) / per_line;
    dl_range slice = dl_range_part(lines, reduce->n_slices, rank);
    slice.begin *= per_line;
    slice.end = slice.end * per_line < reduce->n_elements ? slice.end * per_line : reduce->n_elements;
    return slice;
}

static char *my_bank(const dl_shared_reduce *reduce) {
    return reduce->bank + (reduce->round & 1) * reduce->bank_bytes;
}

void dl_shared_start(dl_shared_reduce *reduce) {
    reduce->round++;
    if (reduce->bank_bytes > 0) {
        const size_t n_bytes = (size_t)reduce->n_elements * dl_dtype_bytes(reduce->dtype);
        for (int i = 0; i < reduce->n_own; i++) {
            memcpy(my_bank(reduce) + (size_t)i * n_bytes, reduce->own[i], n_bytes);
        }
    }
    atomic_store_explicit(&reduce->flags[reduce->rank]->full, reduce->round, memory_order_release);
}

static void sum_banks(const dl_shared_reduce *reduce) {
    const void **leaf = reduce->leaf + (reduce->round & 1) * (uint64_t)reduce->plan.n_leaves;
    dl_sum_run(&reduce->plan, reduce->reduction, reduce->dtype, leaf, (dl_range){0, reduce->n_elements},
               &reduce->out[reduce->rank], 1);
}

dl_status dl_shared_wait(dl_shared_reduce *reduce, dl_status (*between)(void *context, dl_range slice),
                         void *context) {
    DL_RETURN_IF_ERROR(wait_for_full(reduce));
    if (reduce->bank_bytes > 0) {
        sum_banks(reduce);
        return DL_OK;
    }
    const dl_range slice = dl_shared_slice(reduce, reduce->rank);
    if (between == NULL) {
        dl_sum_run(&reduce->plan, reduce->reduction, reduce->dtype, reduce->leaf, slice, reduce->out,
                   reduce->size);
    } else if (slice.begin < slice.end) {
        dl_sum_run(&reduce->plan, reduce->reduction, reduce->dtype, reduce->leaf, slice,
                   &reduce->out[reduce->rank], 1);
        DL_RETURN_IF_ERROR(between(context, slice));
        const size_t at = (size_t)slice.begin * dl_dtype_bytes(reduce->dtype);
        const size_t n_bytes = (size_t)(slice.end - slice.begin) * dl_dtype_bytes(reduce->dtype);
        for (int rank = 0; rank < reduce->size; rank++) {
            if (rank != reduce->rank) {
                memcpy((char *)reduce->out[rank] + at, (char *)reduce->out[reduce->rank] + at, n_bytes);
            }
        }
    }
    atomic_store_explicit(&reduce->flags[reduce->rank]->done, reduce->round, memory_order_release);
    return wait_for_done(reduce);
}
