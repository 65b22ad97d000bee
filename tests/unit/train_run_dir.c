/* The run directory: made, an earlier run moved away, other people's files left alone. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "base/text.h"
#include "train/resume.h"
#include "train/run_dir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], where[128];

static int set_up(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/dltrain-run-dir-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(where, sizeof where, "%s/runs/net", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *path_of(const char *name) {
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void expect_content(const char *name, const char *content) {
    dl_text text = {0};
    assert_int_equal(dl_file_read(path_of(name), 10000, &text), DL_OK);
    assert_string_equal(text.data, content);
    dl_text_free(&text);
}

static void put_file(const char *name) {
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_true(fputs("mine\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_and_close(void) {
    dl_run_dir *run = NULL;
    assert_int_equal(dl_run_dir_create(where, "seed: 1\n", false, &run), DL_OK);
    dl_run_dir_close(&run);
    assert_null(run);
}

static void a_new_directory(void **state) {
    (void)state;
    dl_run_dir *run = NULL;
    char with_slash[160], file[256];
    (void)snprintf(with_slash, sizeof with_slash, "%s//", where);
    assert_int_equal(dl_run_dir_create(with_slash, "seed: 1\n", true, &run), DL_OK);
    assert_string_equal(dl_run_dir_path(run), where);
    assert_null(dl_run_dir_moved_to(run));
    struct stat info;
    assert_int_equal(stat(where, &info), 0);
    assert_int_equal(info.st_mode & 07777 & ~0750u, 0);
    expect_content("runs/net/config.yaml", "seed: 1\n");
    expect_content("runs/net/status.json",
                   "{\"state\":\"running\",\"exit\":0,\"step\":0,\"message\":\"\"}\n");
    expect_content("runs/net/metrics.jsonl", "");
    assert_true(dl_run_dir_log_fd(run) >= 0);
    assert_int_equal(write(dl_run_dir_metrics_fd(run), "{}\n", 3), 3);
    expect_content("runs/net/metrics.jsonl", "{}\n");
    assert_int_equal(dl_run_dir_file(run, "weights.h5", file, sizeof file), DL_OK);
    assert_string_equal(file, path_of("runs/net/weights.h5"));

    assert_int_equal(dl_run_status_write(dl_run_dir_status(run), DL_RUN_FAILED, 77, 12, "loss is \"NaN\"\n"),
                     DL_OK);
    expect_content("runs/net/status.json",
                   "{\"state\":\"failed\",\"exit\":77,\"step\":12,\"message\":\"loss is \\\"NaN\\\"\\n\"}\n");

    assert_int_equal(dl_run_dir_audit(run, "train", 1, 7, (const int64_t[]){5, 0, 3}, 3), DL_OK);
    assert_int_equal(dl_run_dir_audit(run, "test", 2, 8, NULL, 0), DL_OK);
    expect_content("runs/net/audit.rank00000.jsonl",
                   "{\"split\":\"train\",\"epoch\":1,\"step\":7,\"ids\":[5,0,3]}\n"
                   "{\"split\":\"test\",\"epoch\":2,\"step\":8,\"ids\":[]}\n");

    dl_run_dir *other = NULL;
    assert_int_equal(dl_run_dir_join(where, 3, true, &other), DL_OK);
    assert_int_equal(dl_run_dir_metrics_fd(other), -1);
    assert_int_equal(dl_run_dir_audit(other, "train", 1, 7, (const int64_t[]){9}, 1), DL_OK);
    expect_content("runs/net/audit.rank00003.jsonl",
                   "{\"split\":\"train\",\"epoch\":1,\"step\":7,\"ids\":[9]}\n");
    dl_run_dir_close(&other);
    dl_run_dir_close(&run);
}

static void without_audit_nothing_is_written(void **state) {
    (void)state;
    dl_run_dir *run = NULL;
    assert_int_equal(dl_run_dir_create(where, "", false, &run), DL_OK);
    assert_int_equal(dl_run_dir_audit(run, "train", 1, 7, (const int64_t[]){5}, 1), DL_OK);
    assert_false(dl_file_exists(path_of("runs/net/audit.rank00000.jsonl")));
    dl_run_dir_close(&run);
}

static void earlier_runs_are_numbered(void **state) {
    (void)state;
    make_and_close();
    dl_run_dir *run = NULL;
    for (int i = 1; i <= 3; i++) {
        char expected[160];
        (void)snprintf(expected, sizeof expected, "%s.%d", where, i);
        assert_int_equal(dl_run_dir_create(where, "seed: 2\n", false, &run), DL_OK);
        assert_string_equal(dl_run_dir_moved_to(run), expected);
        dl_run_dir_close(&run);
    }
    expect_content("runs/net.1/config.yaml", "seed: 1\n");
    expect_content("runs/net.2/config.yaml", "seed: 2\n");
    expect_content("runs/net/config.yaml", "seed: 2\n");
}

static void a_run_that_goes_on_is_not_moved(void **state) {
    (void)state;
    dl_run_dir *first = NULL, *second = NULL;
    assert_int_equal(dl_run_dir_create(where, "seed: 1\n", false, &first), DL_OK);
    assert_int_equal(dl_run_dir_create(where, "seed: 2\n", false, &second), DL_ERR_USAGE);
    assert_null(second);
    assert_non_null(strstr(dl_error_last()->message, "another run is going on"));
    expect_content("runs/net/config.yaml", "seed: 1\n");
    dl_run_dir_close(&first);
    assert_int_equal(dl_run_dir_create(where, "seed: 2\n", false, &second), DL_OK);
    dl_run_dir_close(&second);
}

static void an_empty_folder_is_used(void **state) {
    (void)state;
    assert_int_equal(dl_make_folders(where), DL_OK);
    dl_run_dir *run = NULL;
    assert_int_equal(dl_run_dir_create(where, "", false, &run), DL_OK);
    assert_null(dl_run_dir_moved_to(run));
    dl_run_dir_close(&run);
}

/* status.json comes first, as a file of another name that is renamed: a start may be killed in between. */
static void what_a_killed_start_leaves_bars_nothing(void **state) {
    (void)state;
    assert_int_equal(dl_make_folders(where), DL_OK);
    put_file("runs/net/lock");
    put_file("runs/net/status.json.tmp4711");
    make_and_close();
    assert_true(dl_file_exists(path_of("runs/net/status.json")));
}

static void only_a_run_that_says_so_is_done(void **state) {
    (void)state;
    assert_true(dl_run_status_done(where) == -1);
    dl_run_dir *run = NULL;
    assert_int_equal(dl_run_dir_create(where, "", false, &run), DL_OK);
    for (int i = 0; i < DL_N_RUN_STATES; i++) {
        assert_int_equal(dl_run_status_write(dl_run_dir_status(run), (dl_run_state)i, 0, 3, "done"), DL_OK);
        assert_int_equal((int)dl_run_status_done(where), i == DL_RUN_DONE ? 3 : -1);
    }
    dl_run_dir_close(&run);
    put_file("runs/net/status.json");
    assert_true(dl_run_status_done(where) == -1);
}

/* What may be the last word stands against "running", not against how the run ends after all. */
static void an_end_written_ahead(void **state) {
    (void)state;
    dl_run_dir *run = NULL;
    assert_int_equal(dl_run_dir_create(where, "", false, &run), DL_OK);
    dl_run_status *status = dl_run_dir_status(run);
    dl_run_status_note_step(status, 7);
    assert_int_equal(dl_run_status_write_ahead(status, 130, "late"), DL_OK);
    static const char ahead[] = "{\"state\":\"stopped\",\"exit\":130,\"step\":7,\"message\":\"late\"}\n";
    expect_content("runs/net/status.json", ahead);
    assert_int_equal(dl_run_status_write(status, DL_RUN_RUNNING, 0, 8, ""), DL_OK);
    expect_content("runs/net/status.json", ahead);
    assert_int_equal(dl_run_status_write(status, DL_RUN_STOPPED, 85, 9, "saved"), DL_OK);
    assert_int_equal(dl_run_status_write_ahead(status, 130, "late"), DL_OK);
    expect_content("runs/net/status.json",
                   "{\"state\":\"stopped\",\"exit\":85,\"step\":9,\"message\":\"saved\"}\n");
    dl_run_dir_close(&run);
}

static void what_is_not_a_run_stays(void **state) {
    (void)state;
    assert_int_equal(dl_make_folders(where), DL_OK);
    put_file("runs/net/config.yaml"); /* a folder with somebody's config is not a run */
    put_file("runs/net/thesis.tex");
    dl_run_dir *run = NULL;
    assert_int_equal(dl_run_dir_create(where, "", false, &run), DL_ERR_USAGE);
    assert_non_null(strstr(dl_error_last()->message, "not a run"));
    expect_content("runs/net/config.yaml", "mine\n");
    expect_content("runs/net/thesis.tex", "mine\n");
    assert_false(dl_file_exists(path_of("runs/net/log.txt")));
    assert_false(dl_file_exists(path_of("runs/net.1")));
}

static void a_file_in_the_way(void **state) {
    (void)state;
    put_file("runs");
    dl_run_dir *run = NULL;
    assert_int_equal(dl_run_dir_create(path_of("runs"), "", false, &run), DL_ERR_USAGE);
    assert_int_equal(dl_run_dir_create("", "", false, &run), DL_ERR_USAGE);
    expect_content("runs", "mine\n");
}

/* Between the look for a checkpoint and the lock another job may have saved. */
static void saved_by_another_meanwhile(void **state) {
    (void)state;
    const dl_resume none = {0}, ten = {.found = true, .step = 10, .newest = 10};
    assert_int_equal(dl_resume_is_current(where, &none), DL_OK);
    assert_int_equal(dl_make_folders(path_of("runs/net/checkpoints/step-00000010")), DL_OK);
    put_file("runs/net/checkpoints/step-00000010/manifest.json");
    assert_int_equal(dl_resume_is_current(where, &ten), DL_OK);
    assert_int_equal(dl_resume_is_current(where, &none), DL_ERR_USAGE);
    assert_non_null(strstr(dl_error_last()->message, "was of step 0 and is now of step 10"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_audit_nothing_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(earlier_runs_are_numbered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_that_goes_on_is_not_moved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_folder_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_killed_start_leaves_bars_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_a_run_that_says_so_is_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_end_written_ahead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_a_run_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(saved_by_another_meanwhile, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
