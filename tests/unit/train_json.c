/* JSON lines: escaping, numbers that read back, no allocation once a line fits. */
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void numbers_read_back(void **state) {
    (void)state;
    const double values[] = {
        0.1,  1.0 / 3, 0.30000000000000004, 1e-300, 4.9406564584124654e-324, 1e22, 123456789.125,
        -2.5, 0,       1763700000.1};
    char text[DL_NUMBER_BYTES];
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_true(strtod(dl_number_text(values[i], text), NULL) == values[i]);
    }
    assert_string_equal(dl_number_text(0.1, text), "0.1");
    assert_string_equal(dl_number_text(0.30000000000000004, text), "0.30000000000000004");
}

static void lines_are_json(void **state) {
    (void)state;
    dl_text text = {0};
    dl_json json = dl_json_begin(&text);
    assert_int_equal(dl_json_end(&json), DL_OK);
    assert_string_equal(text.data, "{}\n");

    json = dl_json_begin(&text);
    dl_json_string(&json, "s", "a\"b\\c\nd\x01\xc3\xa9\xff\xed\xa0\x80.");
    dl_json_int(&json, "i", -7);
    dl_json_double(&json, "nan", NAN);
    dl_json_double(&json, "inf", -INFINITY);
    dl_json_fixed(&json, "f", 11.94999, 2);
    dl_json_fixed(&json, "fn", INFINITY, 2);
    dl_json_fixed(&json, "big", 1e308, 3);
    dl_json_ints(&json, "none", NULL, 0);
    dl_json_ints(&json, "ids", (const int64_t[]){3, 1, 2}, 3);
    assert_int_equal(dl_json_end(&json), DL_OK);
    assert_string_equal(
        text.data,
        "{\"s\":\"a\\\"b\\\\c\\nd\\u0001\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd.\","
        "\"i\":-7,\"nan\":null,\"inf\":null,\"f\":11.95,\"fn\":null,\"big\":1e+308,"
        "\"none\":[],\"ids\":[3,1,2]}\n");
    dl_text_free(&text);
}

static void the_buffer_is_reused(void **state) {
    (void)state;
    dl_text text = {0};
    const char *buffer = NULL;
    for (int i = 0; i < 3; i++) {
        dl_json json = dl_json_begin(&text);
        dl_json_string(&json, "key", "some value that is longer than the first few bytes of a buffer");
        assert_int_equal(dl_json_end(&json), DL_OK);
        assert_true(buffer == NULL || buffer == text.data);
        buffer = text.data;
    }
    dl_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_read_back),
        cmocka_unit_test(lines_are_json),
        cmocka_unit_test(the_buffer_is_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
