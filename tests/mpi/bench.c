/* How long an all-reduce takes: in windows, beside MPI_Allreduce (the same call with
 * DLTRAIN_NO_SHARED_WINDOW=1), and a control word. mpi_bench [MEGABYTES]; not a test. */
#include "base/clock.h"
#include "tests/mpi/check.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 15 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of ROUNDS; *best is the least. */
static double median_ms(dl_comm *world, dl_collective *collective, int n_inner, double *best) {
    double seconds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        CHECK_OK(world->functions->barrier(world));
        const double start = dl_clock_seconds();
        for (int i = 0; i < n_inner; i++) {
            CHECK_OK(world->functions->start(collective, NULL));
            CHECK_OK(world->functions->wait(collective));
        }
        seconds[round] = (dl_clock_seconds() - start) / n_inner;
    }
    qsort(seconds, ROUNDS, sizeof seconds[0], by_value);
    *best = 1000 * seconds[0];
    return 1000 * seconds[ROUNDS / 2];
}

int main(int argc, char **argv) {
    dl_comm *world = NULL;
    if (dl_comm_mpi_create(&world) != DL_OK) {
        return 1;
    }
    check_world = world;
    dl_log_set_rank(world->rank, world->size);
    const int64_t n = (int64_t)((argc > 1 ? atof(argv[1]) : 79) * 1e6 / 4);
    void *arena = NULL;
    CHECK_OK(world->functions->memory_create(world, (size_t)n * 4, &arena));
    memset(arena, 0, (size_t)n * 4);
    int32_t control[8] = {0};
    const dl_reduce_desc bucket = {.dtype = DL_F32, .n_elements = n, .buffer = arena, .name = "bucket"};
    const dl_reduce_desc word = {
        .reduction = DL_REDUCE_MAX, .dtype = DL_I32, .n_elements = 8, .buffer = control, .name = "control"};
    dl_collective *large = NULL, *small = NULL;
    CHECK_OK(world->functions->all_reduce_prepare(world, &bucket, &large));
    CHECK_OK(world->functions->all_reduce_prepare(world, &word, &small));
    double best_large = 0, best_small = 0;
    const double large_ms = median_ms(world, large, 1, &best_large);
    const double small_ms = median_ms(world, small, 200, &best_small);
    if (world->rank == 0) {
        printf("%d ranks: %.0f MB %.2f ms (best %.2f); control word %.2f us (best %.2f)\n", world->size,
               (double)n * 4e-6, large_ms, best_large, 1000 * small_ms, 1000 * best_small);
    }
    world->functions->collective_destroy(large);
    world->functions->collective_destroy(small);
    world->functions->memory_destroy(world, arena);
    dl_comm_destroy(&world);
    dl_comm_mpi_finish();
    return 0;
}
