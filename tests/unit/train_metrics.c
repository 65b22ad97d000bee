/* metrics.jsonl: every kind of line, key by key. */
#define _GNU_SOURCE
#include "base/text.h"
#include "train/metrics.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[] = {"accuracy"};
static char path[64];
static int fd = -1;
static dl_metrics *metrics;

static int set_up(void **state) {
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/dltrain-metrics-XXXXXX");
    fd = mkstemp(path);
    return fd >= 0 && dl_metrics_create(fd, path, names, 1, false, &metrics) == DL_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    dl_metrics_destroy(&metrics);
    return close(fd) | unlink(path);
}

/* The file with the value of every "t" taken out. */
static void expect_lines(const char *expected) {
    dl_text text = {0};
    assert_int_equal(dl_file_read(path, 100000, &text), DL_OK);
    char *to = text.data;
    for (const char *from = text.data; *from != '\0';) {
        *to++ = *from++;
        if (to - text.data >= 4 && memcmp(to - 4, "\"t\":", 4) == 0) {
            char *end = NULL;
            assert_true(strtod(from, &end) > 1.7e9);
            from = end;
        }
    }
    *to = '\0';
    assert_string_equal(text.data, expected);
    dl_text_free(&text);
}

static void all_kinds(void **state) {
    (void)state;
    const dl_start_report start = {
        .ranks = 2, .threads = 1, .backend = "cpu", .parameters = 93322, .config_digest = "9f"};
    const dl_step_report step = {.epoch = 1,
                                 .step = 100,
                                 .samples = 12800,
                                 .train = {.present = true, .loss = 0.1 + 0.2, .metric = {0.8719}},
                                 .learning_rate = 0.001,
                                 .step_ms = 11.90049,
                                 .samples_per_s = 10756.04,
                                 .data_wait = 0.00404,
                                 .seconds = 1.3101};
    const dl_epoch_report epoch = {.epoch = 1,
                                   .step = 469,
                                   .samples = 60000,
                                   .train = {.present = true, .loss = 0.2107, .metric = {0.9352}},
                                   .valid = {.present = true, .loss = 0.0624, .metric = {0.9801}},
                                   .samples_per_s = 10790,
                                   .data_wait = 0.004,
                                   .seconds = 5.7};
    const dl_end_report end = {.epoch = 5,
                               .step = 2345,
                               .samples = 300000,
                               .test = {.present = true, .loss = 0.0301, .metric = {0.9903}},
                               .seconds = 30.2,
                               .weights = "5b"};
    assert_int_equal(dl_metrics_start(metrics, &start), DL_OK);
    assert_int_equal(dl_metrics_step(metrics, &step), DL_OK);
    assert_int_equal(dl_metrics_epoch(metrics, &epoch), DL_OK);
    assert_int_equal(dl_metrics_end(metrics, &end), DL_OK);
    expect_lines(
        "{\"v\":1,\"kind\":\"start\",\"t\":,\"version\":\"" DLTRAIN_VERSION "\",\"ranks\":2,\"threads\":1,"
        "\"backend\":\"cpu\",\"parameters\":93322,\"config_digest\":\"9f\"}\n"
        "{\"v\":1,\"kind\":\"step\",\"t\":,\"epoch\":1,\"step\":100,\"samples\":12800,"
        "\"loss\":0.30000000000000004,\"accuracy\":0.8719,\"lr\":0.001,\"step_ms\":11.9,"
        "\"samples_per_s\":10756,\"data_wait\":0.004,\"seconds\":1.31}\n"
        "{\"v\":1,\"kind\":\"epoch\",\"t\":,\"epoch\":1,\"step\":469,\"samples\":60000,\"loss\":0.2107,"
        "\"accuracy\":0.9352,\"valid_loss\":0.0624,\"valid_accuracy\":0.9801,\"samples_per_s\":10790,"
        "\"data_wait\":0.004,\"seconds\":5.7}\n"
        "{\"v\":1,\"kind\":\"end\",\"t\":,\"epoch\":5,\"step\":2345,\"samples\":300000,\"test_loss\":0.0301,"
        "\"test_accuracy\":0.9903,\"seconds\":30.2,\"weights\":\"5b\"}\n");
}

static void a_norm_that_was_measured(void **state) {
    (void)state;
    const double norm = 0.1 + 0.2;
    const dl_step_report step = {
        .epoch = 1, .step = 2, .samples = 3, .learning_rate = 0.5, .gradient_norm = &norm};
    assert_int_equal(dl_metrics_step(metrics, &step), DL_OK);
    expect_lines(
        "{\"v\":1,\"kind\":\"step\",\"t\":,\"epoch\":1,\"step\":2,\"samples\":3,\"lr\":0.5,"
        "\"grad_norm\":0.30000000000000004,\"step_ms\":0,\"samples_per_s\":0,\"data_wait\":0,\"seconds\":0}\n");
}

static void skipped_steps(void **state) {
    (void)state;
    const dl_skip_report report = {.epoch = 1, .step = 2, .samples = 3, .in_row = 4, .where = "the loss"};
    const dl_end_report last = {.epoch = 1, .step = 2, .samples = 3, .skipped = 1};
    assert_int_equal(dl_metrics_inject(metrics, "nan@rank=1,step=2"), DL_OK);
    assert_int_equal(dl_metrics_skip(metrics, &report), DL_OK);
    assert_int_equal(dl_metrics_end(metrics, &last), DL_OK);
    expect_lines("{\"v\":1,\"kind\":\"inject\",\"t\":,\"what\":\"nan@rank=1,step=2\"}\n"
                 "{\"v\":1,\"kind\":\"skip\",\"t\":,\"epoch\":1,\"step\":2,\"samples\":3,\"in_row\":4,"
                 "\"where\":\"the loss\"}\n"
                 "{\"v\":1,\"kind\":\"end\",\"t\":,\"epoch\":1,\"step\":2,\"samples\":3,\"skipped\":1,"
                 "\"seconds\":0}\n");
}

static void absent_and_not_finite(void **state) {
    (void)state;
    const dl_epoch_report epoch = {
        .epoch = 1, .step = 2, .samples = 3, .train = {.present = true, .loss = NAN, .metric = {INFINITY}}};
    assert_int_equal(dl_metrics_epoch(metrics, &epoch), DL_OK);
    expect_lines("{\"v\":1,\"kind\":\"epoch\",\"t\":,\"epoch\":1,\"step\":2,\"samples\":3,\"loss\":null,"
                 "\"accuracy\":null,\"samples_per_s\":0,\"data_wait\":0,\"seconds\":0}\n");
}

static void a_full_disk_is_said(void **state) {
    (void)state;
    const int full = open("/dev/full", O_WRONLY);
    if (full < 0) {
        skip();
    }
    dl_metrics *there = NULL;
    assert_int_equal(dl_metrics_create(full, "runs/x/metrics.jsonl", names, 1, false, &there), DL_OK);
    const dl_step_report step = {.epoch = 1};
    assert_int_equal(dl_metrics_step(there, &step), DL_ERR_IO);
    assert_non_null(strstr(dl_error_last()->message, "runs/x/metrics.jsonl"));
    dl_metrics_destroy(&there);
    (void)close(full);
}

/* Lines that found no room are written, in order, when there is some. */
static void a_full_disk_is_waited_for(void **state) {
    (void)state;
    const int full = open("/dev/full", O_WRONLY), room = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    if (full < 0 || room < 0) {
        skip();
    }
    char text[4096] = "";
    dl_metrics *there = NULL;
    assert_int_equal(dl_metrics_create(full, "runs/x/metrics.jsonl", names, 1, true, &there), DL_OK);
    for (int i = 1; i <= 3; i++) {
        const dl_step_report step = {.epoch = 1, .step = i};
        assert_int_equal(dl_metrics_step(there, &step), DL_OK);
        assert_true(i < 2 || dup2(i == 2 ? room : full, full) == full);
    }
    assert_true(pread(room, text, sizeof text - 1, 0) > 0);
    const char *first = strstr(text, "\"step\":1,"), *third = strstr(text, "\"step\":3,");
    assert_true(first != NULL && third > first && strstr(text, "\"step\":2,") > first);
    assert_true(text[strlen(text) - 1] == '\n');
    const int again = open("/dev/full", O_WRONLY);
    assert_int_equal(dup2(again, full), full);
    const dl_end_report last = {.epoch = 1};
    assert_int_equal(dl_metrics_end(there, &last), DL_ERR_IO); /* nothing comes behind it */
    dl_metrics_destroy(&there);
    (void)close(again);
    (void)close(room);
    (void)close(full);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_kinds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_norm_that_was_measured, set_up, tear_down),
        cmocka_unit_test_setup_teardown(skipped_steps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(absent_and_not_finite, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_for, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
