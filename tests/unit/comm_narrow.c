/* 16-bit floats in sums: every number there and back, rounding between two neighbours, one rounding a sum. */
#include "comm/narrow.h"
#include "comm/tree.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const dl_dtype dtypes[] = {DL_BF16, DL_F16};

static float wide(dl_dtype dtype, unsigned half) {
    const uint16_t from = (uint16_t)half;
    float to = 0;
    dl_widen(dtype, &from, &to, 1);
    return to;
}

static uint16_t narrow(dl_dtype dtype, float x) {
    uint16_t to = 0;
    dl_narrow(dtype, &x, &to, 1);
    return to;
}

/* The value of a positive number by the standard's formula. */
static double by_formula(dl_dtype dtype, unsigned half) {
    const int fraction_bits = dtype == DL_BF16 ? 7 : 10, bias = dtype == DL_BF16 ? 127 : 15;
    const int exponent = (int)(half >> fraction_bits);
    const double fraction = (double)(half & ((1u << fraction_bits) - 1)) / (1 << fraction_bits);
    return exponent == 0 ? ldexp(fraction, 1 - bias) : ldexp(1 + fraction, exponent - bias);
}

static void every_number(void **state) {
    (void)state;
    for (int d = 0; d < 2; d++) {
        const unsigned infinity = dtypes[d] == DL_BF16 ? 0x7f80u : 0x7c00u;
        for (unsigned half = 0; half < infinity; half++) {
            assert_true((double)wide(dtypes[d], half) == by_formula(dtypes[d], half));
            assert_int_equal(narrow(dtypes[d], wide(dtypes[d], half)), half);
            assert_int_equal(narrow(dtypes[d], wide(dtypes[d], half | 0x8000u)), half | 0x8000u);
        }
        assert_true(isinf(wide(dtypes[d], infinity)) && isinf(wide(dtypes[d], infinity | 0x8000u)));
        assert_true(isnan(wide(dtypes[d], infinity + 1)));
        assert_int_equal(narrow(dtypes[d], -INFINITY), infinity | 0x8000u);
        assert_true(isnan(wide(dtypes[d], narrow(dtypes[d], NAN))));
        assert_int_equal(narrow(dtypes[d], 3.4e38f), infinity);
    }
}

/* Half way between two neighbours goes to the even one; a little more or less to the nearer one. */
static void rounding(void **state) {
    (void)state;
    for (int d = 0; d < 2; d++) {
        const unsigned infinity = dtypes[d] == DL_BF16 ? 0x7f80u : 0x7c00u;
        for (unsigned half = 1; half + 1 < infinity; half++) {
            const float low = wide(dtypes[d], half), high = wide(dtypes[d], half + 1);
            const float middle = low + (high - low) / 2; /* exact: both have few bits */
            assert_int_equal(narrow(dtypes[d], middle), half + (half & 1));
            assert_int_equal(narrow(dtypes[d], nextafterf(middle, 0)), half);
            assert_int_equal(narrow(dtypes[d], nextafterf(middle, INFINITY)), half + 1);
        }
    }
}

/* 1 + 2^-9 + 2^-9 + ...: rounded at each addition nothing would ever be added. */
static void one_rounding(void **state) {
    (void)state;
    enum { N_LEAVES = 5, N = 3000 };
    static uint16_t leaf[N_LEAVES][N], out[N];
    for (int d = 0; d < 2; d++) {
        const float small = dtypes[d] == DL_BF16 ? 0x1p-9f : 0x1p-12f;
        const void *leaves[N_LEAVES];
        for (int l = 0; l < N_LEAVES; l++) {
            leaves[l] = leaf[l];
            for (int i = 0; i < N; i++) {
                leaf[l][i] = narrow(dtypes[d], (l == 0 ? 1.0f : small) * (float)(1 << i % 4));
            }
        }
        dl_sum_plan plan;
        assert_int_equal(dl_sum_plan_line(N_LEAVES, &plan), DL_OK);
        void *to = out;
        dl_sum_run(&plan, DL_REDUCE_SUM, dtypes[d], leaves, (dl_range){0, N}, &to, 1);
        dl_sum_plan_free(&plan);
        for (int i = 0; i < N; i++) {
            assert_true(wide(dtypes[d], out[i]) == (1 + 4 * small) * (float)(1 << i % 4));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number),
        cmocka_unit_test(rounding),
        cmocka_unit_test(one_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
