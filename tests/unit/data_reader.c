/* Opening data sets: several files, bad files by name, digests that do not depend on the sharding. */
#define _GNU_SOURCE
#include "data_support.h"

#include <fcntl.h>
#include <sys/stat.h>

static void expect_samples(dl_dataset *dataset, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint8_t row[30];
        int32_t label = -1;
        assert_ok(dl_dataset_read(dataset, i, 0, row));
        assert_ok(dl_dataset_read(dataset, i, 1, &label));
        assert_int_equal(label, i % 7);
        for (int64_t j = 0; j < 30; j++) {
            assert_int_equal(row[j], pixel(i, j));
        }
    }
}

static void reads_several_files_in_order(void **state) {
    const char *folder = *state;
    write_shard(path_in(folder, "train-b.h5"), 10, 1);
    write_shard(path_in(folder, "train-a.h5"), 0, 10);
    write_shard(path_in(folder, "train-c.h5"), 11, 13);
    write_shard(path_in(folder, "test-a.h5"), 0, 24);
    dl_dataset *dataset = NULL, *other = NULL;
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    assert_ok(dl_dataset_open(folder, "test", &other));
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    assert_int_equal(info->n_samples, 24);
    assert_int_equal(info->n_classes, 7);
    assert_int_equal(info->n_files, 3);
    assert_int_equal(info->n_fields, 2);
    assert_true(info->mapped);
    assert_string_equal(info->field[0].name, "x");
    assert_int_equal(info->field[0].sample_bytes, 30);
    assert_int_equal(info->field[1].dtype, DL_I32);
    expect_samples(dataset, 24);
    assert_error(dl_dataset_read(dataset, 24, 0, NULL), DL_ERR_INTERNAL, "sample 24");
    /* The same 24 samples in one file. */
    assert_string_equal(info->digest, dl_dataset_info_of(other)->digest);
    dl_dataset_close(&dataset);
    dl_dataset_close(&other);
    write_shard(path_in(folder, "valid-a.h5"), 1, 24);
    assert_ok(dl_dataset_open(folder, "valid", &dataset));
    assert_ok(dl_dataset_open(folder, "train", &other));
    assert_string_not_equal(dl_dataset_info_of(dataset)->digest, dl_dataset_info_of(other)->digest);
    dl_dataset_close(&dataset);
    dl_dataset_close(&other);
}

static void missing_folder_or_split(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    assert_error(dl_dataset_open(path_in(folder, "nowhere"), "train", &dataset), DL_ERR_USAGE,
                 "there is no folder");
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_USAGE, "no split 'train'");
    assert_null(dataset);
    assert_false(dl_dataset_exists(folder, "train"));
    write_shard(path_in(folder, "train-a.h5"), 0, 3);
    assert_true(dl_dataset_exists(folder, "train"));
    assert_false(dl_dataset_exists(folder, "trai"));
}

static void missing_part_of_a_set(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    write_shard(path_in(folder, "train-00000-of-00003.h5"), 0, 3);
    write_shard(path_in(folder, "train-00002-of-00003.h5"), 6, 3);
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "a set of 3 files but there are 2");
}

/* --- bad files --- */

typedef struct part {
    const char *name;
    dl_dtype dtype;
    dl_shape shape;
} part;

typedef struct bad_file {
    const char *says;
    part part[3];
    int64_t n_classes, label; /* n_classes -1: no attribute */
} bad_file;

static const bad_file bad_files[] = {
    {"has no dataset /x (it has: /images, /labels)",
     {{"/images", DL_U8, {4, {4, 2, 2, 1}}}, {"/labels", DL_I32, {1, {4}}}},
     -1,
     0},
    {"/x is int32; uint8 or float32 is expected", {{"/x", DL_I32, {4, {4, 2, 2, 1}}}}, -1, 0},
    {"/x is float64", {{"/x", DL_F64, {4, {4, 2, 2, 1}}}}, -1, 0},
    {"/x has shape [4]", {{"/x", DL_U8, {1, {4}}}}, -1, 0},
    {"there are no samples", {{"/x", DL_U8, {4, {0, 2, 2, 1}}}}, -1, 0},
    {"there are no samples", {{"/x", DL_U8, {4, {4, 2, 0, 1}}}}, -1, 0},
    {"/y has 3 labels but /x has 4 samples", {{"/x", DL_U8, {2, {4, 2}}}, {"/y", DL_I32, {1, {3}}}}, -1, 0},
    {"/y has shape [4, 1]", {{"/x", DL_U8, {2, {4, 2}}}, {"/y", DL_I32, {2, {4, 1}}}}, -1, 0},
    {"/y is uint8; int32 or int64", {{"/x", DL_U8, {2, {4, 2}}}, {"/y", DL_U8, {1, {4}}}}, -1, 0},
    {"sample 2 has label -1", {{"/x", DL_U8, {2, {4, 2}}}, {"/y", DL_I32, {1, {4}}}}, -1, -1},
    {"sample 2 has label 5 but there are only 5 classes",
     {{"/x", DL_U8, {2, {4, 2}}}, {"/y", DL_I64, {1, {4}}}},
     5,
     5},
    {"sample 2 has label 4294967296",
     {{"/x", DL_U8, {2, {4, 2}}}, {"/y", DL_I64, {1, {4}}}},
     5,
     INT64_C(1) << 32},
    {"attribute n_classes is 0", {{"/x", DL_U8, {2, {4, 2}}}}, 0, 0},
};

static void write_bad_file(const char *path, const bad_file *bad) {
    dl_h5_writer *writer = NULL;
    int index[3] = {0};
    static const char zero[256];
    assert_ok(dl_h5_writer_create(path, &writer));
    for (int i = 0; i < 3 && bad->part[i].name != NULL; i++) {
        assert_ok(dl_h5_writer_dataset(writer, bad->part[i].name, bad->part[i].dtype, &bad->part[i].shape,
                                       &index[i]));
    }
    if (bad->n_classes >= 0) {
        assert_ok(dl_h5_writer_attribute_int(writer, "/", "n_classes", bad->n_classes));
    }
    assert_ok(dl_h5_writer_layout(writer));
    for (int i = 0; i < 3 && bad->part[i].name != NULL; i++) {
        const size_t each = dl_dtype_bytes(bad->part[i].dtype);
        assert_ok(dl_h5_writer_write(writer, index[i], 0, zero,
                                     each * (size_t)dl_shape_elements(&bad->part[i].shape)));
        if (strcmp(bad->part[i].name, "/y") == 0 && bad->label != 0) {
            assert_ok(dl_h5_writer_write(writer, index[i], 2 * (int64_t)each, &bad->label, each));
        }
    }
    assert_ok(dl_h5_writer_commit(writer));
    dl_h5_writer_destroy(&writer);
}

static void bad_files_are_named(void **state) {
    const char *folder = *state;
    const char *path = path_in(folder, "train-0.h5");
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        dl_dataset *dataset = NULL;
        write_bad_file(path, &bad_files[i]);
        assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, bad_files[i].says);
        assert_non_null(strstr(dl_error_last()->message, "train-0.h5"));
        assert_null(dataset);
        assert_int_equal(unlink(path), 0);
    }
}

/* Cut off at every 64th byte: either refused by name or, where only padding is lost, all samples right. */
static void cut_files_are_named(void **state) {
    const char *folder = *state;
    struct stat info;
    write_shard(path_in(folder, "train-0.h5"), 0, 200);
    assert_int_equal(stat(path_in(folder, "train-0.h5"), &info), 0);
    for (off_t n = info.st_size - 1; n >= 0; n = n > 8000 ? n - 3000 : n - 64) {
        dl_dataset *dataset = NULL;
        assert_int_equal(truncate(path_in(folder, "train-0.h5"), n), 0);
        assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "train-0.h5");
    }
    assert_int_equal(truncate(path_in(folder, "train-0.h5"), 0), 0);
    dl_dataset *dataset = NULL;
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "is empty");
}

static void all_bad_files_are_named_at_once(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    write_shard(path_in(folder, "train-0.h5"), 0, 5);
    write_bad_file(path_in(folder, "train-1.h5"), &bad_files[1]);
    write_bad_file(path_in(folder, "train-2.h5"), &bad_files[6]);
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "2 of 3 files cannot be used");
    assert_non_null(strstr(dl_error_last()->message, "train-1.h5"));
    assert_non_null(strstr(dl_error_last()->message, "train-2.h5"));
}

static void files_must_agree(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    const bad_file other = {"", {{"/x", DL_U8, {4, {4, 3, 5, 1}}}, {"/y", DL_I32, {1, {4}}}}, -1, 0};
    const bad_file lacking = {"", {{"/x", DL_U8, {4, {4, 3, 5, 2}}}}, -1, 0};
    write_shard(path_in(folder, "train-0.h5"), 0, 5);
    write_bad_file(path_in(folder, "train-1.h5"), &other);
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "[3, 5, 1]");
    write_bad_file(path_in(folder, "train-1.h5"), &lacking);
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "has no field /y");
}

static void not_hdf5(void **state) {
    const char *folder = *state;
    dl_dataset *dataset = NULL;
    const int fd = open(path_in(folder, "train-0.h5"), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0 && write(fd, "not an HDF5 file at all", 23) == 23 && close(fd) == 0);
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "is not an HDF5 file");
    assert_int_equal(unlink(path_in(folder, "train-0.h5")), 0);
    assert_int_equal(mkdir(path_in(folder, "train-0.h5"), 0700), 0);
    assert_error(dl_dataset_open(folder, "train", &dataset), DL_ERR_DATA, "is not a file");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_several_files_in_order),
        TEST(missing_folder_or_split),
        TEST(missing_part_of_a_set),
        TEST(bad_files_are_named),
        TEST(cut_files_are_named),
        TEST(files_must_agree),
        TEST(not_hdf5),
        TEST(all_bad_files_are_named_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
