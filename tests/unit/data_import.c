/* The IDX importer: handmade files, plain and gzip'd; bad ones by name; the real MNIST where it is at hand.
 */
#define _GNU_SOURCE
#include "data_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <zlib.h>

/* A file with this content, gzip'd when asked. */
static const char *write_file(const char *path, const void *bytes, size_t n_bytes, bool zip) {
    if (zip) {
        gzFile file = gzopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(gzwrite(file, bytes, (unsigned)n_bytes), (int)n_bytes);
        assert_int_equal(gzclose(file), Z_OK);
        return path;
    }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* An IDX file of `rank` dimensions; the elements are pixel(sample, position). */
static const char *write_idx(const char *path, int rank, const uint32_t *dim, bool zip) {
    static uint8_t bytes[100000];
    size_t n = 0, elements = 1;
    const uint8_t magic[4] = {0, 0, 8, (uint8_t)rank};
    memcpy(bytes, magic, 4);
    for (int i = 0; i < rank; i++) {
        const uint8_t big[4] = {(uint8_t)(dim[i] >> 24), (uint8_t)(dim[i] >> 16), (uint8_t)(dim[i] >> 8),
                                (uint8_t)dim[i]};
        memcpy(bytes + 4 + 4 * i, big, 4);
        elements *= dim[i];
    }
    n = 4 + 4 * (size_t)rank;
    assert_true(n + elements <= sizeof bytes);
    for (size_t i = 0; i < elements; i++) {
        bytes[n + i] = rank == 1
                           ? (uint8_t)(i % 5)
                           : pixel((int64_t)(i / (elements / dim[0])), (int64_t)(i % (elements / dim[0])));
    }
    return write_file(path, bytes, n + elements, zip);
}

static dl_status import_pair(const char *images, const char *labels, const char *folder, int n_shards) {
    const char *const inputs[2] = {images, labels};
    const dl_import_request request = {
        .input = inputs, .n_inputs = 2, .folder = folder, .split = "train", .n_shards = n_shards};
    return dl_importer_find("idx")->import(&request);
}

static void check_imported(const char *folder, int64_t n, const dl_shape *shape, int n_files) {
    dl_dataset *dataset = NULL;
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    assert_int_equal(info->n_samples, n);
    assert_int_equal(info->n_classes, 5);
    assert_int_equal(info->n_files, n_files);
    assert_true(info->mapped);
    assert_true(dl_shape_equal(&info->field[0].sample_shape, shape));
    for (int64_t i = 0; i < n; i++) {
        uint8_t image[1000];
        int32_t label = -1;
        assert_ok(dl_dataset_read(dataset, i, 0, image));
        assert_ok(dl_dataset_read(dataset, i, 1, &label));
        assert_int_equal(label, i % 5);
        for (size_t j = 0; j < info->field[0].sample_bytes; j++) {
            assert_int_equal(image[j], pixel(i, (int64_t)j));
        }
    }
    dl_dataset_close(&dataset);
}

static void plain_and_zipped(void **state) {
    const char *folder = *state;
    const uint32_t grey[3] = {53, 7, 9}, colour[4] = {53, 5, 4, 3}, n[1] = {53};
    for (int zip = 0; zip < 2; zip++) {
        const char *images = write_idx(path_in(folder, "images"), 3, grey, zip);
        const char *labels = write_idx(path_in(folder, "labels"), 1, n, zip);
        assert_ok(import_pair(images, labels, path_in(folder, zip ? "zipped" : "plain"), 1 + 6 * zip));
        check_imported(path_in(folder, zip ? "zipped" : "plain"), 53, &DL_SHAPE(7, 9, 1), 1 + 6 * zip);
    }
    const char *images = write_idx(path_in(folder, "images"), 4, colour, false);
    assert_ok(import_pair(images, path_in(folder, "labels"), path_in(folder, "colour"), 53));
    check_imported(path_in(folder, "colour"), 53, &DL_SHAPE(5, 4, 3), 53);
    assert_error(import_pair(images, path_in(folder, "labels"), path_in(folder, "colour"), 1), DL_ERR_USAGE,
                 "already holds");
    assert_error(import_pair(images, path_in(folder, "labels"), path_in(folder, "more"), 54), DL_ERR_USAGE,
                 "54 files");
}

typedef struct bad_file {
    const char *says;
    const char *bytes;
    size_t n_bytes;
} bad_file;

#define BYTES(text) text, sizeof text - 1

static const bad_file bad_images[] = {
    {"is empty", BYTES("")},
    {"ends after 3 bytes", BYTES("\0\0\10")},
    {"starts with 0x89504e47", BYTES("\x89PNG\r\n")},
    {"elements of IDX type 0x0d", BYTES("\0\0\x0d\3\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\0")},
    {"has 9 dimensions", BYTES("\0\0\10\11\0\0\0\1")},
    {"within its header", BYTES("\0\0\10\3\0\0\0\1\0\0")},
    {"holds labels", BYTES("\0\0\10\1\0\0\0\2\1\1")},
    {"has 2 dimensions", BYTES("\0\0\10\2\0\0\0\1\0\0\0\1\1")},
    {"is empty: its dimensions are [0, 2, 2]", BYTES("\0\0\10\3\0\0\0\0\0\0\0\2\0\0\0\2")},
    {"is cut off: its dimensions [1, 2, 2] need 4 bytes after the header, it has 3",
     BYTES("\0\0\10\3\0\0\0\1\0\0\0\2\0\0\0\2abc")},
    {"is too long", BYTES("\0\0\10\3\0\0\0\1\0\0\0\2\0\0\0\2abcde")},
    {"more than any file holds", BYTES("\0\0\10\3\377\377\377\377\377\377\377\377\377\377\377\377abcd")},
    {"is cut off", BYTES("\0\0\10\3\177\377\377\377\0\0\0\1\0\0\0\1abcd")},
};

static bool folder_is_empty(const char *path) {
    DIR *directory = opendir(path);
    int n = 0;
    while (directory != NULL && readdir(directory) != NULL) {
        n++;
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return n <= 2;
}

static void bad_files_are_named(void **state) {
    const char *folder = *state;
    const uint32_t one[1] = {1};
    write_idx(path_in(folder, "labels"), 1, one, false);
    for (size_t i = 0; i < sizeof bad_images / sizeof bad_images[0]; i++) {
        const char *path = path_in(folder, "images");
        write_file(path, bad_images[i].bytes, bad_images[i].n_bytes, false);
        assert_error(import_pair(path, path_in(folder, "labels"), path_in(folder, "out"), 1), DL_ERR_DATA,
                     bad_images[i].says);
        assert_non_null(strstr(dl_error_last()->message, "/images"));
        assert_true(folder_is_empty(path_in(folder, "out")));
    }
    assert_error(
        import_pair(path_in(folder, "nowhere"), path_in(folder, "labels"), path_in(folder, "out"), 1),
        DL_ERR_USAGE, "nowhere");
}

static void counts_must_agree(void **state) {
    const char *folder = *state;
    const uint32_t dim[3] = {20, 4, 4}, n[1] = {19};
    write_idx(path_in(folder, "images"), 3, dim, false);
    write_idx(path_in(folder, "labels"), 1, n, false);
    assert_error(import_pair(path_in(folder, "images"), path_in(folder, "labels"), path_in(folder, "out"), 1),
                 DL_ERR_DATA, "has 19 labels but");
    assert_error(import_pair(path_in(folder, "images"), path_in(folder, "images"), path_in(folder, "out"), 1),
                 DL_ERR_DATA, "labels have 1");
}

/* Each byte cut off the end of a gzip'd file, and each byte changed, is noticed (or does not matter). */
static void damaged_gzip(void **state) {
    const char *folder = *state;
    const uint32_t dim[3] = {30, 4, 4}, n[1] = {30};
    char bytes[4096], *images = strdup(path_in(folder, "images"));
    write_idx(images, 3, dim, true);
    write_idx(path_in(folder, "labels"), 1, n, false);
    FILE *file = fopen(images, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    assert_int_equal(fclose(file), 0);
    for (size_t cut = 1; cut <= size; cut++) {
        write_file(images, bytes, size - cut, false);
        assert_error(import_pair(images, path_in(folder, "labels"), path_in(folder, "out"), 1), DL_ERR_DATA,
                     "images");
        assert_true(folder_is_empty(path_in(folder, "out")));
    }
    for (size_t i = 10; i < size; i += 7) {
        bytes[i] ^= 0x10;
        write_file(images, bytes, size, false);
        assert_error(import_pair(images, path_in(folder, "labels"), path_in(folder, "out"), 1), DL_ERR_DATA,
                     "images");
        bytes[i] ^= 0x10;
    }
    /* A zip bomb is refused by its header. */
    memcpy(bytes, "\0\0\10\3\0\377\377\377\0\0\377\377\0\0\0\1", 16);
    write_file(images, bytes, 64, true);
    assert_error(import_pair(images, path_in(folder, "labels"), path_in(folder, "out"), 1), DL_ERR_DATA,
                 "cannot hold");
    free(images);
}

#define MNIST "/work/shared/data/mnist/"

static void real_mnist(void **state) {
    const char *folder = *state;
    const char *const inputs[2] = {MNIST "train-images-idx3-ubyte.gz", MNIST "train-labels-idx1-ubyte.gz"};
    const char *const tests[2] = {MNIST "t10k-images-idx3-ubyte.gz", MNIST "t10k-labels-idx1-ubyte.gz"};
    const dl_import_request request = {
        .input = inputs, .n_inputs = 2, .folder = folder, .split = "train", .n_shards = 2};
    const dl_import_request test_request = {
        .input = tests, .n_inputs = 2, .folder = folder, .split = "test", .n_shards = 1};
    static const int64_t known[10] = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
    if (!dl_file_exists(inputs[0])) {
        print_message("skipped: there is no " MNIST "\n");
        skip();
    }
    const dl_importer *importer = dl_importer_find("idx");
    assert_ok(importer->import(&request));
    assert_ok(importer->import(&test_request));
    dl_dataset *dataset = NULL;
    assert_ok(dl_dataset_open(folder, "test", &dataset));
    assert_int_equal(dl_dataset_info_of(dataset)->n_samples, 10000);
    dl_dataset_close(&dataset);
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    assert_int_equal(dl_dataset_info_of(dataset)->n_samples, 60000);
    int64_t count[10] = {0};
    for (int64_t i = 0; i < 60000; i++) {
        int32_t label = -1;
        assert_ok(dl_dataset_read(dataset, i, 1, &label));
        assert_in_range(label, 0, 9);
        count[label]++;
    }
    assert_memory_equal(count, known, sizeof known);
    dl_dataset_close(&dataset);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(plain_and_zipped), TEST(bad_files_are_named), TEST(counts_must_agree),
        TEST(damaged_gzip),     TEST(real_mnist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
