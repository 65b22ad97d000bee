/* The lock of a run directory: one holder at a time, named to others, gone with its process. */
#define _GNU_SOURCE
#include "data_support.h"
#include "train/run_dir.h"
#include "train/run_lock.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A process that takes the lock and waits to be killed. */
static pid_t start_holder(const char *folder) {
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        dl_run_lock *lock = NULL;
        if (dl_run_lock_take(folder, &lock) != DL_OK || write(ready[1], "y", 1) != 1) {
            _exit(1);
        }
        for (;;) {
            (void)pause();
        }
    }
    assert_true(child > 0);
    assert_int_equal(close(ready[1]), 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(close(ready[0]), 0);
    return child;
}

static void killed_holder(void **state) {
    dl_run_lock *lock = NULL;
    char wanted[200], host[100] = "";
    int status = 0;
    const pid_t child = start_holder(*state);
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(wanted, sizeof wanted, "(process %ld on host %s)", (long)child, host);
    assert_error(dl_run_lock_take(*state, &lock), DL_ERR_USAGE, wanted);
    assert_null(lock);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_ok(dl_run_lock_take(*state, &lock));
    dl_run_lock_release(&lock);
    assert_null(lock);
    assert_ok(dl_run_lock_take(*state, &lock));
    dl_run_lock_release(&lock);
}

/* A run directory is locked and private, also one that was there. */
static void run_directory(void **state) {
    dl_run_dir *run = NULL, *second = NULL;
    dl_run_lock *lock = NULL;
    struct stat info;
    assert_int_equal(chmod(*state, 0777), 0);
    assert_ok(dl_run_dir_create(*state, "", false, &run));
    assert_int_equal(stat(*state, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0750);
    assert_error(dl_run_dir_create(*state, "", false, &second), DL_ERR_USAGE, "another run is going on");
    dl_run_dir_close(&run);
    assert_ok(dl_run_lock_take(*state, &lock)); /* which nobody has any more */
    dl_run_lock_release(&lock);
}

/* Who opened the lock file of a directory that was moved away meanwhile has locked another run. */
static void moved_away(void **state) {
    char earlier[100];
    dl_run_lock *held = NULL;
    dl_run_dir *run = NULL, *second = NULL;
    assert_ok(dl_run_dir_create(*state, "", false, &run));
    dl_run_dir_close(&run);
    (void)snprintf(earlier, sizeof earlier, "%s.1", (const char *)*state);
    assert_ok(dl_run_lock_take(*state, &held)); /* as another job that is about to move it */
    assert_error(dl_run_dir_create(*state, "", false, &second), DL_ERR_USAGE, "another run is going on");
    assert_int_not_equal(access(earlier, F_OK), 0);
    dl_run_lock_release(&held);
    assert_ok(dl_run_dir_create(*state, "", false, &run));
    assert_int_equal(access(earlier, F_OK), 0);
    assert_error(dl_run_lock_take(*state, &held), DL_ERR_USAGE, "another run is going on");
    assert_ok(dl_run_lock_take(earlier, &held)); /* which nobody has any more */
    dl_run_lock_release(&held);
    dl_run_dir_close(&run);
    char *const folder = earlier;
    assert_int_equal(remove_folder((void **)&folder), 0);
}

/* A link in the place of the lock file is not followed. */
static void link_in_the_way(void **state) {
    dl_run_lock *lock = NULL;
    assert_int_equal(symlink("/tmp/dltrain-no-such-file", path_in(*state, "lock")), 0);
    assert_error(dl_run_lock_take(*state, &lock), DL_ERR_IO, "cannot create");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(killed_holder),
        TEST(run_directory),
        TEST(moved_away),
        TEST(link_in_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
