/* Timing operations on a machine where others run, too. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "program/choose.h"

#include <time.h>

enum { SHORT = 1, LONG = 20 }; /* milliseconds */

static int n_runs, disturbed; /* which run others make long; -1: none */

static dl_status run(const dl_op *op, void *const *slots, dl_stream *stream) {
    (void)slots;
    (void)stream;
    const int ms = n_runs++ == disturbed ? LONG : op->desc.algorithm;
    (void)nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
    return DL_OK;
}

static const dl_op_functions functions = {.run = run};

static double measured(int ms, int disturbed_run) {
    dl_device device = {.backend = dl_backend_find("ref")}; /* which runs at once */
    const dl_op op = {.functions = &functions, .device = &device, .desc.algorithm = ms};
    double seconds = 0;
    n_runs = 0;
    disturbed = disturbed_run;
    assert_int_equal(dl_measure_runs(&op, NULL, &seconds), DL_OK);
    return seconds;
}

/* Whichever run is held up, the figure is that of the others. */
static void one_slow_run_does_not_count(void **state) {
    (void)state;
    for (int slow = -1; slow < 6; slow++) {
        const double seconds = measured(SHORT, slow);
        assert_true(seconds >= 1e-3 * SHORT && seconds < 1e-3 * LONG);
    }
}

/* Long ones that agree are not run for nothing: once to warm up, twice for the figure. */
static void long_runs_are_few(void **state) {
    (void)state;
    const double seconds = measured(LONG, -1);
    assert_true(seconds >= 1e-3 * LONG);
    assert_true(n_runs >= 3 && n_runs <= 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_slow_run_does_not_count),
        cmocka_unit_test(long_runs_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
