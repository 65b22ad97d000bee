/* Timing operations on a machine where others run, too. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "program/choose.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SHORT = 1, LONG = 20 }; /* milliseconds */

static int n_runs, disturbed; /* which run others make long; -1: none */
static int failing;           /* runs of so many milliseconds fail; 0: none, -1: all */
static bool has_failed;

static dl_status run(const dl_op *op, void *const *slots, dl_stream *stream) {
    (void)slots;
    (void)stream;
    const int ms = n_runs++ == disturbed ? LONG : op->desc.algorithm;
    has_failed = failing == -1 || op->desc.algorithm == failing;
    DL_RETURN_ERROR_IF(has_failed, DL_ERR_INTERNAL, "no, at %d", ms);
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

/* --- algorithms --- */

/* The second, by way of a transform, is the fastest, the third the faster of the others. */
static const struct {
    const char *name;
    int ms;
} algorithms[] = {{"direct", 3}, {"winograd:engine 6", 1}, {"engine 7", 2}};

static int n_prepared;
static int64_t samples_prepared;

static void destroy(dl_op *op) {
    free(op);
}

static const dl_op_functions owned = {.run = run, .destroy = destroy};

static dl_status prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    **out = (dl_op){.functions = &owned, .device = device, .desc = *desc};
    (*out)->desc.algorithm = algorithms[desc->algorithm].ms; /* what run() sleeps */
    n_prepared++;
    samples_prepared = dl_op_samples(desc);
    return DL_OK;
}

static bool takes(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    (void)desc;
    return true;
}

static int n_algorithms(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    (void)desc;
    return (int)(sizeof algorithms / sizeof algorithms[0]);
}

static const char *algorithm_name(const dl_device *device, const dl_op_desc *desc, int algorithm) {
    (void)device;
    (void)desc;
    return algorithms[algorithm].name;
}

static dl_status memory_create(dl_device *device, size_t n_bytes, void **out) {
    (void)device;
    return dl_alloc(1, n_bytes, out);
}

static void memory_destroy(dl_device *device, void *memory, size_t n_bytes) {
    (void)device;
    (void)n_bytes;
    dl_free(&memory);
}

static const dl_backend sleeping = {.name = "sleeping",
                                    .takes = takes,
                                    .prepare = prepare,
                                    .memory_create = memory_create,
                                    .memory_destroy = memory_destroy,
                                    .n_algorithms = n_algorithms,
                                    .algorithm_name = algorithm_name};

static const dl_layout *layout_with_samples(dl_device *device, const dl_layout *layout, int64_t n_samples) {
    (void)device;
    (void)n_samples;
    return layout;
}

static const dl_backend shortening = {.name = "shortening",
                                      .takes = takes,
                                      .prepare = prepare,
                                      .memory_create = memory_create,
                                      .memory_destroy = memory_destroy,
                                      .layout_with_samples = layout_with_samples};

/* Samples of the convolution that is measured for 32 images of `size` x `size` with as many channels before
 * and behind. */
static int64_t samples_measured(int64_t size, int64_t channels) {
    dl_device device = {.backend = &shortening, .n_threads = 1};
    const dl_tensor_desc image = {
        .present = true, .dtype = DL_F32, .shape = DL_SHAPE(32, size, size, channels)};
    const dl_tensor_desc weights = {
        .present = true, .dtype = DL_F32, .shape = DL_SHAPE(channels, channels, 3, 3)};
    const dl_op_desc desc = {.kind = DL_OP_CONV2D_FORWARD,
                             .attr.u.conv = {.stride = {1, 1}, .padding = {1, 1, 1, 1}, .groups = 1},
                             .slot = {image, weights, {.present = false}, image}};
    double seconds = 0;
    int chosen = -1;
    disturbed = -1;
    assert_int_equal(dl_measure_operation(&device, &desc, false, &seconds, &chosen), DL_OK);
    return samples_prepared;
}

/* Both are 2.4 GFLOP; the second reads 9 MB of weights for 2 MB of images. */
static void fewer_samples_where_weights_do_not_count(void **state) {
    (void)state;
    assert_int_equal(samples_measured(32, 64), 8);
    assert_int_equal(samples_measured(4, 512), 32);
    assert_int_equal(samples_measured(8, 512), 8); /* 9.7 GFLOP */
    assert_int_equal(samples_measured(4, 16), 32);
}

/* Which algorithm is taken; -1: none, an error. */
static int chosen(const dl_backend *backend, bool direct) {
    dl_device device = {.backend = backend, .n_threads = 1};
    const dl_tensor_desc image = {.present = true, .dtype = DL_F32, .shape = DL_SHAPE(2, 4, 4, 1)};
    const dl_tensor_desc weights = {.present = true, .dtype = DL_F32, .shape = DL_SHAPE(1, 1, 1, 1)};
    const dl_op_desc desc = {.kind = DL_OP_CONV2D_FORWARD,
                             .attr.u.conv = {.stride = {1, 1}, .groups = 1},
                             .slot = {image, weights, {.present = false}, image}};
    double seconds = 0;
    int algorithm = -1;
    n_prepared = 0;
    disturbed = -1;
    return dl_measure_operation(&device, &desc, direct, &seconds, &algorithm) == DL_OK ? algorithm : -1;
}

static void transforms_are_left_out_where_sums_of_zeros_count(void **state) {
    (void)state;
    assert_int_equal(chosen(&sleeping, false), 1);
    assert_int_equal(chosen(&sleeping, true), 2);
    assert_int_equal(n_prepared, 2);
}

static dl_status end_of_device(dl_device *device, dl_stream *stream) {
    (void)device;
    (void)stream;
    DL_RETURN_ERROR_IF(has_failed, DL_ERR_INTERNAL, "the device is lost");
    return DL_OK;
}

/* As long as one runs and the device goes on. */
static void algorithms_that_fail_are_left_out(void **state) {
    (void)state;
    static const dl_stream_functions streams = {.synchronize = end_of_device};
    dl_backend lost = sleeping;
    lost.streams = &streams;
    failing = algorithms[1].ms;
    assert_int_equal(chosen(&sleeping, false), 2);
    assert_int_equal(chosen(&lost, false), -1);
    assert_non_null(strstr(dl_error_last()->message, "no, at 1"));
    failing = -1;
    assert_int_equal(chosen(&sleeping, false), -1);
    assert_non_null(strstr(dl_error_last()->message, "no, at 2"));
    failing = 0;
}

/* --- devices that run() only tells what to do --- */

static int n_queued;

static dl_status enqueue(const dl_op *op, void *const *slots, dl_stream *stream) {
    (void)op;
    (void)slots;
    (void)stream;
    n_queued++;
    return DL_OK;
}

static dl_status synchronize(dl_device *device, dl_stream *stream) {
    (void)device;
    (void)stream;
    for (; n_queued > 0; n_queued--) {
        (void)nanosleep(&(struct timespec){.tv_nsec = SHORT * 1000000L}, NULL);
    }
    return DL_OK;
}

/* What counts is when runs are done, not when they are told. */
static void queued_runs_are_waited_for(void **state) {
    (void)state;
    static const dl_stream_functions streams = {.synchronize = synchronize};
    static const dl_backend queueing = {.name = "queueing", .streams = &streams};
    static const dl_op_functions queued = {.run = enqueue};
    dl_device device = {.backend = &queueing};
    const dl_op op = {.functions = &queued, .device = &device};
    double seconds = 0;
    assert_int_equal(dl_measure_runs(&op, NULL, &seconds), DL_OK);
    assert_int_equal(n_queued, 0);
    assert_true(seconds >= 1e-3 * SHORT && seconds < 1e-3 * LONG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_slow_run_does_not_count),
        cmocka_unit_test(long_runs_are_few),
        cmocka_unit_test(queued_runs_are_waited_for),
        cmocka_unit_test(fewer_samples_where_weights_do_not_count),
        cmocka_unit_test(transforms_are_left_out_where_sums_of_zeros_count),
        cmocka_unit_test(algorithms_that_fail_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
