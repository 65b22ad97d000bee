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

static void runs_take_every_row_once(void **state) {
    (void)state;
    for (int i = 0; i < N_SIZES; i++) {
        const int64_t n = sizes[i], runs = dl_sum_runs(n);
        assert_true(runs >= 1 && runs <= DL_SUM_MAX_RUNS);
        assert_true(dl_sum_run_begin(n, runs, 0) == 0);
        assert_true(dl_sum_run_begin(n, runs, runs) == n);
        for (int64_t r = 0; r < runs; r++) {
            const int64_t length = dl_sum_run_begin(n, runs, r + 1) - dl_sum_run_begin(n, runs, r);
            assert_true(length == n / runs || length == n / runs + 1);
        }
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
        cmocka_unit_test(runs_take_every_row_once),
        cmocka_unit_test(strips_take_every_column_once),
        cmocka_unit_test(the_tree_adds_all_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
