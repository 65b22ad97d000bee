/* HDF5 files: what is written comes back, here and in h5py; what others write is read or refused by name. */
#define _GNU_SOURCE
#include "data_support.h"

#include "base/mem.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

/* Elements 0 .. 14 as this dtype; returns their bytes. */
static size_t count_up(dl_dtype dtype, void *out) {
    static const uint16_t half[15] = {0x0000, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700,
                                      0x4800, 0x4880, 0x4900, 0x4980, 0x4a00, 0x4a80, 0x4b00};
    for (int i = 0; i < 15; i++) {
        switch (dtype) {
        case DL_F32:
            ((float *)out)[i] = (float)i;
            break;
        case DL_F64:
            ((double *)out)[i] = i;
            break;
        case DL_F16:
        case DL_BF16:
            ((uint16_t *)out)[i] = half[i];
            break;
        case DL_U8:
            ((uint8_t *)out)[i] = (uint8_t)i;
            break;
        case DL_U16:
            ((uint16_t *)out)[i] = (uint16_t)i;
            break;
        case DL_I32:
            ((int32_t *)out)[i] = i;
            break;
        default:
            ((int64_t *)out)[i] = i;
            break;
        }
    }
    return 15 * dl_dtype_bytes(dtype);
}

static void write_all_kinds(const char *path) {
    dl_h5_writer *writer = NULL;
    int index[DL_N_DTYPES], scalar = 0, empty = 0, large = 0;
    const double value = 2.5;
    static const char zeros[9000];
    assert_ok(dl_h5_writer_create(path, &writer));
    for (int i = 0; i < DL_N_DTYPES; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "/group/%s", dl_dtype_name((dl_dtype)i));
        assert_ok(dl_h5_writer_dataset(writer, name, (dl_dtype)i, &DL_SHAPE(3, 5), &index[i]));
    }
    assert_ok(dl_h5_writer_dataset(writer, "/scalar", DL_F64, &(dl_shape){0}, &scalar));
    assert_ok(dl_h5_writer_dataset(writer, "/empty", DL_F32, &DL_SHAPE(0, 4), &empty));
    assert_ok(dl_h5_writer_dataset(writer, "/large", DL_U8, &DL_SHAPE(9000), &large));
    assert_ok(dl_h5_writer_attribute_int(writer, "/", "number", -5));
    assert_ok(dl_h5_writer_attribute_text(writer, "/group/int32", "text", "fünf"));
    assert_ok(dl_h5_writer_layout(writer));
    for (int i = 0; i < DL_N_DTYPES; i++) {
        char bytes[15 * 8];
        const size_t n = count_up((dl_dtype)i, bytes);
        /* In two parts, the second first. */
        assert_ok(dl_h5_writer_write(writer, index[i], 7, bytes + 7, n - 7));
        assert_ok(dl_h5_writer_write(writer, index[i], 0, bytes, 7));
    }
    assert_ok(dl_h5_writer_write(writer, scalar, 0, &value, sizeof value));
    assert_ok(dl_h5_writer_write(writer, large, 0, zeros, sizeof zeros));
    assert_false(dl_file_exists(path));
    assert_ok(dl_h5_writer_finish(writer));
    assert_false(dl_file_exists(path));
    assert_ok(dl_h5_writer_commit(writer));
    assert_true(dl_file_exists(path));
    dl_h5_writer_destroy(&writer);
}

static int count_files(const char *folder) {
    DIR *directory = opendir(folder);
    int n = -2;
    while (directory != NULL && readdir(directory) != NULL) {
        n++;
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return n;
}

static void written_is_read(void **state) {
    const char *folder = *state, *path = path_in(folder, "all.h5");
    write_all_kinds(path);
    assert_int_equal(count_files(folder), 1);
    dl_h5 *file = NULL;
    dl_h5_dataset all[16];
    int n = 0;
    bool found = false;
    int64_t number = 0;
    char text[16];
    assert_ok(dl_h5_open(path, &file));
    assert_ok(dl_h5_list(file, all, 16, &n));
    assert_int_equal(n, DL_N_DTYPES + 3);
    for (int i = 1; i < n; i++) {
        assert_true(strcmp(all[i - 1].name, all[i].name) < 0);
    }
    for (int i = 0; i < DL_N_DTYPES; i++) {
        char name[64], bytes[120], back[120] = {0};
        dl_h5_dataset dataset;
        (void)snprintf(name, sizeof name, "/group/%s", dl_dtype_name((dl_dtype)i));
        assert_ok(dl_h5_find(file, name, &dataset, &found));
        assert_true(found && dataset.offset > 0 && dataset.dtype == (dl_dtype)i);
        const size_t size = count_up((dl_dtype)i, bytes);
        assert_ok(dl_h5_read_rows(file, &dataset, 1, 2, back));
        assert_memory_equal(back, bytes + size / 3, 2 * size / 3);
    }
    assert_ok(dl_h5_find(file, "/group/int32/deeper", &all[0], &found));
    assert_false(found);
    assert_error(dl_h5_find(file, "/group", &all[0], &found), DL_ERR_DATA, "/group is not a dataset");
    assert_ok(dl_h5_attribute_int(file, "/", "number", &number, &found));
    assert_true(found && number == -5);
    assert_ok(dl_h5_attribute_int(file, "/", "nothing", &number, &found));
    assert_false(found);
    assert_ok(dl_h5_attribute_text(file, "/group/int32", "text", text, sizeof text, &found));
    assert_true(found && strcmp(text, "fünf") == 0);
    assert_error(dl_h5_attribute_text(file, "/group/int32", "text", text, 4, &found), DL_ERR_DATA,
                 "below 4 bytes");
    assert_error(dl_h5_attribute_int(file, "/group/int32", "text", &number, &found), DL_ERR_DATA,
                 "not an integer");
    assert_error(dl_h5_list(file, all, 3, &n), DL_ERR_DATA, "more than 3 datasets");
    dl_h5_close(&file);
    assert_null(file);
}

static void same_content_same_bytes(void **state) {
    const char *folder = *state;
    char command[600];
    write_all_kinds(path_in(folder, "one.h5"));
    assert_int_equal(sleep(1), 0);
    write_all_kinds(path_in(folder, "two.h5"));
    (void)snprintf(command, sizeof command, "cmp %s %s", path_in(folder, "one.h5"),
                   path_in(folder, "two.h5"));
    assert_int_equal(system(command), 0);
}

static void unfinished_files_never_appear(void **state) {
    const char *folder = *state;
    dl_h5_writer *writer = NULL;
    int index = 0;
    const float value = 1;
    assert_ok(dl_h5_writer_create(path_in(folder, "a.h5"), &writer));
    assert_ok(dl_h5_writer_dataset(writer, "/w", DL_F32, &DL_SHAPE(2), &index));
    assert_ok(dl_h5_writer_layout(writer));
    assert_ok(dl_h5_writer_write(writer, index, 4, &value, 4));
    assert_error(dl_h5_writer_write(writer, index, 8, &value, 4), DL_ERR_INTERNAL, "do not fit");
    assert_error(dl_h5_writer_write(writer, index, 5, &value, 4), DL_ERR_INTERNAL, "do not fit");
    assert_error(dl_h5_writer_commit(writer), DL_ERR_INTERNAL, "/w got 4 of its 8 bytes");
    dl_h5_writer_destroy(&writer);
    assert_int_equal(count_files(folder), 0);
    assert_ok(dl_h5_writer_create(path_in(folder, "nowhere/a.h5"), &writer));
    assert_error(dl_h5_writer_layout(writer), DL_ERR_IO, "nowhere/a.h5");
    dl_h5_writer_destroy(&writer);
}

/* A full disk, played by a limit on file sizes: an error, no file, no crash at exit. */
static void full_disk(void **state) {
    const char *folder = *state;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    for (rlim_t limit = 0; limit < 40000; limit += 1500) {
        dl_h5_writer *writer = NULL;
        int index = 0;
        char bytes[30000] = {1};
        small = (struct rlimit){limit, before.rlim_max};
        assert_ok(dl_h5_writer_create(path_in(folder, "a.h5"), &writer));
        assert_ok(dl_h5_writer_dataset(writer, "/w", DL_U8, &DL_SHAPE(30000), &index));
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        dl_status status = dl_h5_writer_layout(writer);
        status = status == DL_OK ? dl_h5_writer_write(writer, index, 0, bytes, sizeof bytes) : status;
        status = status == DL_OK ? dl_h5_writer_commit(writer) : status;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        dl_h5_writer_destroy(&writer);
        assert_true(status == DL_ERR_IO || (status == DL_OK && limit > 34000));
        assert_int_equal(count_files(folder), status == DL_OK);
    }
}

/* --- files of other programs --- */

static bool make_foreign_files(const char *folder) {
    const char *python = python_with_h5py();
    char command[300];
    if (python == NULL) {
        print_message("skipped: no python3 with h5py\n");
        return false;
    }
    (void)snprintf(command, sizeof command, "%s tests/data/foreign.py %s", python, folder);
    assert_int_equal(system(command), 0);
    return true;
}

static void h5py_reads_ours(void **state) {
    const char *folder = *state, *python = python_with_h5py();
    char command[600];
    if (python == NULL) {
        print_message("skipped: no python3 with h5py\n");
        skip();
    }
    write_all_kinds(path_in(folder, "all.h5"));
    (void)snprintf(command, sizeof command, "%s tests/data/read_back.py %s", python,
                   path_in(folder, "all.h5"));
    assert_int_equal(system(command), 0);
}

static void check_samples(const char *path, bool mapped, size_t each) {
    dl_dataset *dataset = NULL;
    assert_ok(dl_dataset_open_file(path, &dataset));
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    assert_int_equal(info->n_samples, 40);
    assert_int_equal(info->n_classes, 3);
    assert_int_equal(info->mapped, mapped);
    assert_int_equal(info->field[0].sample_bytes, 6 * each);
    for (int64_t k = 0; k < 40; k++) {
        const int64_t i = k * 17 % 40;
        float real[6];
        int32_t label = -1;
        assert_ok(dl_dataset_read(dataset, i, 0, real));
        assert_ok(dl_dataset_read(dataset, i, 1, &label));
        assert_int_equal(label, i % 3);
        for (int64_t j = 0; j < 6; j++) {
            const int found = each == 1 ? ((const uint8_t *)real)[j] : (int)real[j];
            assert_int_equal(found, (i * 6 + j) * 7 % 251);
        }
    }
    dl_dataset_close(&dataset);
}

static void foreign_files_are_read(void **state) {
    const char *folder = *state;
    if (!make_foreign_files(folder)) {
        skip();
    }
    check_samples(path_in(folder, "plain.h5"), true, 1);
    check_samples(path_in(folder, "latest.h5"), true, 1);
    check_samples(path_in(folder, "gzip.h5"), false, 1);
    check_samples(path_in(folder, "fletcher.h5"), false, 1);
    check_samples(path_in(folder, "compact.h5"), false, 1);
    check_samples(path_in(folder, "big_endian.h5"), false, 4);
    check_samples(path_in(folder, "texts.h5"), true, 1);
    dl_dataset *dataset = NULL;
    assert_ok(dl_dataset_open_file(path_in(folder, "texts.h5"), &dataset));
    assert_int_equal(dl_dataset_info_of(dataset)->n_fields, 3);
    assert_string_equal(dl_dataset_info_of(dataset)->field[2].name, "weight");
    dl_dataset_close(&dataset);
}

static void foreign_files_are_refused(void **state) {
    static const char *const refused[][2] = {
        {"soft_link", "/x is a soft link"},
        {"external_link", "/x is an external link"},
        {"group_link", "/meta/z is a soft link"},
        {"virtual", "/x is a virtual dataset"},
        {"external", "/x is stored in another file"},
        {"lzf", "filter 32000"},
        {"text_labels", "/y has an element type that is not supported"},
        {"cycle", "nested deeper"},
        {"unwritten", "/x was declared but never written"},
        {"user_block", "user block"},
        {"bomb", "declares 1099511627776 bytes but stores only"},
    };
    const char *folder = *state;
    if (!make_foreign_files(folder)) {
        skip();
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char name[64];
        dl_dataset *dataset = NULL;
        (void)snprintf(name, sizeof name, "%s.h5", refused[i][0]);
        assert_error(dl_dataset_open_file(path_in(folder, name), &dataset), DL_ERR_DATA, refused[i][1]);
        assert_non_null(strstr(dl_error_last()->message, name));
    }
}

static void foreign_attributes(void **state) {
    const char *folder = *state;
    dl_h5 *file = NULL;
    bool found = false;
    int64_t number = 0;
    char text[32];
    if (!make_foreign_files(folder)) {
        skip();
    }
    assert_ok(dl_h5_open(path_in(folder, "texts.h5"), &file));
    assert_ok(dl_h5_attribute_int(file, "/", "n_classes", &number, &found));
    assert_true(found && number == 3);
    assert_ok(dl_h5_attribute_text(file, "/", "bytes", text, sizeof text, &found));
    assert_string_equal(text, "fixed");
    assert_error(dl_h5_attribute_text(file, "/", "name", text, sizeof text, &found), DL_ERR_DATA,
                 "fixed length");
    assert_error(dl_h5_attribute_int(file, "/", "list", &number, &found), DL_ERR_DATA, "is not an integer");
    dl_h5_close(&file);
}

/* A layout in memory is the file that a writer makes, without its data. */
static void layout_in_memory(void **state) {
    static const float zeros[3000];
    dl_text file = {0};
    dl_h5_writer *writer[2] = {NULL};
    int small = 0, large = 0;
    int64_t n_bytes = 0;
    const char *path = path_in(*state, "file.h5");
    assert_ok(dl_h5_writer_create(path, &writer[0]));
    assert_ok(dl_h5_writer_create_in_memory(path, &writer[1]));
    for (int i = 0; i < 2; i++) {
        assert_ok(dl_h5_writer_dataset(writer[i], "/group/small", DL_F32, &DL_SHAPE(3, 5), &small));
        assert_ok(dl_h5_writer_dataset(writer[i], "/large", DL_F32, &DL_SHAPE(3000), &large));
        assert_ok(dl_h5_writer_attribute_int(writer[i], "/", "number", 7));
        assert_ok(dl_h5_writer_layout(writer[i]));
        assert_int_equal(dl_h5_writer_offset(writer[i], small), dl_h5_writer_offset(writer[0], small));
        assert_int_equal(dl_h5_writer_offset(writer[i], large) % 4096, 0);
    }
    assert_ok(dl_h5_writer_size(writer[1], &n_bytes));
    assert_ok(dl_h5_writer_write(writer[0], small, 0, zeros, 60));
    assert_ok(dl_h5_writer_write(writer[0], large, 0, zeros, sizeof zeros));
    assert_ok(dl_h5_writer_commit(writer[0]));
    assert_ok(dl_file_read(path, 1 << 20, &file));
    char *image = malloc((size_t)n_bytes);
    assert_non_null(image);
    assert_ok(dl_h5_writer_image(writer[1], 0, (size_t)n_bytes, image));
    assert_int_equal((int64_t)file.size, n_bytes);
    assert_memory_equal(file.data, image, file.size);
    assert_error(dl_h5_writer_image(writer[1], 1, (size_t)n_bytes, image), DL_ERR_IO, "too short");
    assert_error(dl_h5_writer_commit(writer[1]), DL_ERR_INTERNAL, "never laid out in a folder");
    dl_h5_writer_destroy(&writer[0]);
    dl_h5_writer_destroy(&writer[1]);
    assert_int_equal(access(path, F_OK), 0);
    free(image);
    dl_text_free(&file);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(written_is_read),
        TEST(same_content_same_bytes),
        TEST(layout_in_memory),
        TEST(unfinished_files_never_appear),
        TEST(full_disk),
        TEST(h5py_reads_ours),
        TEST(foreign_files_are_read),
        TEST(foreign_files_are_refused),
        TEST(foreign_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
