/* What kernels of GPUs and loops of CPUs share: random numbers, the order of sums, which cells a window
 * holds, how elements are spread over threads. Here on the host, against the plain way of doing it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kernels/common/dropout.h"
#include "kernels/common/pooling_windows.h"
#include "kernels/common/reduction.h"
#include "kernels/common/threads.h"

#include <string.h>

static void philox_is_the_generator_of_the_host(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t expected[4], got[4];
        const uint64_t seed = i * 0x9E3779B97F4A7C15u, a = i * i + (i << 40), b = ~i << (i % 30);
        dl_rng_4x32(seed, (uint32_t)(i * 77), a, b, expected);
        dl_philox_4x32(seed, (uint32_t)(i * 77), a, b, got);
        assert_memory_equal(got, expected, sizeof got);
    }
}

static float tree(const float *x, int64_t k, int64_t n) {
    return k == 1 ? *x : tree(x, k / 2, n) + tree(x + k / 2 * n, k / 2, n);
}

/* Values of very different sizes: another order gives other bits. */
static void a_tree_sum_has_the_bits_of_the_recursion(void **state) {
    (void)state;
    enum { MOST = 4096, STRIDE = 3 };
    static float x[MOST * STRIDE];
    static double wide[MOST * STRIDE];
    for (int i = 0; i < MOST * STRIDE; i++) {
        x[i] = (float)((i * 7919 % 1000 - 500) * (i % 3 == 0 ? 1e6 : 1e-3));
        wide[i] = (double)x[i];
    }
    for (int64_t k = 1; k <= MOST; k *= 2) {
        for (int64_t i = 0; i < STRIDE; i++) {
            assert_true(dl_tree_sum_f32(x + i, k, STRIDE) == tree(x + i, k, STRIDE));
            double plain = 0;
            for (int64_t j = 0; j < k; j++) {
                plain += wide[i + j * STRIDE];
            }
            assert_true(fabs(dl_tree_sum_f64(wide + i, k, STRIDE) - plain) <= 1e-6);
        }
    }
}

/* What a block of threads does, one thread after the other. */
static double block_sum(const double *x, int64_t n, int threads) {
    double partial[256] = {0};
    for (int t = 0; t < threads; t++) {
        for (int64_t i = t; i < n; i += threads) {
            partial[t] += x[i];
        }
    }
    for (int half = threads / 2; half > 0; half /= 2) {
        for (int t = 0; t < half; t++) {
            dl_reduce_step(partial, t, half);
        }
    }
    return partial[0];
}

/* Powers of two: a sum that left out or repeated one would be another number. */
static void a_block_adds_every_element_once(void **state) {
    (void)state;
    double x[1000], expected = 0;
    for (int n = 0; n <= 1000; n++) {
        assert_true(block_sum(x, n, 32) == expected);
        assert_true(block_sum(x, n, 256) == expected);
        if (n < 1000) {
            x[n] = (double)((int64_t)1 << (n % 40)) * (n % 7 + 1);
            expected += x[n];
        }
    }
}

static void windows_and_cells_agree(void **state) {
    (void)state;
    for (int64_t window = 1; window <= 5; window++) {
        for (int64_t stride = 1; stride <= 4; stride++) {
            for (int64_t before = 0; before < window; before++) {
                for (int64_t size = 1; size <= 9; size++) {
                    const int64_t n = dl_window_positions(size, window, stride, before, window - 1 - before);
                    for (int64_t at = 0; at < size; at++) {
                        const dl_window_range over = dl_windows_over(at, window, stride, before, n);
                        for (int64_t p = 0; p < n; p++) {
                            const int64_t r = at - (p * stride - before);
                            const bool holds = r >= 0 && r < window;
                            assert_int_equal(holds, p >= over.first && p < over.end);
                        }
                    }
                    for (int64_t p = 0; p < n; p++) {
                        int64_t inside = 0;
                        for (int64_t r = 0; r < window; r++) {
                            const int64_t at = p * stride - before + r;
                            inside += at >= 0 && at < size;
                        }
                        if (inside > 0) {
                            assert_int_equal(dl_window_inside(p, window, stride, before, size), inside);
                        }
                    }
                }
            }
        }
    }
}

static void cells_have_their_place(void **state) {
    (void)state;
    int64_t i = 0;
    for (int64_t n = 0; n < 2; n++) {
        for (int64_t h = 0; h < 3; h++) {
            for (int64_t w = 0; w < 4; w++) {
                for (int64_t c = 0; c < 5; c++, i++) {
                    const dl_cell cell = dl_cell_of(i, 3, 4, 5);
                    assert_true(cell.n == n && cell.h == h && cell.w == w && cell.c == c);
                    assert_int_equal(dl_cell_index(cell, 3, 4, 5), i);
                }
            }
        }
    }
}

/* An element by itself has the mask that it has in its sample, also where ranks share rows. */
static void dropout_of_one_element_is_that_of_its_sample(void **state) {
    (void)state;
    enum { ROWS = 5, WIDTH = 6 };
    const dl_dropout_attr whole = {.rate = 0.4, .seed = 3, .purpose = DL_RNG_DROPOUT};
    dl_dropout_attr part = whole;
    part.row_begin = 7;
    part.whole_row = 20;
    const dl_dropout_attr *const attrs[] = {&whole, &part};
    for (int a = 0; a < 2; a++) {
        const dl_dropout mask = dl_dropout_of(attrs[a]);
        float x[ROWS * WIDTH], y[ROWS * WIDTH];
        for (int i = 0; i < ROWS * WIDTH; i++) {
            x[i] = (float)(i + 1);
        }
        dl_dropout_sample(attrs[a], dl_dropout_run, &mask, 4, 11, ROWS * WIDTH, WIDTH, x, y);
        for (int i = 0; i < ROWS * WIDTH; i++) {
            assert_true(dl_dropout_one(&mask, 4, 11, dl_dropout_place(attrs[a], i, WIDTH), x[i]) == y[i]);
        }
    }
}

static void threads_cover_all_elements(void **state) {
    (void)state;
    assert_int_equal(dl_grid_blocks(0), 0);
    assert_int_equal(dl_grid_blocks(1), 1);
    assert_int_equal(dl_grid_blocks(DL_GRID_THREADS), 1);
    assert_int_equal(dl_grid_blocks(DL_GRID_THREADS + 1), 2);
    assert_int_equal(dl_grid_blocks((int64_t)1 << 40), DL_GRID_MAX_BLOCKS);
    assert_int_equal(dl_grid_block_per_item(0), 0);
    assert_int_equal(dl_grid_block_per_item(77), 77);
    assert_true(dl_grid_block_per_item((int64_t)1 << 40) >= DL_GRID_MAX_BLOCKS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_is_the_generator_of_the_host),
        cmocka_unit_test(a_tree_sum_has_the_bits_of_the_recursion),
        cmocka_unit_test(a_block_adds_every_element_once),
        cmocka_unit_test(windows_and_cells_agree),
        cmocka_unit_test(cells_have_their_place),
        cmocka_unit_test(dropout_of_one_element_is_that_of_its_sample),
        cmocka_unit_test(threads_cover_all_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
