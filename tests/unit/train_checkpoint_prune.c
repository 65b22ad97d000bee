/* Reading a part again, and deleting what is older: nothing goes behind a checkpoint that is damaged. */
#define _GNU_SOURCE
#include "checkpoint_folder.h"

enum { BLOCK = DL_CHECKPOINT_BLOCK_BYTES, BYTES = 5 * BLOCK / 2 };

/* A part of some blocks and its description. */
static void write_large(const char *folder, dl_text *part) {
    static char bytes[BYTES];
    for (int i = 0; i < BYTES; i++) {
        bytes[i] = (char)(i * 7 + i / 1000);
    }
    const dl_checkpoint_slice slice = {
        .name = "/a", .dtype = DL_U8, .whole = DL_SHAPE(BYTES), .shape = DL_SHAPE(BYTES), .bytes = bytes};
    const dl_checkpoint_about about = {.step = 1, .ranks = 1, .config_digest = "", .data_digest = ""};
    assert_ok(write_slices(folder, 1, 0, &slice, 1, NULL, part));
    assert_ok(dl_checkpoint_commit(folder, &about, &(const char *){part->data}));
}

static void read_again(void **state) {
    const char *folder = folder_of(state), *path = step_path(state, 1, "part-00000.h5");
    const atomic_bool go_on = false, stop = true;
    char wanted[200];
    dl_text part = {0};
    write_large(folder, &part);
    assert_ok(dl_checkpoint_read_again(folder, 1, part.data, NULL));
    assert_ok(dl_checkpoint_read_again(folder, 1, part.data, &go_on));
    assert_error(dl_checkpoint_read_again(folder, 1, part.data, &stop), DL_INTERRUPTED, "at byte 0");
    damage(path, BLOCK + 5);
    (void)snprintf(wanted, sizeof wanted, "part-00000.h5: bytes %d-%d are damaged", BLOCK, 2 * BLOCK - 1);
    assert_error(dl_checkpoint_read_again(folder, 1, part.data, NULL), DL_ERR_CORRUPT, wanted);
    damage(path, BLOCK + 5);
    damage(path, 2 * BLOCK + 5); /* in the last block, which is no whole one */
    (void)snprintf(wanted, sizeof wanted, "part-00000.h5: bytes %d-", 2 * BLOCK);
    assert_error(dl_checkpoint_read_again(folder, 1, part.data, NULL), DL_ERR_CORRUPT, wanted);
    damage(path, 2 * BLOCK + 5);
    FILE *stream = fopen(path, "a");
    assert_non_null(stream);
    assert_int_equal(fputc('x', stream), 'x');
    assert_int_equal(fclose(stream), 0);
    assert_error(dl_checkpoint_read_again(folder, 1, part.data, NULL), DL_ERR_CORRUPT, "do not belong to it");
    assert_int_equal(unlink(path), 0);
    assert_error(dl_checkpoint_read_again(folder, 1, part.data, NULL), DL_ERR_CORRUPT, "are missing");
    dl_text_free(&part);
}

/* What dl_checkpoint_prune would find to do, by the names. */
static void something_goes(void **state) {
    const char *folder = folder_of(state);
    const dl_checkpoint_keep two = {.newest = 2, .pinned = (int64_t[]){1}, .n_pinned = 1}, none = {0};
    bool goes = true;
    assert_error(dl_checkpoint_prunes(folder, &none, &goes), DL_ERR_USAGE, "at least 1");
    assert_false(goes);
    for (int64_t step = 1; step <= 4; step++) {
        assert_ok(dl_checkpoint_prunes(folder, &two, &goes));
        assert_false(goes);
        assert_ok(sample_save(folder, step, 1));
    }
    assert_ok(dl_checkpoint_prunes(folder, &two, &goes));
    assert_true(goes);
}

/* All but the newest and the pinned, of those that are whole. */
static void pruned(void **state) {
    const char *folder = folder_of(state);
    const dl_checkpoint_keep keep = {.newest = 2, .pinned = (int64_t[]){2}, .n_pinned = 1};
    int64_t *deleted = NULL;
    int n = 9;
    for (int64_t step = 1; step <= 6; step++) {
        assert_ok(sample_save(folder, step, 2));
    }
    put_file(step_path(state, 1, "notes.txt"), "mine\n");
    assert_int_equal(unlink(step_path(state, 5, "part-00001.h5")),
                     0); /* not whole: neither counted nor deleted */
    assert_error(dl_checkpoint_prune(folder, &(dl_checkpoint_keep){0}, NULL, &n), DL_ERR_USAGE, "at least 1");
    assert_ok(dl_checkpoint_prune(folder, &keep, &deleted, &n));
    assert_int_equal(n, 2);
    assert_int_equal(deleted[0], 3);
    assert_int_equal(deleted[1], 1);
    dl_free(&deleted);
    for (int64_t step = 2; step <= 6; step += 2) {
        assert_ok(sample_load(step_path(state, step, "")));
    }
    assert_int_equal(access(step_path(state, 5, "part-00000.h5"), F_OK), 0);
    assert_int_equal(access(step_path(state, 1, "notes.txt"), F_OK), 0);
    assert_int_equal(access(step_path(state, 1, "part-00000.h5"), F_OK), -1);
    assert_int_equal(access(step_path(state, 1, "manifest.json.unfinished"), F_OK), -1);
    assert_int_equal(access(step_path(state, 3, ""), F_OK), -1);
}

/* Nothing older is deleted while the newest is damaged. */
static void pruned_only_when_safe(void **state) {
    const char *folder = folder_of(state);
    int n = 9;
    for (int64_t step = 1; step <= 4; step++) {
        assert_ok(sample_save(folder, step, 1));
    }
    damage(step_path(state, 4, "part-00000.h5"), 4500);
    assert_error(dl_checkpoint_prune(folder, &(dl_checkpoint_keep){.newest = 1}, NULL, &n), DL_ERR_CORRUPT,
                 "part-00000.h5: bytes 0-");
    assert_int_equal(n, 0);
    for (int64_t step = 1; step <= 3; step++) {
        assert_ok(sample_load(step_path(state, step, "")));
    }
}

/* Where the ranks have read it again it is not read once more; its manifest is looked at all the same. */
static void read_by_the_ranks(void **state) {
    const char *folder = folder_of(state);
    const dl_checkpoint_keep keep = {.newest = 1, .read_again = 4};
    int n = 9;
    for (int64_t step = 1; step <= 4; step++) {
        assert_ok(sample_save(folder, step, 1));
    }
    damage(step_path(state, 4, "manifest.json"), 20);
    assert_error(dl_checkpoint_prune(folder, &keep, NULL, &n), DL_ERR_CORRUPT, "manifest.json");
    assert_int_equal(n, 0);
    damage(step_path(state, 4, "manifest.json"), 20);
    assert_ok(dl_checkpoint_prune(folder, &keep, NULL, &n));
    assert_int_equal(n, 3);
    assert_ok(sample_load(step_path(state, 4, "")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(read_again),        TEST(something_goes), TEST(pruned), TEST(pruned_only_when_safe),
        TEST(read_by_the_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
