/* What a person sees: the text of every line, the live line, silence after a closed pipe. */
#define _GNU_SOURCE
#include "base/text.h"
#include "train/console.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
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
static double now;

static double clock_of_test(void) {
    return now;
}

static int set_up(void **state) {
    (void)state;
    now = 1000;
    (void)snprintf(path, sizeof path, "/tmp/dltrain-console-XXXXXX");
    fd = mkstemp(path);
    return fd >= 0 ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return close(fd) | unlink(path);
}

static dl_console *open_console(bool live, int width) {
    dl_console *console = NULL;
    const dl_console_options options = {
        .fd = fd, .live = live, .width = width, .interval = 5, .clock = clock_of_test};
    assert_int_equal(dl_console_create(&options, names, 1, &console), DL_OK);
    return console;
}

/* What was written since the last call. */
static void expect_written(const char *expected) {
    dl_text text = {0};
    assert_int_equal(dl_file_read(path, 100000, &text), DL_OK);
    assert_string_equal(text.data, expected);
    dl_text_free(&text);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
}

static const dl_step_report step_report = {.epoch = 1,
                                           .step = 312,
                                           .samples = 39936,
                                           .train = {.present = true, .loss = 0.19124, .metric = {0.941}},
                                           .samples_per_s = 11203.4};
static const dl_bar bar = {.epoch = 1, .epochs = 5, .step = 312, .steps = 469, .seconds_left = 14.2};

static void the_banner(void **state) {
    (void)state;
    dl_console *console = open_console(false, 0);
    dl_banner banner = {.ranks = 2,
                        .hosts = 1,
                        .backend = "cpu",
                        .backend_version = "oneDNN 2.6",
                        .threads = 1,
                        .grid = "data=2",
                        .model = "mnist_cnn",
                        .parameters = 93322,
                        .trainable = 93322,
                        .flop_per_sample = 16.4e6,
                        .data = "mnist",
                        .train_samples = 60000,
                        .test_samples = 10000,
                        .n_memory = 2,
                        .memory = {{"parameters", 400 << 10}, {"activations", 32 << 20}}};
    dl_console_banner(console, &banner);
    expect_written("dltrain " DLTRAIN_VERSION
                   "  2 ranks on 1 host  cpu (oneDNN 2.6, 1 thread per rank)  grid data=2\n"
                   "model   mnist_cnn   93,322 parameters   16.4 MFLOP per training sample\n"
                   "data    mnist       60,000 train, 10,000 test\n"
                   "memory  32 MiB per rank (parameters 0.4, activations 32.0)\n");
    banner.ranks = 3;
    banner.hosts = 2;
    banner.host_names = "h1 (1 rank), h2 (2 ranks)";
    banner.most_threads = 2;
    banner.n_memory = 0;
    banner.precision = "bfloat16";
    banner.precision_note = "slowly";
    dl_console_banner(console, &banner);
    expect_written("dltrain " DLTRAIN_VERSION
                   "  3 ranks on 2 hosts  cpu (oneDNN 2.6, 1 to 2 threads per rank)  grid data=2\n"
                   "hosts   h1 (1 rank), h2 (2 ranks)\n"
                   "types   bfloat16: slowly\n"
                   "model   mnist_cnn   93,322 parameters   16.4 MFLOP per training sample\n"
                   "data    mnist       60,000 train, 10,000 test\n");
    banner = (dl_banner){.ranks = 1,
                         .hosts = 1,
                         .backend = "ref",
                         .backend_version = "",
                         .threads = 4,
                         .grid = "data=1",
                         .model = "m",
                         .parameters = 1000,
                         .trainable = 10,
                         .data = "digits",
                         .train_samples = 54000,
                         .valid_samples = 6000};
    dl_console_banner(console, &banner);
    expect_written("dltrain " DLTRAIN_VERSION "  1 rank on 1 host  ref (4 threads per rank)  grid data=1\n"
                   "model   m        1,000 parameters (10 trainable)\n"
                   "data    digits   54,000 train, 6,000 valid\n");
    dl_console_destroy(&console);
}

static void plain_lines_come_now_and_then(void **state) {
    (void)state;
    dl_console *console = open_console(false, 0);
    const char *line = "epoch 1/5  step 312/469  loss 0.1912  acc 0.941  11,203 samples/s  eta 0:14\n";
    assert_true(dl_console_due(console));
    dl_console_step(console, &bar, &step_report);
    expect_written(line);
    now += 4.9;
    assert_false(dl_console_due(console));
    dl_console_step(console, &bar, &step_report);
    expect_written("");
    now += 0.2;
    dl_console_step(console, &bar, &step_report);
    expect_written(line);
    dl_console_progress(console, "evaluating test", 1, 2);
    expect_written("");
    dl_console_destroy(&console);
    expect_written("");
}

static void the_live_line(void **state) {
    (void)state;
    dl_console *console = open_console(true, 100);
    dl_console_step(console, &bar, &step_report);
    expect_written("\repoch 1/5 [=================>         ] 312/469  loss 0.1912  acc 0.941  "
                   "11,203 samples/s  eta 0:14\033[K");
    now += 0.05;
    dl_console_step(console, &bar, &step_report);
    expect_written("");
    dl_console_note(console, "said in %s", "between");
    expect_written("\r\033[Ksaid in between\n");
    now += 0.06;
    dl_console_progress(console, "evaluating test", 79, 79);
    expect_written("\revaluating test [=============================>] 79/79\033[K");
    dl_console_destroy(&console);
    expect_written("\r\033[K");
}

static void colour_changes_no_column(void **state) {
    (void)state;
    dl_console *console = NULL;
    const dl_console_options options = {
        .fd = fd, .live = true, .color = true, .width = 21, .clock = clock_of_test};
    assert_int_equal(dl_console_create(&options, names, 1, &console), DL_OK);
    dl_console_progress(console, "test", 1, 2);
    expect_written("\rtest \033[32m[====>    ]\033[0m 1/2\033[K");
    dl_console_destroy(&console);
}

static void a_narrow_terminal_does_not_wrap(void **state) {
    (void)state;
    for (int width = 1; width < 120; width++) {
        dl_console *console = open_console(true, width);
        dl_console_step(console, &bar, &step_report);
        dl_text text = {0};
        assert_int_equal(dl_file_read(path, 100000, &text), DL_OK);
        const int columns = (int)text.size - (int)strlen("\r\033[K");
        assert_true(columns >= 1 && columns <= (width > 1 ? width - 1 : 1));
        dl_text_free(&text);
        dl_console_destroy(&console);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    }
}

static void an_epoch_and_the_end(void **state) {
    (void)state;
    dl_console *console = open_console(false, 0);
    const dl_epoch_report epoch = {.epoch = 1,
                                   .step = 469,
                                   .samples = 60000,
                                   .train = {.present = true, .loss = 0.2107, .metric = {0.9352}},
                                   .valid = {.present = true, .loss = 0.0624, .metric = {0.9801}},
                                   .samples_per_s = 10790,
                                   .seconds = 5.7};
    dl_console_epoch(console, 5, &epoch);
    expect_written(
        "epoch 1/5  loss 0.2107  acc 0.9352  valid loss 0.0624  valid acc 0.9801  10,790 samples/s  "
        "after 5.7 s\n");
    dl_closing closing = {.what = "done",
                          .end = {.epoch = 5,
                                  .step = 2345,
                                  .samples = 300000,
                                  .test = {.present = true, .loss = 0.000301, .metric = {0.9903}},
                                  .seconds = 3725,
                                  .weights = "5b000000000000000000000000000001"},
                          .samples_per_s = 80.53,
                          .data_wait = 0.0041,
                          .run_dir = "runs/mnist_cnn",
                          .next = "dltrain eval runs/mnist_cnn"};
    dl_console_close(console, &closing);
    expect_written("done: 5 epochs, 2,345 steps, 300,000 samples in 1:02:05  80.5 samples/s  "
                   "0.4 % of the time waiting for data\n"
                   "test:  loss 3.010e-04  acc 0.9903\n"
                   "results: runs/mnist_cnn (weights.h5, metrics.jsonl, config.yaml, log.txt)\n"
                   "next: dltrain eval runs/mnist_cnn\n"
                   "weights 5b000000000000000000000000000001\n");
    closing = (dl_closing){.what = "stopped by signal 15",
                           .end = {.epoch = 1, .step = 1, .samples = 128, .seconds = 1.04},
                           .run_dir = "runs/x"};
    dl_console_close(console, &closing);
    expect_written(
        "stopped by signal 15: 1 epoch, 1 step, 128 samples in 1.0 s  0.0 % of the time waiting for data\n"
        "results: runs/x (weights.h5, metrics.jsonl, config.yaml, log.txt)\n");
    dl_console_destroy(&console);
}

static void a_closed_pipe_ends_the_showing_only(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_ptr_not_equal(signal(SIGPIPE, SIG_IGN), SIG_ERR);
    assert_int_equal(close(ends[0]), 0);
    const dl_console_options options = dl_console_options_for(ends[1]);
    assert_false(options.live || options.color);
    dl_console *console = NULL;
    assert_int_equal(dl_console_create(&options, names, 1, &console), DL_OK);
    assert_false(dl_console_failed(console));
    dl_console_note(console, "nobody reads this");
    assert_true(dl_console_failed(console));
    assert_false(dl_console_due(console));
    dl_console_step(console, &bar, &step_report);
    dl_console_destroy(&console);
    (void)close(ends[1]);
}

static void no_console_is_fine(void **state) {
    (void)state;
    dl_console *none = NULL;
    const dl_banner banner = {.backend = "ref", .backend_version = "", .grid = "", .model = "", .data = ""};
    const dl_closing closing = {.what = "done", .run_dir = "x"};
    dl_console_banner(none, &banner);
    dl_console_note(none, "text");
    assert_false(dl_console_due(none));
    dl_console_step(none, &bar, &step_report);
    dl_console_progress(none, "x", 1, 2);
    dl_console_epoch(none, 1, &(dl_epoch_report){.epoch = 1});
    dl_console_close(none, &closing);
    assert_false(dl_console_failed(none));
    dl_console_destroy(&none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_banner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_lines_come_now_and_then, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_live_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(colour_changes_no_column, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_narrow_terminal_does_not_wrap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_epoch_and_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_closed_pipe_ends_the_showing_only, set_up, tear_down),
        cmocka_unit_test(no_console_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
