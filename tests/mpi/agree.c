/* What ranks agree on: outcomes, and texts that must be equal. */
#include "tests/mpi/check.h"

#include <string.h>

static dl_comm *world;

static dl_status fail_with(dl_code code, const char *text) {
    return dl_error_raise(code, __FILE__, __LINE__, __func__, "%s", text);
}

static void expect(dl_status mine, dl_code code, int failed_rank, const char *message) {
    int rank = 99;
    const dl_status status = dl_comm_agree(world, mine, &rank);
    CHECK(status == code && rank == failed_rank && strcmp(dl_error_last()->message, message) == 0);
    CHECK(world->failed && world->failed_rank == failed_rank);
    CHECK(dl_error_last()->code == code);
}

static void outcomes(void) {
    int rank = 99;
    CHECK_OK(dl_comm_agree(world, DL_OK, &rank));
    CHECK(!world->failed && rank == 99);
    for (int victim = 0; victim < world->size; victim++) {
        const dl_status mine = world->rank == victim ? fail_with(DL_ERR_DATA, "shard is short") : DL_OK;
        expect(mine, DL_ERR_DATA, world->size == 1 ? -1 : victim, "shard is short");
        CHECK(world->rank == victim ? dl_error_last()->n_frames > 0 : dl_error_last()->n_frames == 0);
    }
    expect(fail_with(DL_ERR_USAGE, "no such key"), DL_ERR_USAGE, -1, "no such key");
    if (world->size > 1) {
        const dl_status mine = world->rank == 0 ? DL_OK : fail_with((dl_code)(70 + world->rank % 2), "own");
        expect(mine, DL_ERR_MEMORY, 1, "own");
        const dl_status other = fail_with(DL_ERR_IO, world->rank == 1 ? "two" : "one");
        expect(other, DL_ERR_IO, 0, "one");
    }
    CHECK_OK(dl_comm_agree(world, DL_OK, NULL));
}

static void expect_texts(const char *first, const char *others, const char *message) {
    const dl_status status = dl_comm_compare(world, "config", world->rank == 0 ? first : others);
    if (world->size == 1 || message == NULL) {
        CHECK_OK(status);
        return;
    }
    CHECK(status == DL_ERR_USAGE && world->failed && world->failed_rank == -1);
    CHECK(strcmp(dl_error_last()->message, message) == 0);
}

static void texts(void) {
    expect_texts("a: 1\nseed: 1\n", "a: 1\nseed: 1\n", NULL);
    expect_texts("", "", NULL);
    expect_texts("a: 1\nseed: 1\n", "a: 1\nseed: 2\n",
                 "ranks disagree (config): seed is 1 on rank 0 and 2 on rank 1");
    expect_texts("a: 1\nb: 2\nc: 3", "a: 1\nc: 3",
                 "ranks disagree (config): b is 2 on rank 0 and absent on rank 1");
    expect_texts("a: 1\n", "a: 1\nb: 2\n", "ranks disagree (config): b is absent on rank 0 and 2 on rank 1");
    expect_texts("", "b: x: y\n", "ranks disagree (config): b is absent on rank 0 and x: y on rank 1");
    char mine[64];
    (void)snprintf(mine, sizeof mine, "name: x\nseed: %d\n", world->rank);
    expect_texts(mine, mine, "ranks disagree (config): seed is 0 on rank 0 and 1 on rank 1");
    (void)snprintf(mine, sizeof mine, "name: x\nseed: %d\n", world->rank == world->size - 1);
    char message[128];
    (void)snprintf(message, sizeof message, "ranks disagree (config): seed is 0 on rank 0 and 1 on rank %d",
                   world->size - 1);
    expect_texts(mine, mine, message);
}

/* Only one rank of the node may tell the job's error. */
static void claims(void) {
    int winners = world->functions->claim(world), all[16] = {0}, sum = 0;
    CHECK(!world->functions->claim(world));
    CHECK_OK(world->functions->all_gather(world, &winners, sizeof winners, all));
    for (int rank = 0; rank < world->size; rank++) {
        sum += all[rank];
    }
    CHECK(sum == 1);
}

int main(void) {
    if (dl_comm_mpi_create(&world) != DL_OK) {
        return 1;
    }
    check_world = world;
    dl_log_set_rank(world->rank, world->size);
    outcomes();
    texts();
    claims();
    dl_comm_destroy(&world);
    dl_comm_mpi_finish();
    return 0;
}
