/* Which rank takes which GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "launcher/gpu_choice.h"

#include <stdio.h>
#include <string.h>

enum { MAX_RANKS = 16 };

/* A rank on `host` whose cores are of `node`, which sees GPUs first .. first + n; GPU g is of node g / 4. */
static dl_rank_gpus sees(const char *host, int node, int first, int n) {
    dl_rank_gpus rank = {.node = node, .n = n};
    (void)snprintf(rank.host, sizeof rank.host, "%s", host);
    for (int g = 0; g < n; g++) {
        (void)snprintf(rank.pci[g], sizeof rank.pci[g], "0000:%02x:00.0", first + g);
        rank.gpu_node[g] = (first + g) / 4;
    }
    return rank;
}

static void expect(const dl_rank_gpus *all, int n_ranks, const int *gpu, const int *sharing) {
    for (int rank = 0; rank < n_ranks; rank++) {
        int n_sharing = -1;
        assert_int_equal(dl_gpu_assign(all, n_ranks, rank, &n_sharing), gpu[rank]);
        assert_int_equal(n_sharing, sharing[rank]);
    }
}

/* Eight ranks, bound to two sockets, eight GPUs: one each, each on its own socket. */
static void near_gpus_are_taken(void **state) {
    (void)state;
    dl_rank_gpus all[8];
    for (int r = 0; r < 8; r++) {
        all[r] = sees("a", r % 2, 0, 8); /* the launcher deals ranks out to the sockets in turns */
    }
    expect(all, 8, (const int[]){0, 4, 1, 5, 2, 6, 3, 7}, (const int[]){1, 1, 1, 1, 1, 1, 1, 1});
}

/* All ranks on one socket still take different GPUs. */
static void far_gpus_are_better_than_shared_ones(void **state) {
    (void)state;
    dl_rank_gpus all[6];
    for (int r = 0; r < 6; r++) {
        all[r] = sees("a", 1, 0, 8);
    }
    expect(all, 6, (const int[]){4, 5, 6, 7, 0, 1}, (const int[]){1, 1, 1, 1, 1, 1});
}

static void more_ranks_than_gpus_share(void **state) {
    (void)state;
    dl_rank_gpus all[5];
    for (int r = 0; r < 5; r++) {
        all[r] = sees("a", -1, 0, 2);
    }
    expect(all, 5, (const int[]){0, 1, 0, 1, 0}, (const int[]){3, 2, 3, 2, 3});
}

/* A launcher that shows each rank one GPU: all call it 0, and nobody shares. Two that see the same one do. */
static void gpus_are_told_apart_by_their_address(void **state) {
    (void)state;
    const dl_rank_gpus apart[] = {sees("a", 0, 0, 1), sees("a", 0, 1, 1), sees("a", 1, 4, 1)};
    expect(apart, 3, (const int[]){0, 0, 0}, (const int[]){1, 1, 1});
    const dl_rank_gpus same[] = {sees("a", 0, 3, 1), sees("a", 0, 2, 2)};
    expect(same, 2, (const int[]){0, 0}, (const int[]){1, 1});
    const dl_rank_gpus only[] = {sees("a", 0, 3, 1), sees("a", 0, 3, 1)};
    expect(only, 2, (const int[]){0, 0}, (const int[]){2, 2});
}

/* Hosts do not count for each other; a rank without GPUs takes none. */
static void hosts_are_apart(void **state) {
    (void)state;
    const dl_rank_gpus all[] = {sees("a", -1, 0, 2), sees("b", -1, 0, 2), sees("a", -1, 0, 2),
                                sees("b", -1, 0, 0)};
    expect(all, 4, (const int[]){0, 0, 1, -1}, (const int[]){1, 1, 1, 0});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_gpus_are_taken),
        cmocka_unit_test(far_gpus_are_better_than_shared_ones),
        cmocka_unit_test(more_ranks_than_gpus_share),
        cmocka_unit_test(gpus_are_told_apart_by_their_address),
        cmocka_unit_test(hosts_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
