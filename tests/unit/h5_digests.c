/* Texts in files, and digests of what was written in any order. */
#define _GNU_SOURCE
#include "data_support.h"

#include "base/digest.h"

enum { N = 300000, BLOCK = 7000 };

static uint8_t byte_at(int64_t i) {
    return (uint8_t)(i * 7 + i / 251);
}

static void fill(uint8_t *out, int64_t first, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        out[i] = byte_at(first + i);
    }
}

typedef enum order { FORWARDS, BACKWARDS, TWICE } order;

static void write_bytes(dl_h5_writer *writer, int index, order how) {
    uint8_t block[BLOCK];
    for (int64_t i = 0; i < N; i += BLOCK) {
        const int64_t first = how == BACKWARDS ? (N - 1 - i) / BLOCK * BLOCK : i;
        const int64_t n = N - first < BLOCK ? N - first : BLOCK;
        fill(block, first, n);
        assert_ok(dl_h5_writer_write(writer, index, first, block, (size_t)n));
    }
    if (how == TWICE) { /* what is there last counts */
        memset(block, 0xee, sizeof block);
        assert_ok(dl_h5_writer_write(writer, index, 100, block, 50));
        fill(block, 100, 50);
        assert_ok(dl_h5_writer_write(writer, index, 100, block, 50));
    }
}

static void write_file(const char *path, order how) {
    static const char words[4][6] = {"one", "zw\xc3\xb6", "", "three"};
    dl_h5_writer *writer = NULL;
    int bytes = 0, texts = 0;
    assert_ok(dl_h5_writer_create(path, &writer));
    dl_h5_writer_keep_digests(writer);
    assert_ok(dl_h5_writer_dataset(writer, "/bytes", DL_U8, &DL_SHAPE(N), &bytes));
    assert_ok(dl_h5_writer_texts(writer, "/meta/words", 4, 6, &texts));
    assert_ok(dl_h5_writer_layout(writer));
    assert_ok(dl_h5_writer_write(writer, texts, 0, words, sizeof words));
    write_bytes(writer, bytes, how);
    assert_ok(dl_h5_writer_commit(writer));
    dl_h5_writer_destroy(&writer);
}

static void check_file(const char *path) {
    char wanted[DL_DIGEST_TEXT_BYTES], row[64];
    static uint8_t bytes[N];
    dl_h5 *file = NULL;
    dl_h5_texts texts;
    bool found = false;
    int64_t n_checked = 0, n_without = 0;
    assert_ok(dl_h5_open(path, &file));
    assert_ok(dl_h5_verify(file, &n_checked, &n_without));
    assert_int_equal(n_checked, 2);
    assert_int_equal(n_without, 0);
    fill(bytes, 0, N);
    dl_digest_of(bytes, N, wanted);
    (void)snprintf(row, sizeof row, "/bytes %s", wanted);
    assert_ok(dl_h5_read_texts(file, "/meta/digests", &texts, &found));
    assert_true(found);
    assert_int_equal(texts.n, 2);
    assert_string_equal(texts.text[0], row);
    dl_h5_texts_free(&texts);
    assert_ok(dl_h5_read_texts(file, "/meta/words", &texts, &found));
    assert_int_equal(texts.n, 4);
    assert_string_equal(texts.text[1], "zw\xc3\xb6");
    assert_string_equal(texts.text[2], "");
    assert_string_equal(texts.text[3], "three");
    dl_h5_texts_free(&texts);
    assert_ok(dl_h5_read_texts(file, "/meta/nothing", &texts, &found));
    assert_false(found);
    dl_h5_texts_free(&texts);
    assert_error(dl_h5_read_texts(file, "/bytes", &texts, &found), DL_ERR_DATA, "are not texts");
    dl_h5_texts_free(&texts);
    dl_h5_close(&file);
}

static void in_any_order(void **state) {
    for (order how = FORWARDS; how <= TWICE; how++) {
        const char *path = path_in(*state, "file.h5");
        write_file(path, how);
        check_file(path);
    }
}

static void without_digests(void **state) {
    const char *path = path_in(*state, "plain.h5");
    dl_h5 *file = NULL;
    int64_t n_checked = 9, n_without = 9;
    write_shard(path, 0, 5);
    assert_ok(dl_h5_open(path, &file));
    assert_ok(dl_h5_verify(file, &n_checked, &n_without));
    assert_int_equal(n_checked, 0);
    assert_int_equal(n_without, 2);
    dl_h5_close(&file);
}

/* Each changed byte of the data is found. */
static void changed_bytes(void **state) {
    const char *path = path_in(*state, "file.h5");
    dl_h5 *file = NULL;
    dl_h5_dataset dataset;
    bool found = false;
    int64_t n_checked = 0, n_without = 0;
    write_file(path, FORWARDS);
    assert_ok(dl_h5_open(path, &file));
    assert_ok(dl_h5_find(file, "/bytes", &dataset, &found));
    dl_h5_close(&file);
    for (int64_t i = 0; i < N; i += 59999) {
        for (int turn = 0; turn < 2; turn++) { /* changed, and back */
            FILE *stream = fopen(path, "r+b");
            assert_non_null(stream);
            assert_int_equal(fseek(stream, dataset.offset + i, SEEK_SET), 0);
            assert_int_equal(fputc(byte_at(i) ^ (turn == 0 ? 4 : 0), stream),
                             byte_at(i) ^ (turn == 0 ? 4 : 0));
            assert_int_equal(fclose(stream), 0);
            assert_ok(dl_h5_open(path, &file));
            if (turn == 0) {
                assert_error(dl_h5_verify(file, &n_checked, &n_without), DL_ERR_DATA, "/bytes is damaged");
            } else {
                assert_ok(dl_h5_verify(file, &n_checked, &n_without));
            }
            dl_h5_close(&file);
        }
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(in_any_order),
        TEST(without_digests),
        TEST(changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
