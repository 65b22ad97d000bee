#define _GNU_SOURCE
/* All-reduce between ranks: every type and size, in windows and outside, blocks, several in flight, parts of
 * the world. Whole numbers, so that any order gives the same sum and each missed or doubled value shows. */
#include "base/rng.h"
#include "comm/grid.h"
#include "tests/mpi/check.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 12, IN_FLIGHT = 5, LARGE = (1 << 18) + 1 };

static dl_comm *world;

static double value(int rank, int round, int64_t i) {
    return (double)((rank + 1) * (1 + i % 7) + round * 3 + i % 1000);
}

static void set(dl_dtype dtype, void *at, int64_t i, double x) {
    if (dtype == DL_F32) {
        ((float *)at)[i] = (float)x;
    } else if (dtype == DL_F64) {
        ((double *)at)[i] = x;
    } else {
        ((int32_t *)at)[i] = (int32_t)x;
    }
}

static double get(dl_dtype dtype, const void *at, int64_t i) {
    return dtype == DL_F32   ? (double)((const float *)at)[i]
           : dtype == DL_F64 ? ((const double *)at)[i]
                             : (double)((const int32_t *)at)[i];
}

static double expected(const dl_comm *comm, dl_dtype dtype, const int *ranks, int round, int64_t i) {
    double result = 0;
    for (int r = 0; r < comm->size; r++) {
        const double x = value(ranks[r], round, i);
        result = dtype == DL_I32 ? (r == 0 || x > result ? x : result) : result + x;
    }
    return result;
}

/* Ranks arrive in another order in every round. */
static void dawdle(int round) {
    const struct timespec wait = {
        0, (long)dl_rng_below(3, DL_RNG_TEST, (uint64_t)world->rank, (uint64_t)round, 300000)};
    (void)nanosleep(&wait, NULL);
}

static void fill(const dl_reduce_desc *desc, int round) {
    for (int64_t i = 0; i < desc->n_elements; i++) {
        set(desc->dtype, desc->buffer, i, value(world->rank, round, i));
    }
}

static void check_result(const dl_comm *comm, const dl_reduce_desc *desc, const int *ranks, int round) {
    for (int64_t i = 0; i < desc->n_elements; i++) {
        CHECK(get(desc->dtype, desc->buffer, i) == expected(comm, desc->dtype, ranks, round, i));
    }
}

static const int all_ranks[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void *buffer_of(dl_comm *comm, size_t n_bytes, bool shared) {
    void *memory = NULL;
    if (shared) {
        CHECK_OK(comm->functions->memory_create(comm, n_bytes, &memory));
        CHECK((size_t)memory % 4096 == 0);
        for (size_t i = 0; i < n_bytes; i += 511) {
            CHECK(((char *)memory)[i] == 0);
        }
    } else {
        memory = malloc(n_bytes + 1);
        CHECK(memory != NULL);
    }
    return memory;
}

static void free_buffer(dl_comm *comm, void *memory, bool shared) {
    if (shared) {
        comm->functions->memory_destroy(comm, memory);
    } else {
        free(memory);
    }
}

static void one(dl_comm *comm, dl_dtype dtype, int64_t n, bool shared, const int *ranks) {
    dl_reduce_desc desc = {.reduction = dtype == DL_I32 ? DL_REDUCE_MAX : DL_REDUCE_SUM,
                           .dtype = dtype,
                           .n_elements = n,
                           .name = "one"};
    desc.buffer = buffer_of(comm, (size_t)n * dl_dtype_bytes(dtype), shared);
    dl_collective *collective = NULL;
    CHECK_OK(comm->functions->all_reduce_prepare(comm, &desc, &collective));
    for (int round = 0; round < ROUNDS; round++) {
        fill(&desc, round);
        dawdle(round);
        CHECK_OK(comm->functions->start(collective, NULL));
        CHECK_OK(comm->functions->wait(collective));
        check_result(comm, &desc, ranks, round);
    }
    comm->functions->collective_destroy(collective);
    free_buffer(comm, desc.buffer, shared);
}

static void every_type_and_size(dl_comm *comm, const int *ranks) {
    static const dl_dtype dtypes[] = {DL_F32, DL_F64, DL_I32};
    static const int64_t sizes[] = {0, 1, 8, 512, 1023, LARGE};
    for (int d = 0; d < 3; d++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            one(comm, dtypes[d], sizes[s], true, ranks);
            one(comm, dtypes[d], sizes[s], false, ranks);
        }
    }
}

/* Three buckets in one arena, totals and control word outside, all started before the first wait. */
static void in_flight(void) {
    static const int64_t size[IN_FLIGHT] = {LARGE, 77, 4096, 8, 8};
    static const dl_dtype dtype[IN_FLIGHT] = {DL_F32, DL_F32, DL_F32, DL_F64, DL_I32};
    double totals[8];
    int32_t control[8];
    float *arena = buffer_of(world, (LARGE + 77 + 4096) * sizeof(float), true);
    void *buffer[IN_FLIGHT] = {arena, arena + LARGE, arena + LARGE + 77, totals, control};
    dl_reduce_desc desc[IN_FLIGHT];
    dl_collective *collective[IN_FLIGHT];
    for (int c = 0; c < IN_FLIGHT; c++) {
        desc[c] = (dl_reduce_desc){
            .dtype = dtype[c], .n_elements = size[c], .buffer = buffer[c], .name = "in flight"};
        desc[c].reduction = dtype[c] == DL_I32 ? DL_REDUCE_MAX : DL_REDUCE_SUM;
        CHECK_OK(world->functions->all_reduce_prepare(world, &desc[c], &collective[c]));
    }
    for (int round = 0; round < 3 * ROUNDS; round++) {
        for (int c = 0; c < IN_FLIGHT; c++) {
            fill(&desc[c], round + c);
            CHECK_OK(world->functions->start(collective[c], NULL));
        }
        dawdle(round);
        for (int c = 0; c < IN_FLIGHT; c++) {
            CHECK_OK(world->functions->wait(collective[c]));
            check_result(world, &desc[c], all_ranks, round + c);
        }
    }
    for (int c = 0; c < IN_FLIGHT; c++) {
        world->functions->collective_destroy(collective[c]);
    }
    world->functions->memory_destroy(world, arena);
}

static float piece_value(int64_t piece, int round, int64_t i) {
    return (float)dl_rng_normal((uint64_t)round, DL_RNG_TEST, (uint64_t)piece, (uint64_t)i);
}

static float tree_value(dl_range node, int round, int64_t i) {
    if (node.end - node.begin == 1) {
        return piece_value(node.begin, round, i);
    }
    const int64_t middle = (node.begin + node.end) / 2;
    return tree_value((dl_range){node.begin, middle}, round, i) +
           tree_value((dl_range){middle, node.end}, round, i);
}

/* Blocks of random numbers give the bits of the one tree, however many ranks there are. */
static void blocks(int64_t n, bool shared) {
    if (!dl_pieces_fit(world->size, 1)) {
        return;
    }
    dl_reduce_desc desc = {.dtype = DL_F32, .n_elements = n, .name = "blocks"};
    desc.n_blocks = dl_aligned_blocks(dl_share_pieces(world->size, world->rank, 1, 0), desc.block_pieces);
    float *memory = buffer_of(world, (size_t)n * DL_MAX_BLOCKS * sizeof(float), shared);
    for (int b = 0; b < desc.n_blocks; b++) {
        desc.block[b] = memory + b * n;
    }
    desc.buffer = memory;
    dl_collective *collective = NULL;
    CHECK_OK(world->functions->all_reduce_prepare(world, &desc, &collective));
    for (int round = 0; round < 3; round++) {
        for (int b = 0; b < desc.n_blocks; b++) {
            for (int64_t i = 0; i < n; i++) {
                memory[b * n + i] = tree_value(desc.block_pieces[b], round, i);
            }
        }
        CHECK_OK(world->functions->start(collective, NULL));
        CHECK_OK(world->functions->wait(collective));
        for (int64_t i = 0; i < n; i++) {
            CHECK(memory[i] == tree_value((dl_range){0, DL_PIECES}, round, i));
        }
    }
    world->functions->collective_destroy(collective);
    free_buffer(world, memory, shared);
}

/* Two halves of the world side by side, each with its own windows. */
static void axes(void) {
    if (world->size % 2 != 0) {
        return;
    }
    const int sizes[DL_N_AXES] = {0, 2, 1};
    dl_grid *grid = NULL;
    CHECK_OK(dl_grid_create(world, sizes, &grid));
    const dl_axis *data = &grid->axis[DL_AXIS_DATA], *tensor = &grid->axis[DL_AXIS_TENSOR];
    CHECK(data->size == world->size / 2 && data->index == world->rank / 2 && data->comm->rank == data->index);
    CHECK(tensor->size == 2 && tensor->index == world->rank % 2 && tensor->comm->rank == tensor->index);
    int ranks[16] = {0};
    CHECK_OK(data->comm->functions->all_gather(data->comm, &world->rank, sizeof(int), ranks));
    one(data->comm, DL_F32, 5000, true, ranks);
    one(data->comm, DL_F64, 3, false, ranks);
    const int neighbours[2] = {world->rank / 2 * 2, world->rank / 2 * 2 + 1};
    one(tensor->comm, DL_F32, 5000, true, neighbours);
    dl_grid_destroy(&grid);
    const int wrong[DL_N_AXES] = {world->size + 1, 1, 1};
    CHECK(dl_grid_create(world, wrong, &grid) == DL_ERR_USAGE);
}

static void control_plane(void) {
    enum { N = 3000017 };
    char *bytes = malloc(N);
    CHECK(bytes != NULL);
    for (int root = 0; root < world->size; root++) {
        memset(bytes, world->rank, N);
        CHECK_OK(world->functions->broadcast(world, bytes, N, root));
        CHECK(bytes[0] == root && bytes[N - 1] == root);
    }
    int64_t mine[3] = {world->rank, 7, world->rank * 100}, all[3 * 16] = {0};
    CHECK_OK(world->functions->all_gather(world, mine, sizeof mine, all));
    for (int rank = 0; rank < world->size; rank++) {
        CHECK(all[3 * rank] == rank && all[3 * rank + 1] == 7 && all[3 * rank + 2] == rank * 100);
    }
    CHECK_OK(world->functions->barrier(world));
    free(bytes);
}

static void disagreement(void) {
    float buffer[16] = {0};
    const dl_reduce_desc desc = {
        .dtype = DL_F32, .n_elements = world->rank == 0 ? 4 : 5, .buffer = buffer, .name = "x"};
    dl_collective *collective = NULL;
    const int before = world->reduce_calls;
    const dl_status status = world->functions->all_reduce_prepare(world, &desc, &collective);
    CHECK(status == (world->size == 1 ? DL_OK : DL_ERR_INTERNAL));
    CHECK(world->reduce_calls == before + (world->size == 1));
    world->functions->collective_destroy(collective);
}

int main(void) {
    if (dl_comm_mpi_create(&world) != DL_OK) {
        return 1;
    }
    check_world = world;
    dl_log_set_rank(world->rank, world->size);
    CHECK(dl_comm_mpi_launched() && dl_comm_mpi_launched_rank() == world->rank);
    CHECK(dl_comm_mpi_launched_size() == world->size);
    control_plane();
    every_type_and_size(world, all_ranks);
    in_flight();
    blocks(70001, true);
    blocks(100, false);
    blocks(70001, false);
    axes();
    disagreement();
    dl_comm_destroy(&world);
    dl_comm_mpi_finish();
    return 0;
}
