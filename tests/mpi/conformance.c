#define _GNU_SOURCE
/* Is a communicator right? The same suite for each of them, its name being the argument:
 *
 *   mpi_conformance self|mpi|alone|staged [--large]   alone, staged: on a device without a GPU
 * (test_device.h) mpi_conformance_cuda alone|staged|nccl [--large]        on the GPU number (rank on this
 * host) mpi_conformance_fake nccl                         NCCL's part played by fake_nccl.c
 *   ... NAME dies VICTIM                              that rank is killed within; the others tell
 *
 * Whole numbers show each missed, doubled or late value in sums of any order; numbers of all sizes show the
 * order. On a device nothing here waits for it but place_settle(): copies before start() and after wait() are
 * in the stream. */
#include "comm/grid.h"
#include "comm/narrow.h"
#include "tests/mpi/check.h"
#include "tests/mpi/place.h"

#include "base/rng.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RANKS = 16, ROUNDS = 5, N_FLIGHT = 5 };
static const size_t mebibyte = (size_t)1 << 20;
static place at; /* where the buffers are */

static double value(dl_dtype dtype, int rank, int round, int64_t i) {
    if (dl_is_narrow(dtype)) { /* whole numbers to 256 */
        return (double)(rank + 1 + i % 13 + round % 3);
    }
    return (double)((rank + 1) * (1 + i % 7) + round * 3 + i % 1000);
}

static void set(dl_dtype dtype, void *array, int64_t i, double x) {
    const float wide = (float)x;
    switch (dtype) {
    case DL_F32:
        ((float *)array)[i] = wide;
        break;
    case DL_F64:
        ((double *)array)[i] = x;
        break;
    case DL_I32:
        ((int32_t *)array)[i] = (int32_t)x;
        break;
    default:
        dl_narrow(dtype, &wide, (uint16_t *)array + i, 1);
    }
}

static double get(dl_dtype dtype, const void *array, int64_t i) {
    float wide = 0;
    switch (dtype) {
    case DL_F32:
        return (double)((const float *)array)[i];
    case DL_F64:
        return ((const double *)array)[i];
    case DL_I32:
        return (double)((const int32_t *)array)[i];
    default:
        dl_widen(dtype, (const uint16_t *)array + i, &wide, 1);
        return (double)wide;
    }
}

/* Ranks arrive in another order in every round. */
static void dawdle(int round) {
    const uint64_t rank = (uint64_t)at.host->rank;
    const struct timespec wait = {0, (long)dl_rng_below(3, DL_RNG_TEST, rank, (uint64_t)round, 300000)};
    (void)nanosleep(&wait, NULL);
}

static dl_reduce_desc describe(dl_dtype dtype, int64_t n, void *buffer, const char *name) {
    return (dl_reduce_desc){.reduction = dtype == DL_I32 ? DL_REDUCE_MAX : DL_REDUCE_SUM,
                            .dtype = dtype,
                            .n_elements = n,
                            .buffer = buffer,
                            .name = name};
}

static size_t bytes_of(const dl_reduce_desc *desc) {
    return (size_t)desc->n_elements * dl_dtype_bytes(desc->dtype);
}

static void fill(const dl_reduce_desc *desc, int round) {
    void *from = place_take(&at, bytes_of(desc));
    for (int64_t i = 0; i < desc->n_elements; i++) {
        set(desc->dtype, from, i, value(desc->dtype, at.host->rank, round, i));
    }
    place_upload(&at, desc->buffer, from, bytes_of(desc));
}

/* ranks: of the world, those in the communicator. */
static void check_sums(const dl_reduce_desc *desc, const void *result, const int *ranks, int n_ranks,
                       int round) {
    for (int64_t i = 0; i < desc->n_elements; i++) {
        double expected = value(desc->dtype, ranks[0], round, i);
        for (int r = 1; r < n_ranks; r++) {
            const double x = value(desc->dtype, ranks[r], round, i);
            expected = desc->dtype == DL_I32 ? fmax(expected, x) : expected + x;
        }
        CHECK(get(desc->dtype, result, i) == expected);
    }
}

/* Several rounds in a row without waiting for the device in between, then the same number again. */
static void exact(dl_comm *comm, const int *ranks, dl_dtype dtype, int64_t n, bool own) {
    dl_reduce_desc desc = describe(dtype, n, NULL, "exact");
    const size_t n_bytes = bytes_of(&desc);
    const int in_a_row = (int)((at.arena_bytes / (2 * n_bytes + 256)) > 3 ? 3 : 1);
    const void *result[3] = {0};
    desc.buffer = place_buffer(&at, n_bytes, own);
    dl_collective *collective = NULL;
    CHECK_OK(comm->functions->all_reduce_prepare(comm, &desc, &collective));
    for (int round = 0; round < ROUNDS; round++) {
        fill(&desc, round);
        dawdle(round);
        CHECK_OK(comm->functions->start(collective, at.stream));
        CHECK_OK(comm->functions->wait(collective));
        result[round % in_a_row] = place_download(&at, desc.buffer, n_bytes);
        if ((round + 1) % in_a_row == 0 || round == ROUNDS - 1) {
            CHECK_OK(place_settle(&at));
            for (int r = round - round % in_a_row; r <= round; r++) {
                check_sums(&desc, result[r % in_a_row], ranks, comm->size, r);
            }
        }
    }
    comm->functions->collective_destroy(collective);
    place_buffer_free(&at, desc.buffer, n_bytes, own);
}

static int all_ranks[MAX_RANKS];

static void every_type_and_size(bool large) {
    static const dl_dtype dtypes[] = {DL_F32, DL_F64, DL_BF16, DL_F16, DL_I32};
    for (int d = 0; d < 5; d++) {
        const size_t size = dl_dtype_bytes(dtypes[d]);
        const int64_t n[] = {0, 1, 1023, (int64_t)((mebibyte + 4 + size - 1) / size),
                             (int64_t)(64 * mebibyte / size)};
        for (int s = 0; s < (large ? 5 : 4); s++) {
            exact(at.comm, all_ranks, dtypes[d], n[s], true);
            exact(at.comm, all_ranks, dtypes[d], n[s], false);
        }
    }
}

/* ---- several at once ---- */

/* A permutation of 0 .. N_FLIGHT-1, the same on all ranks. */
static void shuffle(int round, int order[N_FLIGHT]) {
    for (int i = 0; i < N_FLIGHT; i++) {
        const int j = (int)dl_rng_below(4, DL_RNG_TEST, (uint64_t)round, (uint64_t)i, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* Buckets in one arena, totals and control word elsewhere; all started before the first is waited for, and
 * waited for in an order of its own in every round. */
static void in_flight(void) {
    static const int64_t size[N_FLIGHT] = {(1 << 18) + 1, 77, 4096, 8, 8};
    static const dl_dtype dtype[N_FLIGHT] = {DL_F32, DL_F32, DL_F32, DL_F64, DL_I32};
    const dl_comm_functions *functions = at.comm->functions;
    float *own = place_buffer(&at, ((1 << 18) + 1 + 77 + 4096) * sizeof(float), true);
    char *other = place_buffer(&at, 256, false);
    void *buffer[N_FLIGHT] = {own, own + size[0], own + size[0] + size[1], other, other + 128};
    dl_reduce_desc desc[N_FLIGHT];
    dl_collective *collective[N_FLIGHT];
    const void *result[N_FLIGHT];
    for (int c = 0; c < N_FLIGHT; c++) {
        desc[c] = describe(dtype[c], size[c], buffer[c], "in flight");
        CHECK_OK(functions->all_reduce_prepare(at.comm, &desc[c], &collective[c]));
    }
    for (int round = 0; round < 20; round++) {
        int start[N_FLIGHT], wait[N_FLIGHT];
        shuffle(2 * round, start);
        shuffle(2 * round + 1, wait);
        for (int c = 0; c < N_FLIGHT; c++) {
            fill(&desc[start[c]], round + start[c]);
            CHECK_OK(functions->start(collective[start[c]], at.stream));
        }
        dawdle(round);
        for (int c = 0; c < N_FLIGHT; c++) {
            CHECK_OK(functions->wait(collective[wait[c]]));
            result[wait[c]] = place_download(&at, buffer[wait[c]], bytes_of(&desc[wait[c]]));
        }
        CHECK_OK(place_settle(&at));
        for (int c = 0; c < N_FLIGHT; c++) {
            check_sums(&desc[c], result[c], all_ranks, at.comm->size, round + c);
        }
    }
    for (int c = 0; c < N_FLIGHT; c++) {
        functions->collective_destroy(collective[c]);
    }
    place_buffer_free(&at, own, 0, true);
    place_buffer_free(&at, other, 256, false);
}

/* ---- orders of additions ---- */

static double piece_value(dl_dtype dtype, int64_t piece, int round, int64_t i) {
    const double x = dl_rng_normal((uint64_t)round, DL_RNG_TEST, (uint64_t)piece, (uint64_t)i);
    return dtype == DL_F32 ? (double)(float)x : x;
}

static double tree_value(dl_dtype dtype, dl_range node, int round, int64_t i) {
    if (node.end - node.begin == 1) {
        return piece_value(dtype, node.begin, round, i);
    }
    const int64_t middle = (node.begin + node.end) / 2;
    const double a = tree_value(dtype, (dl_range){node.begin, middle}, round, i);
    const double b = tree_value(dtype, (dl_range){middle, node.end}, round, i);
    return dtype == DL_F32 ? (double)((float)a + (float)b) : a + b;
}

/* Blocks give the bits of the one tree, however many ranks there are. */
static void blocks(dl_dtype dtype, int64_t n, bool own) {
    if (!dl_pieces_fit(at.comm->size, 1)) {
        return;
    }
    dl_reduce_desc desc = describe(dtype, n, NULL, "blocks");
    const size_t n_bytes = bytes_of(&desc);
    desc.n_blocks = dl_aligned_blocks(dl_share_pieces(at.comm->size, at.comm->rank, 1, 0), desc.block_pieces);
    if (at.comm->size == 1) { /* several micro-batches are several blocks */
        desc.n_blocks = 2;
        desc.block_pieces[0] = (dl_range){0, DL_PIECES / 2};
        desc.block_pieces[1] = (dl_range){DL_PIECES / 2, DL_PIECES};
    }
    char *memory = place_buffer(&at, n_bytes * DL_MAX_BLOCKS, own);
    for (int b = 0; b < desc.n_blocks; b++) {
        desc.block[b] = memory + (size_t)b * n_bytes;
    }
    desc.buffer = memory;
    dl_collective *collective = NULL;
    CHECK_OK(at.comm->functions->all_reduce_prepare(at.comm, &desc, &collective));
    for (int round = 0; round < 2; round++) {
        for (int b = 0; b < desc.n_blocks; b++) {
            void *from = place_take(&at, n_bytes);
            for (int64_t i = 0; i < n; i++) {
                set(dtype, from, i, tree_value(dtype, desc.block_pieces[b], round, i));
            }
            place_upload(&at, desc.block[b], from, n_bytes);
        }
        dawdle(round);
        CHECK_OK(at.comm->functions->start(collective, at.stream));
        CHECK_OK(at.comm->functions->wait(collective));
        const void *result = place_download(&at, memory, n_bytes);
        CHECK_OK(place_settle(&at));
        for (int64_t i = 0; i < n; i++) {
            CHECK(get(dtype, result, i) == tree_value(dtype, (dl_range){0, DL_PIECES}, round, i));
        }
    }
    at.comm->functions->collective_destroy(collective);
    place_buffer_free(&at, memory, n_bytes * DL_MAX_BLOCKS, own);
}

/* The same sum by the host communicator, in memory of its kind. */
static void sum_on_host(const float *from, int64_t n, float *out) {
    void *memory = NULL;
    const size_t n_bytes = (size_t)n * sizeof(float);
    CHECK_OK(at.host->functions->memory_create(at.host, n_bytes, &memory));
    const dl_reduce_desc desc = describe(DL_F32, n, memory, "on the host");
    dl_collective *collective = NULL;
    CHECK_OK(at.host->functions->all_reduce_prepare(at.host, &desc, &collective));
    memcpy(memory, from, n_bytes);
    CHECK_OK(at.host->functions->start(collective, NULL));
    CHECK_OK(at.host->functions->wait(collective));
    memcpy(out, memory, n_bytes);
    at.host->functions->collective_destroy(collective);
    at.host->functions->memory_destroy(at.host, memory);
}

/* Numbers of all sizes: near the true sum, the same bits on every rank, and with staged those of the host. */
static void same_bits(int64_t n) {
    const size_t n_bytes = (size_t)n * sizeof(float);
    dl_reduce_desc desc = describe(DL_F32, n, place_buffer(&at, n_bytes, true), "same bits");
    dl_collective *collective = NULL;
    CHECK_OK(at.comm->functions->all_reduce_prepare(at.comm, &desc, &collective));
    float *from = place_take(&at, n_bytes), *host = malloc(n_bytes), *all = malloc(n_bytes * MAX_RANKS);
    CHECK(host != NULL && all != NULL);
    for (int64_t i = 0; i < n; i++) {
        from[i] = (float)dl_rng_normal(9, DL_RNG_TEST, (uint64_t)at.host->rank, (uint64_t)i);
    }
    CHECK_OK(at.host->functions->all_gather(at.host, from, n_bytes, all));
    sum_on_host(from, n, host);
    place_upload(&at, desc.buffer, from, n_bytes);
    CHECK_OK(at.comm->functions->start(collective, at.stream));
    CHECK_OK(at.comm->functions->wait(collective));
    const float *result = place_download(&at, desc.buffer, n_bytes);
    CHECK_OK(place_settle(&at));
    CHECK(strcmp(at.comm->functions->name, "nccl") == 0 || memcmp(result, host, n_bytes) == 0);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, sizes = 0;
        for (int rank = 0; rank < at.host->size; rank++) {
            sum += (double)all[rank * n + i];
            sizes += fabs((double)all[rank * n + i]);
        }
        CHECK(fabs((double)result[i] - sum) <= at.host->size * 0x1p-24 * sizes);
    }
    CHECK_OK(at.host->functions->all_gather(at.host, result, n_bytes, all));
    for (int rank = 1; rank < at.host->size; rank++) {
        CHECK(memcmp(all, all + rank * n, n_bytes) == 0);
    }
    at.comm->functions->collective_destroy(collective);
    place_buffer_free(&at, desc.buffer, n_bytes, true);
    free(host);
    free(all);
}

/* ---- the rest of the table ---- */

static void new_memory(void) {
    enum { N_BYTES = 70001 };
    void *memory = place_buffer(&at, N_BYTES, true);
    CHECK((size_t)memory % 4096 == 0);
    const char *bytes = place_download(&at, memory, N_BYTES);
    CHECK_OK(place_settle(&at));
    for (int i = 0; i < N_BYTES; i++) {
        CHECK(bytes[i] == 0);
    }
    place_buffer_free(&at, memory, N_BYTES, true);
}

static void control_plane(void) {
    enum { N = 300017 };
    const dl_comm_functions *functions = at.comm->functions;
    char *bytes = malloc(N);
    CHECK(bytes != NULL);
    for (int root = 0; root < at.comm->size; root++) {
        memset(bytes, at.comm->rank, N);
        CHECK_OK(functions->broadcast(at.comm, bytes, N, root));
        CHECK(bytes[0] == root && bytes[N - 1] == root);
    }
    free(bytes);
    int64_t mine[3] = {at.comm->rank, 7, at.comm->rank * 100}, all[3 * MAX_RANKS] = {0};
    CHECK_OK(functions->all_gather(at.comm, mine, sizeof mine, all));
    for (int rank = 0; rank < at.comm->size; rank++) {
        CHECK(all[3 * rank] == rank && all[3 * rank + 1] == 7 && all[3 * rank + 2] == rank * 100);
    }
    CHECK_OK(functions->barrier(at.comm));
    CHECK_OK(functions->check(at.comm));
    int process = 0;
    CHECK(functions->lost_peer(at.comm, &process) == -1);
    CHECK(functions->on_device == (at.comm != at.host));
}

/* An axis of one rank, one of all, and where the world is even the halves of it; each with memory of the same
 * kind. */
static void axes(void) {
    const int shapes[2][DL_N_AXES] = {{0, 1, 1}, {0, 2, 1}};
    for (int s = 0; s < (at.comm->size % 2 == 0 ? 2 : 1); s++) {
        dl_grid *grid = NULL;
        CHECK_OK(dl_grid_create(at.comm, shapes[s], &grid));
        for (int axis = 0; axis < DL_N_AXES; axis++) {
            dl_comm *comm = grid->axis[axis].comm;
            CHECK(comm->functions->on_device == at.comm->functions->on_device);
            int ranks[MAX_RANKS] = {0};
            CHECK_OK(comm->functions->all_gather(comm, &at.host->rank, sizeof(int), ranks));
            exact(comm, ranks, DL_F32, 5000, false);
            exact(comm, ranks, DL_F64, 3, false);
        }
        dl_grid_destroy(&grid);
    }
}

static void agreement(void) {
    const int victim = at.comm->size - 1;
    dl_status mine = DL_OK;
    if (at.comm->rank == victim) {
        mine = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "disk is full");
    }
    CHECK(dl_comm_agree(at.comm, mine, NULL) == DL_ERR_IO);
    CHECK(strcmp(dl_error_last()->message, "disk is full") == 0);
    CHECK(at.comm->failed && at.host->failed);
    CHECK(at.comm->failed_rank == at.host->failed_rank);
    CHECK(dl_comm_compare(at.comm, "config", at.comm->rank == 0 ? "a: 1\n" : "a: 2\n") ==
          (at.comm->size > 1 ? DL_ERR_USAGE : DL_OK));
}

/* Ranks that mean different things are told so, all of them, and can go on. */
static void disagreement(void) {
    const int64_t big = (int64_t)mebibyte / 4;
    const bool odd = at.comm->rank == at.comm->size - 1 && at.comm->size > 1;
    void *buffer = place_buffer(&at, 4 * mebibyte, false);
    dl_reduce_desc desc[5];
    for (int i = 0; i < 5; i++) {
        desc[i] = describe(DL_F32, 4, buffer, "x");
    }
    if (odd) {
        desc[0].n_elements = 5;
        desc[1].dtype = DL_F64;
        desc[2].n_blocks = 1;
        desc[2].block[0] = buffer;
        desc[2].block_pieces[0] = (dl_range){0, DL_PIECES};
        desc[4].reduction = DL_REDUCE_MAX;
        desc[4].dtype = DL_I32;
    }
    desc[3].n_elements = odd ? 2 * big + 1 : 2 * big; /* another number of chunks, the first ones alike */
    for (int i = 0; i < 5; i++) {
        dl_collective *collective = NULL;
        const int before = at.comm->reduce_calls;
        const dl_status status = at.comm->functions->all_reduce_prepare(at.comm, &desc[i], &collective);
        CHECK(status == (at.comm->size == 1 ? DL_OK : DL_ERR_INTERNAL));
        CHECK(status == DL_OK ||
              strstr(dl_error_last()->message, "ranks disagree about all-reduce 'x'") != NULL);
        CHECK(at.comm->reduce_calls == before + (at.comm->size == 1));
        at.comm->functions->collective_destroy(collective);
    }
    place_buffer_free(&at, buffer, 4 * mebibyte, false);
    exact(at.comm, all_ranks, DL_F32, 1023, true);
}

/* ---- a rank dies ---- */

/* All-reduces until rank `victim` is gone; the others say how they learn of it. */
static void dies(int victim) {
    (void)signal(SIGTERM, SIG_IGN); /* mpirun ends the others of its own; it leaves them a second */
    dl_reduce_desc desc = describe(DL_F32, (int64_t)mebibyte, NULL, "bucket");
    desc.buffer = place_buffer(&at, bytes_of(&desc), true);
    dl_collective *collective = NULL;
    CHECK_OK(at.comm->functions->all_reduce_prepare(at.comm, &desc, &collective));
    dl_status status = DL_OK;
    for (int round = 0; status == DL_OK; round++) {
        fill(&desc, round);
        if (at.comm->rank == victim && round == 10) {
            (void)raise(SIGKILL);
        }
        status = at.comm->functions->start(collective, at.stream);
        status = status == DL_OK ? at.comm->functions->wait(collective) : status;
        status = status == DL_OK ? place_settle(&at) : status;
    }
    (void)fprintf(stderr, "rank %d: code %d: %s\n", at.comm->rank, (int)status, dl_error_last()->message);
    (void)usleep(300000); /* the others may still be about to say so */
    at.comm->functions->abort_job(at.comm, (int)status);
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "mpi";
    const bool large = argc > 2 && strcmp(argv[2], "--large") == 0;
    place_open(&at, name, (large ? 160 : 24) * mebibyte);
    check_world = at.host;
    CHECK(at.comm->size <= MAX_RANKS && strcmp(at.comm->functions->name, name) == 0);
    for (int rank = 0; rank < MAX_RANKS; rank++) {
        all_ranks[rank] = rank;
    }
    if (argc > 3 && strcmp(argv[2], "dies") == 0) {
        dies(atoi(argv[3]));
        return 1;
    }
    new_memory();
    control_plane();
    every_type_and_size(large);
    in_flight();
    for (int own = 0; own < 2; own++) {
        blocks(DL_F32, 1023, own != 0);
        blocks(DL_F32, (int64_t)mebibyte / 4 + 1, own != 0);
        blocks(DL_F64, 3, own != 0);
        blocks(DL_F64, 20000, own != 0);
    }
    same_bits(70001);
    same_bits((int64_t)mebibyte / 4 + 1);
    axes();
    disagreement();
    agreement();
    place_close(&at);
    return 0;
}
