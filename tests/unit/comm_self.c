/* The communicator of one rank, and what is built on any communicator: agreement, comparison, the grid. */
#include "comm/grid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dl_comm *comm;

static int setup(void **state) {
    (void)state;
    return dl_comm_self_create(&comm) == DL_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    dl_comm_destroy(&comm);
    return comm == NULL ? 0 : -1;
}

static void blocks_are_added(void **state) {
    (void)state;
    void *memory = NULL;
    assert_int_equal(comm->functions->memory_create(comm, 3 * 100 * sizeof(float), &memory), DL_OK);
    assert_int_equal((uintptr_t)memory % 4096, 0);
    float *all = memory;
    dl_reduce_desc desc = {.dtype = DL_F32, .n_elements = 100, .buffer = all, .n_blocks = 3, .name = "test"};
    static const dl_range pieces[] = {{0, 4}, {4, 6}, {6, 8}};
    for (int b = 0; b < 3; b++) {
        desc.block[b] = all + 100 * b;
        desc.block_pieces[b] = pieces[b];
    }
    dl_collective *collective = NULL;
    assert_int_equal(comm->functions->all_reduce_prepare(comm, &desc, &collective), DL_OK);
    assert_int_equal(comm->reduce_calls, 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            assert_true(round > 0 || all[i] == 0);
            all[i] = (float)(i % 100) + (float)(i / 100 * 1000 + round);
        }
        assert_int_equal(comm->functions->start(collective, NULL), DL_OK);
        assert_int_equal(comm->functions->wait(collective), DL_OK);
        for (int i = 0; i < 100; i++) {
            assert_true(all[i] == (float)(3 * i + 3000 + 3 * round));
        }
    }
    comm->functions->collective_destroy(collective);
    desc.n_blocks = 2;
    assert_int_equal(comm->functions->all_reduce_prepare(comm, &desc, &collective), DL_ERR_INTERNAL);
    comm->functions->memory_destroy(comm, memory);
}

static void wrong_descriptions_are_refused(void **state) {
    (void)state;
    float x = 0;
    dl_collective *collective = NULL;
    const dl_reduce_desc bad[] = {
        {.reduction = DL_REDUCE_MAX, .dtype = DL_F32, .n_elements = 1, .buffer = &x},
        {.reduction = DL_REDUCE_SUM, .dtype = DL_U16, .n_elements = 1, .buffer = &x},
        {.reduction = DL_REDUCE_MAX, .dtype = DL_BF16, .n_elements = 1, .buffer = &x},
        {.dtype = DL_BF16, .n_elements = 1, .buffer = &x, .n_blocks = 1, .block = {&x}},
        {.reduction = DL_REDUCE_SUM, .dtype = DL_F32, .n_elements = 1},
        {.reduction = DL_REDUCE_SUM, .dtype = DL_F32, .n_elements = 1, .buffer = &x, .n_blocks = 9},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(comm->functions->all_reduce_prepare(comm, &bad[i], &collective), DL_ERR_INTERNAL);
    }
}

static void agreement(void **state) {
    (void)state;
    int rank = 7;
    assert_int_equal(dl_comm_agree(comm, DL_OK, &rank), DL_OK);
    assert_false(comm->failed);
    const dl_status status =
        dl_error_raise(DL_ERR_DATA, __FILE__, __LINE__, __func__, "shard %d is short", 3);
    assert_int_equal(dl_comm_agree(comm, status, &rank), DL_ERR_DATA);
    assert_int_equal(rank, -1);
    assert_true(comm->failed);
    assert_string_equal(dl_error_last()->message, "shard 3 is short");
    assert_int_equal(dl_comm_compare(comm, "config", "seed: 1\n"), DL_OK);
}

static void expect_grid(int data, int tensor, int pipeline, const char *part_of_message) {
    const int sizes[DL_N_AXES] = {data, tensor, pipeline};
    dl_grid *grid = NULL;
    const dl_status status = dl_grid_create(comm, sizes, &grid);
    if (part_of_message == NULL) {
        assert_int_equal(status, DL_OK);
        for (int axis = 0; axis < DL_N_AXES; axis++) {
            assert_int_equal(grid->axis[axis].size, 1);
            assert_int_equal(grid->axis[axis].index, 0);
            assert_int_equal(grid->axis[axis].comm->size, 1);
        }
        assert_string_equal(grid->axis[DL_AXIS_DATA].name, "data");
        dl_grid_destroy(&grid);
        assert_null(grid);
        return;
    }
    assert_int_equal(status, DL_ERR_USAGE);
    assert_non_null(strstr(dl_error_last()->message, part_of_message));
}

static void grids(void **state) {
    (void)state;
    expect_grid(1, 1, 1, NULL);
    expect_grid(0, 1, 1, NULL);
    expect_grid(2, 1, 1, "is 2 ranks, but there are 1");
    expect_grid(0, 2, 2, "there are 1");
    expect_grid(1, 0, 1, "parallel.tensor is 0");
    expect_grid(-1, 1, 1, "parallel.data is -1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_are_added, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_descriptions_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(agreement, setup, teardown),
        cmocka_unit_test_setup_teardown(grids, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
