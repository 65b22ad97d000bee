/* Which cores this rank uses, and with how many threads. */
#ifndef DLTRAIN_LAUNCHER_BINDING_H
#define DLTRAIN_LAUNCHER_BINDING_H

#include "launcher/bootstrap.h"

enum { DL_MAX_CORES = 2048 };

/* A set of a node's cores by hwloc's number. */
typedef struct dl_core_set {
    uint64_t word[DL_MAX_CORES / 64];
} dl_core_set;

int dl_core_set_count(const dl_core_set *set);

/* What a rank decides from the cores that each of its node's n_ranks ranks may use (allowed[rank] is its
 * own). wanted_threads 0: not set by the user. */
typedef struct dl_binding {
    int n_threads;
    int n_usable;        /* cores that any of the node's ranks may use */
    bool oversubscribed; /* more threads of all ranks than n_usable */
    bool bind;           /* all share the same cores and they suffice: this rank takes `cores` of them */
    dl_core_set cores;
} dl_binding;

/* Threads: cores this rank may use / ranks that may use some of them too, at least 1. */
dl_binding dl_binding_decide(const dl_core_set *allowed, int n_ranks, int rank, int wanted_threads);

/* Cores that this process may use. DL_ERR_INTERNAL when the system does not tell. */
DL_NODISCARD dl_status dl_binding_count_cores(int *n);

/* Reads the machine, decides, binds this thread (and so those it makes later), says what is to be said. Fills
 * n_threads and oversubscribed of the runtime. Collective over its world. */
DL_NODISCARD dl_status dl_binding_apply(dl_runtime *runtime, int wanted_threads);

#endif
