/* 16-bit floats against their definition: every one of the 65,536 there and back, and every float32 that lies
 * at or beside a boundary between two of them against a search for the nearest in double. */
#include "kernels/common/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* What 16 bits mean, from the definition: sign, exponent with its bias, fraction. */
static double meaning(dl_dtype dtype, uint16_t half) {
    const int fraction_bits = dtype == DL_BF16 ? 7 : 10, exponent_bits = 15 - fraction_bits;
    const int bias = (1 << (exponent_bits - 1)) - 1, largest = (1 << exponent_bits) - 1;
    const int exponent = (half >> fraction_bits) & largest, fraction = half & ((1 << fraction_bits) - 1);
    const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == largest) {
        return fraction != 0 ? (double)NAN : sign * (double)INFINITY;
    }
    if (exponent == 0) {
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    }
    return sign * ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

static bool is_nan(dl_dtype dtype, uint16_t half) {
    return isnan(meaning(dtype, half));
}

/* Widening gives the number that is meant; rounding gives the bits back; NaN keeps sign and payload. */
static void all_there_and_back(void **state) {
    (void)state;
    static const dl_dtype dtypes[] = {DL_BF16, DL_F16};
    for (int t = 0; t < 2; t++) {
        for (uint32_t bits = 0; bits <= 0xffff; bits++) {
            const uint16_t half = (uint16_t)bits;
            const float wide = dl_float_of_half(dtypes[t], half);
            if (is_nan(dtypes[t], half)) {
                const uint16_t quiet = (uint16_t)(half | (dtypes[t] == DL_BF16 ? 0x40 : 0x200));
                assert_true(isnan(wide));
                assert_int_equal(dl_half_of(dtypes[t], wide), quiet);
                continue;
            }
            const double expected = meaning(dtypes[t], half);
            assert_true((double)wide == expected && (signbit(wide) != 0) == (signbit(expected) != 0));
            assert_int_equal(dl_half_of(dtypes[t], wide), half);
        }
    }
}

/* The nearest of the two neighbours `low` and `low + 1` (magnitudes, as bits) of x >= 0; a tie is even. The
 * number behind the largest counts as the power of two that infinity stands for. */
static uint16_t nearest(dl_dtype dtype, uint16_t low, double x) {
    const uint16_t infinity = dtype == DL_BF16 ? 0x7f80 : 0x7c00;
    const double below = meaning(dtype, low);
    const double power = dtype == DL_BF16 ? ldexp(1, 128) : ldexp(1, 16);
    const double above = low + 1 == infinity ? power : meaning(dtype, (uint16_t)(low + 1));
    if (x - below != above - x) {
        return x - below < above - x ? low : (uint16_t)(low + 1);
    }
    return (low & 1) == 0 ? low : (uint16_t)(low + 1);
}

static void check_rounding(dl_dtype dtype, uint16_t low, float x) {
    const uint16_t expected = nearest(dtype, low, (double)x);
    assert_int_equal(dl_half_of(dtype, x), expected);
    assert_int_equal(dl_half_of(dtype, -x), expected | 0x8000);
}

/* Between each two neighbours: the ends, the middle, and the float32 on both sides of each. */
static void rounds_to_nearest_even(void **state) {
    (void)state;
    static const dl_dtype dtypes[] = {DL_BF16, DL_F16};
    for (int t = 0; t < 2; t++) {
        const uint16_t infinity = dtypes[t] == DL_BF16 ? 0x7f80 : 0x7c00;
        for (uint16_t low = 0; low < infinity; low++) {
            const double below = meaning(dtypes[t], low);
            const double power = dtypes[t] == DL_BF16 ? ldexp(1, 128) : ldexp(1, 16);
            const double above = low + 1 == infinity ? power : meaning(dtypes[t], (uint16_t)(low + 1));
            const float first = (float)below, middle = (float)((below + above) / 2);
            check_rounding(dtypes[t], low, first);
            check_rounding(dtypes[t], low, nextafterf(first, INFINITY));
            check_rounding(dtypes[t], low, middle);
            check_rounding(dtypes[t], low, nextafterf(middle, 0.0f));
            check_rounding(dtypes[t], low, nextafterf(middle, INFINITY));
        }
    }
}

static void beyond_the_largest(void **state) {
    (void)state;
    assert_int_equal(dl_f16_of(65504.0f), 0x7bff);
    assert_int_equal(dl_f16_of(65519.996f), 0x7bff);
    assert_int_equal(dl_f16_of(65520.0f), 0x7c00);
    assert_int_equal(dl_f16_of(-1e30f), 0xfc00);
    assert_int_equal(dl_f16_of(INFINITY), 0x7c00);
    assert_int_equal(dl_bf16_of(3.4e38f), 0x7f80);
    assert_int_equal(dl_bf16_of(-INFINITY), 0xff80);
    assert_int_equal(dl_f16_of(1e-30f), 0);
    assert_int_equal(dl_f16_of(-0.0f), 0x8000);
    assert_int_equal(dl_bf16_of(dl_bits_float(0x7f800001u)), 0x7fc0); /* not the infinity its upper half is */
    assert_int_equal(dl_f16_of(dl_bits_float(0xff800001u)), 0xfe00);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_there_and_back),
        cmocka_unit_test(rounds_to_nearest_even),
        cmocka_unit_test(beyond_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
