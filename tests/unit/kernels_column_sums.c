/* The order in which a GPU sums columns, played on the host: every row once, in an order that depends on
 * nothing but their number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/common/column_sums.h"

static const int64_t sizes[] = {0, 1, 7, 8, 63, 64, 65, 1000, 16384, 16385, 1000003, INT64_C(1) << 33};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

static const int64_t widths[] = {1, 3, 8, 64, 100, 256, 2048, 10000};
enum { N_WIDTHS = sizeof widths / sizeof widths[0] };

static void rows_are_dealt(int64_t n, int64_t runs) {
    assert_true(dl_sum_run_begin(n, runs, 0) == 0);
    assert_true(dl_sum_run_begin(n, runs, runs) == n);
    for (int64_t r = 0; r < runs; r++) {
        const int64_t length = dl_sum_run_begin(n, runs, r + 1) - dl_sum_run_begin(n, runs, r);
        assert_true(length == n / runs || length == n / runs + 1);
    }
}

/* Runs are long enough to be worth their sums, and no more than a GPU has room for. */
static void runs_take_every_row_once(void **state) {
    (void)state;
    for (int i = 0; i < N_SIZES * N_WIDTHS; i++) {
        const int64_t n = sizes[i / N_WIDTHS], channels = widths[i % N_WIDTHS];
        for (size_t element_bytes = 2; element_bytes <= 4; element_bytes += 2) {
            const int64_t runs = dl_sum_runs(n, channels, element_bytes),
                          strips = dl_sum_strips(channels / dl_pack_of_channels(channels, element_bytes));
            assert_true(runs >= 1 && (runs == 1 || runs * DL_SUM_LEAST_ROWS < n + DL_SUM_LEAST_ROWS));
            assert_true(runs * strips < DL_SUM_MAX_BLOCKS + strips);
            assert_int_equal(dl_sum_bytes(n, channels, element_bytes), (size_t)(runs * channels) * 8);
            rows_are_dealt(n, runs);
        }
    }
}

static void packs_stay_in_their_cell(void **state) {
    (void)state;
    for (int64_t channels = 1; channels < 100; channels++) {
        assert_int_equal(dl_pack_of_channels(channels, 2), channels % 8 == 0 ? 8 : 1);
        assert_int_equal(dl_pack_of_channels(channels, 4), channels % 4 == 0 ? 4 : 1);
    }
}

/* Without sums a thread has few rows, and all blocks together have all. */
static void maps_take_every_row(void **state) {
    (void)state;
    for (int i = 0; i < N_SIZES * N_WIDTHS; i++) {
        const int64_t n = sizes[i / N_WIDTHS], columns = widths[i % N_WIDTHS], runs = dl_map_runs(n, columns);
        const int64_t rows = (int64_t)dl_sum_height(dl_sum_width(columns)) * DL_MAP_ROWS;
        assert_true(runs * rows >= n && (runs - 1) * rows < n + (n == 0));
    }
}

/* Every column has one thread row; a block is never wider than a warp. */
static void strips_take_every_column_once(void **state) {
    (void)state;
    for (int64_t columns = 1; columns < 200; columns++) {
        const int width = dl_sum_width(columns);
        assert_int_equal(width * dl_sum_height(width), DL_SUM_THREADS);
        assert_true(width <= DL_SUM_MAX_WIDTH && (width & (width - 1)) == 0);
        assert_true(dl_sum_strips(columns) * width >= columns);
        assert_true((dl_sum_strips(columns) - 1) * width < columns);
    }
}

/* A block as the kernel runs it: rows of threads add their rows, then the tree. */
static double block_sum(int height, int64_t n_rows) {
    double part[DL_SUM_THREADS] = {0.0};
    for (int y = 0; y < height; y++) {
        for (int64_t row = y; row < n_rows; row += height) {
            part[y] += (double)(row + 1);
        }
    }
    for (int half = height / 2; half > 0; half /= 2) {
        for (int y = 0; y < height; y++) {
            const int partner = dl_sum_partner(y, half);
            /* nobody adds what another thread adds to in the same round */
            assert_true(partner < 0 || (partner >= half && partner < 2 * half));
            part[y] += partner < 0 ? 0.0 : part[partner];
        }
    }
    return part[0];
}

static void the_tree_adds_all_threads(void **state) {
    (void)state;
    for (int width = 1; width <= DL_SUM_MAX_WIDTH; width *= 2) {
        for (int64_t n = 0; n < 600; n += 7) {
            assert_true(block_sum(dl_sum_height(width), n) == (double)(n * (n + 1) / 2));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_take_every_row_once),  cmocka_unit_test(packs_stay_in_their_cell),
        cmocka_unit_test(maps_take_every_row),       cmocka_unit_test(strips_take_every_column_once),
        cmocka_unit_test(the_tree_adds_all_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
