/* The hosts of a job, for people. */
#ifndef DLTRAIN_LAUNCHER_HOSTS_H
#define DLTRAIN_LAUNCHER_HOSTS_H

#include "launcher/bootstrap.h"

/* What the ranks tell of themselves. */
typedef struct dl_rank_place {
    char host[64];
    int n_threads;
} dl_rank_place;

/* "h1 (2 ranks), h2 (1 rank)" into out, hosts in the order of their first rank; names that do not fit are
 * counted: "h1 (2 ranks), h2 (2 ranks) and 62 more". */
void dl_hosts_print(const dl_rank_place *place, int n_ranks, char *out, size_t n_bytes);

/* Fills hosts, least_threads and most_threads of the runtime. Collective over its world. */
DL_NODISCARD dl_status dl_hosts_describe(dl_runtime *runtime);

#endif
