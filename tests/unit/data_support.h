/* What the tests of data sets share: a folder that goes away, small shards, a Python with h5py. */
#ifndef DLTRAIN_TESTS_DATA_SUPPORT_H
#define DLTRAIN_TESTS_DATA_SUPPORT_H

#include "base/text.h"
#include "datasets/dataset.h"
#include "io/h5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if ((call) != DL_OK) {                                                                               \
            fail_msg("%s: %s", #call, dl_error_last()->message);                                             \
        }                                                                                                    \
    } while (0)

/* The call fails with this code and its message contains this text. */
#define assert_error(call, code_wanted, text)                                                                \
    do {                                                                                                     \
        assert_int_equal((call), (code_wanted));                                                             \
        if (strstr(dl_error_last()->message, (text)) == NULL) {                                              \
            fail_msg("'%s' is not in: %s", (text), dl_error_last()->message);                                \
        }                                                                                                    \
    } while (0)

static inline int make_folder(void **state) {
    static char folder[64];
    (void)snprintf(folder, sizeof folder, "/tmp/dltrain-test-XXXXXX");
    *state = mkdtemp(folder);
    return *state == NULL ? -1 : 0;
}

static inline int remove_folder(void **state) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", (const char *)*state);
    return system(command);
}

/* folder/name, in one of sixteen static buffers. */
static inline const char *path_in(const char *folder, const char *name) {
    static char path[16][256];
    static int next;
    next = (next + 1) % 16;
    (void)snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

/* Byte `position` of the sample with this number. */
static inline uint8_t pixel(int64_t sample, int64_t position) {
    return (uint8_t)(sample * 31 + position * 7);
}

/* A shard of samples first .. first+n: x uint8 [n, 3, 5, 2], y int32 = number % 7. */
static inline void write_shard(const char *path, int64_t first, int64_t n) {
    dl_h5_writer *writer = NULL;
    int x = 0, y = 0;
    assert_ok(dl_h5_writer_create(path, &writer));
    assert_ok(dl_h5_writer_dataset(writer, "/x", DL_U8, &DL_SHAPE(n, 3, 5, 2), &x));
    assert_ok(dl_h5_writer_dataset(writer, "/y", DL_I32, &DL_SHAPE(n), &y));
    assert_ok(dl_h5_writer_layout(writer));
    for (int64_t i = 0; i < n; i++) {
        uint8_t row[30];
        const int32_t label = (int32_t)((first + i) % 7);
        for (int64_t j = 0; j < 30; j++) {
            row[j] = pixel(first + i, j);
        }
        assert_ok(dl_h5_writer_write(writer, x, i * 30, row, sizeof row));
        assert_ok(dl_h5_writer_write(writer, y, i * 4, &label, sizeof label));
    }
    assert_ok(dl_h5_writer_commit(writer));
    dl_h5_writer_destroy(&writer);
}

/* A Python that has h5py ($DLTRAIN_TEST_PYTHON, python3), or NULL. */
static inline const char *python_with_h5py(void) {
    const char *const candidates[] = {getenv("DLTRAIN_TEST_PYTHON"), "python3", "/usr/bin/python3"};
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        char command[300];
        (void)snprintf(command, sizeof command, "%s -c 'import h5py, numpy' 2>/dev/null",
                       candidates[i] != NULL ? candidates[i] : "false");
        if (system(command) == 0) {
            return candidates[i];
        }
    }
    return NULL;
}

#endif
