/* Unit tests of checkpoints in a folder of their own, and what happens to files there. */
#ifndef DLTRAIN_TESTS_CHECKPOINT_FOLDER_H
#define DLTRAIN_TESTS_CHECKPOINT_FOLDER_H

#include "checkpoint_support.h"
#include "data_support.h"

#include <fcntl.h>
#include <unistd.h>

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

static inline const char *folder_of(void **state) {
    return path_in(*state, "checkpoints");
}

static inline const char *step_path(void **state, int64_t step, const char *file) {
    char name[128];
    (void)snprintf(name, sizeof name, "checkpoints/step-%08lld%s%s", (long long)step,
                   file[0] != '\0' ? "/" : "", file);
    return path_in(*state, name);
}

/* Changes one byte of a file. */
static inline void damage(const char *path, int64_t at) {
    char byte = 0;
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (char)(byte ^ 0x10);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

static inline void put_file(const char *path, const char *content) {
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    assert_true(fputs(content, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
}

#endif
