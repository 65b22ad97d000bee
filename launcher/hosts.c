#include "launcher/hosts.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { MORE_BYTES = 32 }; /* " and 4294967296 more" */

/* How many ranks of place[from..] have the host of place[from]; 0 when an earlier rank has it too. */
static int ranks_of_new_host(const dl_rank_place *place, int n_ranks, int from) {
    int n = 0;
    for (int rank = 0; rank < n_ranks; rank++) {
        const bool same = strcmp(place[rank].host, place[from].host) == 0;
        if (same && rank < from) {
            return 0;
        }
        n += same;
    }
    return n;
}

void dl_hosts_print(const dl_rank_place *place, int n_ranks, char *out, size_t n_bytes) {
    size_t used = 0;
    int n_left_out = 0;
    out[0] = '\0';
    for (int rank = 0; rank < n_ranks; rank++) {
        const int n = ranks_of_new_host(place, n_ranks, rank);
        if (n == 0) {
            continue;
        }
        char one[128];
        const int length = snprintf(one, sizeof one, "%s%s (%d rank%s)", used > 0 ? ", " : "",
                                    place[rank].host, n, n == 1 ? "" : "s");
        if (n_left_out > 0 || used + (size_t)length + MORE_BYTES > n_bytes) {
            n_left_out++;
            continue;
        }
        memcpy(out + used, one, (size_t)length + 1);
        used += (size_t)length;
    }
    if (n_left_out > 0) {
        (void)snprintf(out + used, n_bytes - used, " and %d more", n_left_out);
    }
}

dl_status dl_hosts_describe(dl_runtime *runtime) {
    dl_comm *world = runtime->world;
    dl_rank_place mine, *all = NULL;
    memset(&mine, 0, sizeof mine); /* padding travels too */
    memcpy(mine.host, runtime->host, sizeof mine.host);
    mine.n_threads = runtime->n_threads;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)world->size, sizeof *all, &all));
    const dl_status status = world->functions->all_gather(world, &mine, sizeof mine, all);
    if (status == DL_OK) {
        if (world->rank == 0) { /* who speaks; it takes time in the square of the ranks */
            dl_hosts_print(all, world->size, runtime->hosts, sizeof runtime->hosts);
        }
        runtime->least_threads = runtime->most_threads = all[0].n_threads;
        for (int rank = 1; rank < world->size; rank++) {
            const int n = all[rank].n_threads;
            runtime->least_threads = n < runtime->least_threads ? n : runtime->least_threads;
            runtime->most_threads = n > runtime->most_threads ? n : runtime->most_threads;
        }
    }
    dl_free(&all);
    return status;
}
