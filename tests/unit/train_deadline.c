/* The end of a job's time: which texts are times, and when a step must be the last. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "train/deadline.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void limits(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"90", 90},     {"90s", 90},       {"30m", 1800},         {"1.5h", 5400},
                {"2d", 172800}, {"1:30:00", 5400}, {"100:00:01", 360001}, {"0:00:05", 5}};
    static const char *const bad[] = {
        "",         "0",   "-5",  "s",     "5x",   "1:00", "1:60:00", "1:00:60", "1:00:0x",
        "1:00:00:", "nan", "inf", "1e300", "0x10", "5 m",  "::",      "1::2",    "99999999999:00:00"};
    dl_deadline deadline;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(dl_deadline_set(good[i].text, 1000, NULL, &deadline), DL_OK);
        assert_true(deadline.known && fabs(deadline.at - 1000 - good[i].seconds) < 1e-9);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(dl_deadline_set(bad[i], 1000, NULL, &deadline), DL_ERR_USAGE);
        assert_non_null(strstr(dl_error_last()->message, bad[i]));
    }
}

static void the_earlier_counts(void **state) {
    (void)state;
    char soon[32], late[32];
    dl_deadline deadline;
    const double now = dl_clock_seconds();
    (void)snprintf(soon, sizeof soon, "%.0f", dl_clock_unix() + 100);
    (void)snprintf(late, sizeof late, "%.0f", dl_clock_unix() + 100000);
    assert_int_equal(dl_deadline_set("200", now, soon, &deadline), DL_OK);
    assert_true(fabs(deadline.at - now - 100) < 2 && strstr(deadline.text, "SLURM_JOB_END_TIME") != NULL);
    assert_int_equal(dl_deadline_set("200", now, late, &deadline), DL_OK);
    assert_true(fabs(deadline.at - now - 200) < 1e-6 && strstr(deadline.text, "time limit") != NULL);
    assert_int_equal(dl_deadline_set(NULL, now, NULL, &deadline), DL_OK);
    assert_false(deadline.known || dl_deadline_is_near(&deadline, 1e18, 1e9, true));
    assert_int_equal(dl_deadline_set(NULL, now, "12345", &deadline), DL_OK); /* has passed: another job's */
    assert_false(deadline.known);
}

static void what_is_left_to_do(void **state) {
    (void)state;
    dl_deadline deadline;
    assert_int_equal(dl_deadline_set("1000", 0, NULL, &deadline), DL_OK);
    assert_true(dl_deadline_is_near(&deadline, 999.5, 0, false)); /* a second for the rest */
    assert_false(dl_deadline_is_near(&deadline, 998.5, 0, false));
    dl_deadline_note_step(&deadline, 10); /* this step and the next */
    assert_true(dl_deadline_is_near(&deadline, 980, 0, false));
    assert_false(dl_deadline_is_near(&deadline, 978.5, 0, false));
    assert_true(dl_deadline_is_near(&deadline, 950, 20, false)); /* and half as much again as a save */
    assert_false(dl_deadline_is_near(&deadline, 948.5, 20, false));
    deadline.evaluation_steps = 5; /* none was measured yet: no batch takes longer than a step */
    assert_true(dl_deadline_is_near(&deadline, 930, 0, true));
    assert_false(dl_deadline_is_near(&deadline, 928.5, 0, true));
    assert_false(dl_deadline_is_near(&deadline, 930, 0, false));
    deadline.evaluation = 100;
    assert_true(dl_deadline_is_near(&deadline, 880, 0, true));
    assert_false(dl_deadline_is_near(&deadline, 880, 0, false));
    for (int i = 0; i < 100; i++) { /* a long step long ago */
        dl_deadline_note_step(&deadline, 0.001);
    }
    assert_true(deadline.step >= 0.001 && deadline.step < 0.01);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits),
        cmocka_unit_test(the_earlier_counts),
        cmocka_unit_test(what_is_left_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
