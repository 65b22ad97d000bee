/* weights.h5: written and read back, hashed from memory and from the file, misfits named. */
#define _GNU_SOURCE
#include "io/h5.h"
#include "train/weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_TRAINABLE = 96, N_FROZEN = 16, N_PARAMETERS = 4 };

static char folder[64], path[96];
static dl_parameter parameters[N_PARAMETERS];
static dl_parameter_table table;
static float trainable[N_TRAINABLE], frozen[N_FROZEN];
static const dl_host_arenas arenas = {{trainable, frozen, NULL}};

/* The order in the arenas differs from the order of the paths, as in a real model. */
static int set_up(void **state) {
    (void)state;
    const dl_parameter rows[N_PARAMETERS] = {
        {.path = "/dense/weight", .shape = DL_SHAPE(3, 5), .trainable = true, .n_elements = 15, .offset = 0},
        {.path = "/dense/bias", .shape = DL_SHAPE(3), .trainable = true, .n_elements = 3, .offset = 16},
        {.path = "/conv2d_1/weight",
         .shape = DL_SHAPE(4, 2, 1, 3),
         .trainable = true,
         .n_elements = 24,
         .offset = 32},
        {.path = "/conv2d/weight", .shape = DL_SHAPE(2, 1, 2, 2), .n_elements = 8, .offset = 0},
    };
    memcpy(parameters, rows, sizeof rows);
    table = (dl_parameter_table){.n = N_PARAMETERS,
                                 .parameter = parameters,
                                 .trainable_elements = N_TRAINABLE,
                                 .frozen_elements = N_FROZEN};
    for (int i = 0; i < N_TRAINABLE; i++) {
        trainable[i] = 0.5f * (float)i;
    }
    for (int i = 0; i < N_FROZEN; i++) {
        frozen[i] = -0.25f * (float)i;
    }
    (void)snprintf(folder, sizeof folder, "/tmp/dltrain-weights-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/weights.h5", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path) | rmdir(folder); /* fails when anything else was left behind */
}

static void write_them(void) {
    assert_int_equal(dl_weights_write(path, &table, "net", 42, &arenas), DL_OK);
}

static void what_was_written_is_read(void **state) {
    (void)state;
    float trainable_back[N_TRAINABLE] = {0}, frozen_back[N_FROZEN] = {0};
    const dl_host_arenas back = {{trainable_back, frozen_back, NULL}};
    dl_weights_info info;
    write_them();
    write_them(); /* replaced */
    assert_int_equal(dl_weights_read(path, &table, &back, &info), DL_OK);
    assert_string_equal(info.name, "net");
    assert_int_equal(info.step, 42);
    assert_memory_equal(trainable_back, trainable, 15 * sizeof(float));
    assert_true(trainable_back[15] == 0); /* gaps stay as they were */
    assert_memory_equal(trainable_back + 16, trainable + 16, 3 * sizeof(float));
    assert_memory_equal(trainable_back + 32, trainable + 32, 24 * sizeof(float));
    assert_memory_equal(frozen_back, frozen, 8 * sizeof(float));
    assert_int_equal(dl_weights_read(path, &table, &back, NULL), DL_OK);
}

static void the_hash_is_the_contract_s(void **state) {
    (void)state;
    char memory[DL_DIGEST_TEXT_BYTES], file[DL_DIGEST_TEXT_BYTES], changed[DL_DIGEST_TEXT_BYTES];
    write_them();
    assert_int_equal(dl_weights_hash(&table, &arenas, memory), DL_OK);
    assert_int_equal(dl_weights_hash_file(path, file), DL_OK);
    assert_string_equal(memory, file);
    /* Computed by tests/numeric/hash.py from this file. */
    assert_string_equal(memory, "4f3120dcd39df8e2e022f862f9df95e9");
    trainable[15] = 7; /* a gap does not count */
    assert_int_equal(dl_weights_hash(&table, &arenas, changed), DL_OK);
    assert_string_equal(memory, changed);
    trainable[14] = 7.25f;
    assert_int_equal(dl_weights_hash(&table, &arenas, changed), DL_OK);
    assert_string_not_equal(memory, changed);
}

static void expect_misfit(const char *const *words) {
    float trainable_back[N_TRAINABLE] = {0}, frozen_back[N_FROZEN] = {0};
    const dl_host_arenas back = {{trainable_back, frozen_back, NULL}};
    assert_int_equal(dl_weights_read(path, &table, &back, NULL), DL_ERR_USAGE);
    for (; *words != NULL; words++) {
        if (strstr(dl_error_last()->message, *words) == NULL) {
            fail_msg("'%s' is not in: %s", *words, dl_error_last()->message);
        }
    }
    for (int i = 0; i < N_TRAINABLE; i++) {
        assert_true(trainable_back[i] == 0);
    }
}

static void names_that_do_not_fit(void **state) {
    (void)state;
    write_them();
    parameters[2].path = "/conv2d_2/weight";
    expect_misfit((const char *const[]){"weights.h5", "it lacks /conv2d_2/weight (nearest: /conv2d_1/weight)",
                                        "the model has no /conv2d_1/weight (nearest: /conv2d_2/weight)",
                                        NULL});
    table.n = 1;
    expect_misfit(
        (const char *const[]){"the model has no /conv2d/weight", "/conv2d_1/weight", "/dense/bias", NULL});
}

static void a_shape_that_does_not_fit(void **state) {
    (void)state;
    write_them();
    parameters[0].shape = DL_SHAPE(5, 3);
    expect_misfit((const char *const[]){"weights.h5", "/dense/weight", "[3, 5]", "[5, 3]", NULL});
}

static void a_newer_format_is_refused(void **state) {
    (void)state;
    dl_h5_writer *writer = NULL;
    int index = 0;
    const dl_shape shape = DL_SHAPE(1);
    assert_int_equal(dl_h5_writer_create(path, &writer), DL_OK);
    assert_int_equal(dl_h5_writer_dataset(writer, "/a/b", DL_F64, &shape, &index), DL_OK);
    assert_int_equal(dl_h5_writer_attribute_int(writer, "/", "format_version", 2), DL_OK);
    assert_int_equal(dl_h5_writer_layout(writer), DL_OK);
    assert_int_equal(dl_h5_writer_write(writer, index, 0, &(double){1}, sizeof(double)), DL_OK);
    assert_int_equal(dl_h5_writer_commit(writer), DL_OK);
    dl_h5_writer_destroy(&writer);
    expect_misfit((const char *const[]){"format version 2", NULL});
    char hash[DL_DIGEST_TEXT_BYTES];
    assert_int_equal(dl_weights_hash_file(path, hash), DL_ERR_DATA);
    assert_non_null(strstr(dl_error_last()->message, "/a/b is not a float32 tensor"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_hash_is_the_contract_s, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_shape_that_does_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
