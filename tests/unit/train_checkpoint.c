/* Checkpoints: what any number of ranks writes comes back slice by slice; what is unfinished, damaged,
 * foreign or newer is told apart; cleaning touches nothing else. */
#define _GNU_SOURCE
#include "checkpoint_folder.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Every number of ranks writes the same tensors. */
static void any_ranks(void **state) {
    for (int ranks = 1; ranks <= 5; ranks++) {
        assert_ok(sample_save(folder_of(state), ranks, ranks));
        assert_ok(sample_load(step_path(state, ranks, "")));
    }
    int64_t *steps = NULL;
    int n = 0;
    assert_ok(dl_checkpoint_scan(folder_of(state), &steps, &n));
    assert_int_equal(n, 5);
    for (int i = 0; i < n; i++) {
        assert_int_equal(steps[i], 5 - i);
    }
    dl_free(&steps);
}

/* A box of a tensor against its elements in the whole. */
static void check_box(dl_checkpoint *c, int tensor, const int64_t *offset, const dl_shape *shape) {
    float box[35];
    const dl_shape *whole = &sample_tensor[tensor].shape;
    memset(box, 0xee, sizeof box);
    assert_ok(dl_checkpoint_read(c, tensor, offset, shape, box));
    for (int64_t i = 0; i < shape->dim[0]; i++) {
        for (int64_t k = 0; k < shape->dim[1]; k++) {
            for (int64_t b = 0; b < 4; b++) {
                const int64_t at = ((offset[0] + i) * whole->dim[1] + offset[1] + k) * 4 + b;
                assert_int_equal(((unsigned char *)box)[(i * shape->dim[1] + k) * 4 + b],
                                 sample_byte(tensor, dl_checkpoint_about_of(c)->step, at));
            }
        }
    }
}

/* Any box, at any offsets, from parts that were cut elsewhere. */
static void any_slice(void **state) {
    dl_checkpoint *c = NULL;
    assert_ok(sample_save(folder_of(state), 3, 3));
    assert_ok(dl_checkpoint_open(step_path(state, 3, ""), &c));
    const int tensor = dl_checkpoint_find(c, "/parameters/dense/weight");
    assert_int_equal(tensor, 2);
    assert_int_equal(dl_checkpoint_find(c, "/parameters/dense"), -1);
    for (int64_t row = 0; row < 5; row++) {
        for (int64_t n = 0; n <= 5 - row; n++) {
            for (int64_t column = 0; column < 7; column++) {
                for (int64_t m = 0; m <= 7 - column; m++) {
                    check_box(c, tensor, (int64_t[]){row, column}, &DL_SHAPE(n, m));
                }
            }
        }
    }
    float out[35];
    assert_error(dl_checkpoint_read(c, tensor, (int64_t[]){3, 0}, &DL_SHAPE(3, 1), out), DL_ERR_USAGE,
                 "does not lie in");
    assert_error(dl_checkpoint_read(c, tensor, (int64_t[]){-1, 0}, &DL_SHAPE(1, 1), out), DL_ERR_USAGE,
                 "does not lie in");
    assert_error(dl_checkpoint_read(c, tensor, (int64_t[]){0}, &DL_SHAPE(1), out), DL_ERR_USAGE,
                 "does not lie in");
    dl_checkpoint_close(&c);
}

enum { LARGE = 5 << 20 };

static dl_status save_large(const char *folder, int64_t step, const char *bytes, const atomic_bool *stop) {
    const dl_checkpoint_slice slice[] = {
        {.name = "/a",
         .dtype = DL_U8,
         .whole = DL_SHAPE(LARGE),
         .offset = {LARGE / 2},
         .shape = DL_SHAPE(LARGE / 2),
         .bytes = bytes + LARGE / 2},
        {.name = "/a",
         .dtype = DL_U8,
         .whole = DL_SHAPE(LARGE),
         .shape = DL_SHAPE(LARGE / 2),
         .bytes = bytes},
        {.name = "/b", .dtype = DL_U8, .whole = DL_SHAPE(3), .shape = DL_SHAPE(3), .bytes = bytes},
    };
    const dl_checkpoint_about about = {.step = step, .ranks = 1, .config_digest = "", .data_digest = ""};
    dl_text part;
    dl_status status = write_slices(folder, step, 0, slice, 3, stop, &part);
    if (status == DL_OK) {
        status = dl_checkpoint_commit(folder, &about, &(const char *){part.data});
    } else { /* other ranks may be about to write into the folder */
        char path[4096];
        assert_ok(dl_checkpoint_path(folder, step, path, sizeof path));
        assert_int_equal(access(path, F_OK), 0);
        (void)strncat(path, "/part-00000.h5", sizeof path - strlen(path) - 1);
        assert_int_equal(access(path, F_OK), -1);
        dl_checkpoint_abandon(folder, step, 0);
    }
    dl_text_free(&part);
    return status;
}

/* Several blocks, two slices of one tensor in one part; damage is named by its bytes. */
static void many_blocks(void **state) {
    static char bytes[LARGE], again[LARGE];
    dl_checkpoint *c = NULL;
    char wanted[200];
    for (int i = 0; i < LARGE; i++) {
        bytes[i] = (char)(i * 7 + i / 1000);
    }
    assert_ok(save_large(folder_of(state), 1, bytes, NULL));
    assert_ok(dl_checkpoint_open(step_path(state, 1, ""), &c));
    assert_ok(dl_checkpoint_read(c, 0, (int64_t[]){0}, &DL_SHAPE(LARGE), again));
    assert_memory_equal(bytes, again, LARGE);
    assert_true(dl_checkpoint_n_bytes(c) > LARGE);
    dl_checkpoint_close(&c);
    const char *part = step_path(state, 1, "part-00000.h5");
    damage(part, (2 << 20) + 5);
    damage(part, (3 << 20) + 5);
    assert_ok(dl_checkpoint_open(step_path(state, 1, ""), &c));
    (void)snprintf(wanted, sizeof wanted, "part-00000.h5: bytes %d-%d are damaged", 2 << 20, (4 << 20) - 1);
    assert_error(dl_checkpoint_verify(c, 0, 1), DL_ERR_CORRUPT, wanted);
    assert_error(dl_checkpoint_read(c, 1, (int64_t[]){0}, &DL_SHAPE(3), again), DL_ERR_CORRUPT, wanted);
    dl_checkpoint_close(&c);
}

static void stopped(void **state) {
    static char bytes[LARGE];
    const atomic_bool stop = true;
    assert_error(save_large(folder_of(state), 1, bytes, &stop), DL_INTERRUPTED, "was stopped");
    assert_int_equal(access(step_path(state, 1, ""), F_OK), -1);
}

/* Ranks of different jobs divide the work of verifying; a share finds what is in it. */
static void shares(void **state) {
    dl_checkpoint *c = NULL;
    assert_ok(sample_save(folder_of(state), 2, 3));
    damage(step_path(state, 2, "part-00001.h5"), 100);
    assert_ok(dl_checkpoint_open(step_path(state, 2, ""), &c));
    assert_ok(dl_checkpoint_verify(c, 0, 3));
    assert_ok(dl_checkpoint_verify(c, 0, 2));
    assert_error(dl_checkpoint_verify(c, 1, 2), DL_ERR_CORRUPT, "part-00001.h5: bytes 0-");
    dl_checkpoint_close(&c);
}

/* The manifest's slices must make up each tensor, exactly once. */
static void not_covered(void **state) {
    dl_text part[2] = {{0}};
    const char *folder = folder_of(state);
    assert_ok(sample_write_part(folder, 4, 0, 2, &part[0]));
    assert_ok(sample_write_part(folder, 4, 1, 2, &part[1]));
    assert_error(sample_commit(folder, 4, 1, &(const char *){part[0].data}), DL_ERR_INTERNAL, "elements");
    const char *twice[] = {part[0].data, part[0].data};
    assert_error(sample_commit(folder, 4, 2, twice), DL_ERR_INTERNAL, "not in order");
    dl_text_free(&part[1]);
    assert_ok(sample_write_part(folder, 4, 1, 3, &part[1])); /* of another partition */
    const char *overlap[] = {part[0].data, part[1].data};
    assert_error(sample_commit(folder, 4, 2, overlap), DL_ERR_INTERNAL, "overlap");
    assert_error(dl_checkpoint_open(step_path(state, 4, ""), &(dl_checkpoint *){NULL}), DL_ERR_USAGE,
                 "is going on or was broken off");
    dl_checkpoint_abandon(folder, 4, 0);
    assert_int_equal(access(step_path(state, 4, ""), F_OK), 0); /* the other rank's part is in it */
    dl_checkpoint_abandon(folder, 4, 1);
    assert_int_equal(access(step_path(state, 4, ""), F_OK), -1);
    dl_text_free(&part[0]);
    dl_text_free(&part[1]);
}

/* No manifest is written that would not be read: one that is too long is refused while it can still be told.
 */
static void too_much_to_say(void **state) {
    const size_t n = 65 << 20;
    char *long_text = malloc(n + 1);
    assert_non_null(long_text);
    memset(long_text, 'x', n);
    long_text[n] = '\0';
    json_t *about_state = json_pack("{s:s}", "x", long_text);
    const dl_checkpoint_about about = {
        .step = 1, .ranks = 1, .config_digest = "", .data_digest = "", .state = about_state};
    dl_text part = {0};
    assert_ok(sample_write_part(folder_of(state), 1, 0, 1, &part));
    assert_error(dl_checkpoint_commit(folder_of(state), &about, &(const char *){part.data}), DL_ERR_INTERNAL,
                 "at most 67108864");
    assert_int_equal(access(step_path(state, 1, "manifest.json"), F_OK), -1);
    dl_text_free(&part);
    json_decref(about_state);
    free(long_text);
}

/* A step is saved once; what is not ours in its place stays. */
static void in_the_way(void **state) {
    const char *folder = folder_of(state);
    assert_ok(sample_save(folder, 7, 1));
    assert_error(sample_save(folder, 7, 1), DL_ERR_USAGE, "committed already");
    assert_ok(sample_load(step_path(state, 7, "")));
    assert_ok(dl_checkpoint_set_aside(folder, 7));
    assert_ok(sample_save(folder, 7, 2));
    assert_ok(dl_checkpoint_set_aside(folder, 7));
    assert_int_equal(access(step_path(state, 7, ""), F_OK), -1);
    assert_ok(sample_load(path_in(*state, "checkpoints/step-00000007.aside-1")));
    assert_ok(sample_load(path_in(*state, "checkpoints/step-00000007.aside-2")));
    assert_int_equal(mkdir(step_path(state, 8, ""), 0700), 0);
    put_file(step_path(state, 8, "part-00000.h5"), "of a copy without its manifest\n");
    assert_error(sample_save(folder, 8, 1), DL_ERR_USAGE, "move the folder away");
    assert_int_equal(access(step_path(state, 8, "part-00000.h5"), F_OK), 0);
    assert_error(dl_checkpoint_set_aside(folder, 9), DL_ERR_USAGE, "No such file");
}

/* What earlier jobs began goes, and only that. */
static void cleaned(void **state) {
    const char *folder = folder_of(state);
    dl_text part = {0};
    int n = 9;
    assert_ok(dl_checkpoint_clean(folder, &n)); /* no folder yet */
    assert_int_equal(n, 0);
    assert_ok(sample_save(folder, 1, 2));
    assert_ok(sample_write_part(folder, 2, 0, 2, &part));
    dl_text_free(&part);
    assert_ok(sample_write_part(folder, 3, 1, 2, &part));
    dl_text_free(&part);
    put_file(step_path(state, 3, "notes.txt"), "mine\n");
    assert_int_equal(mkdir(step_path(state, 4, ""), 0700), 0);
    assert_int_equal(mkdir(step_path(state, 5, ""), 0700), 0);
    put_file(step_path(state, 5, "part-00000.h5"), "not known to be ours\n");
    assert_ok(dl_checkpoint_clean(folder, &n));
    assert_int_equal(n, 2);
    assert_ok(sample_load(step_path(state, 1, "")));
    assert_int_equal(access(step_path(state, 2, ""), F_OK), -1);
    assert_int_equal(access(step_path(state, 3, "part-00001.h5"), F_OK), -1);
    assert_int_equal(access(step_path(state, 3, "notes.txt"), F_OK), 0);
    assert_int_equal(access(step_path(state, 4, ""), F_OK), -1);
    assert_int_equal(access(step_path(state, 5, "part-00000.h5"), F_OK), 0);
}

/* A checkpoint may be copied to another name, but not to another step's. */
static void copies(void **state) {
    bool silent = false;
    assert_ok(sample_save(folder_of(state), 1, 1));
    assert_ok(sample_save(folder_of(state), 2, 1));
    assert_int_equal(rename(step_path(state, 2, ""), path_in(*state, "best")), 0);
    assert_ok(sample_load(path_in(*state, "best")));
    assert_ok(sample_load(path_in(*state, "best/")));
    assert_int_equal(rename(path_in(*state, "best"), step_path(state, 3, "")), 0);
    assert_error(sample_load(step_path(state, 3, "")), DL_ERR_CORRUPT, "its manifest is of step 2");
    assert_int_equal(sample_newest(folder_of(state), &silent), 1);
    assert_false(silent);
    assert_error(sample_load(path_in(*state, "nothing")), DL_ERR_USAGE, "there is no folder");
    assert_error(sample_load(*state), DL_ERR_USAGE, "there is no manifest.json in it");
}

/* Links inside a checkpoint are not followed; the folder of all may be one. */
static void links(void **state) {
    const char *folder = folder_of(state), *part = step_path(state, 1, "part-00000.h5"),
               *moved = path_in(*state, "moved.h5");
    assert_int_equal(mkdir(path_in(*state, "large-disk"), 0700), 0);
    assert_int_equal(symlink(path_in(*state, "large-disk"), folder), 0);
    assert_ok(sample_save(folder, 1, 1));
    assert_ok(sample_load(step_path(state, 1, "")));
    assert_int_equal(rename(part, moved), 0);
    assert_int_equal(symlink(moved, part), 0);
    assert_error(sample_load(step_path(state, 1, "")), DL_ERR_CORRUPT, "is not a file");
    assert_int_equal(symlink(path_in(*state, "large-disk"), step_path(state, 2, "")), 0);
    assert_error(sample_save(folder, 2, 1), DL_ERR_IO, "cannot open folder");
}

/* What the first version wrote (checkpoint_make FOLDER 12 2) is read for ever, and nothing writes it
 * otherwise. */
static void golden(void **state) {
    dl_checkpoint *c = NULL;
    assert_ok(sample_load("tests/golden/checkpoint-1"));
    assert_ok(dl_checkpoint_open("tests/golden/checkpoint-1", &c));
    assert_int_equal(dl_checkpoint_about_of(c)->step, 12);
    assert_true(json_real_value(json_object_get(json_object_get(dl_checkpoint_about_of(c)->state, "best"),
                                                "valid_loss")) == 0.1 + 0.2);
    dl_checkpoint_close(&c);
    dl_text now = {0}, then = {0};
    assert_ok(sample_save(folder_of(state), 12, 2));
    assert_ok(dl_file_read(step_path(state, 12, "manifest.json"), 1 << 20, &now));
    assert_ok(dl_file_read("tests/golden/checkpoint-1/manifest.json", 1 << 20, &then));
    assert_string_equal(now.data, then.data);
    dl_text_free(&now);
    dl_text_free(&then);
}

/* One layout for all saves of a run: each part is what one of its own would be. */
static void one_layout(void **state) {
    dl_checkpoint_slice slice[SAMPLE_TENSORS];
    char *memory = NULL, path[4096];
    dl_checkpoint_layout *layout = NULL;
    dl_text part[2] = {{0}}, bytes[2] = {{0}};
    const int n = sample_slices(3, 0, 2, slice, &memory);
    assert_non_null(memory);
    assert_ok(dl_checkpoint_layout_create(0, slice, n, &layout));
    for (int64_t step = 2; step <= 3; step++) {
        dl_text_free(&part[0]);
        assert_ok(dl_checkpoint_write_part(folder_of(state), step, layout, NULL, &part[0]));
    }
    assert_ok(dl_path_join(path, sizeof path, folder_of(state), "step-00000003/part-00000.h5"));
    assert_ok(dl_file_read(path, 1 << 20, &bytes[0]));
    dl_checkpoint_abandon(folder_of(state), 3, 0);
    assert_ok(write_slices(folder_of(state), 3, 0, slice, n, NULL, &part[1]));
    assert_ok(dl_file_read(path, 1 << 20, &bytes[1]));
    assert_string_equal(part[0].data, part[1].data);
    assert_int_equal(bytes[0].size, bytes[1].size);
    assert_memory_equal(bytes[0].data, bytes[1].data, bytes[0].size);
    for (int i = 0; i < 2; i++) {
        dl_text_free(&part[i]);
        dl_text_free(&bytes[i]);
    }
    dl_checkpoint_layout_destroy(&layout);
    free(memory);
}

/* --- failing disks --- */

/* Beyond the largest size a file may have: an error, no signal, and the older one stands. */
static void size_limit(void **state) {
    static char bytes[LARGE];
    struct rlimit before, small = {.rlim_cur = 2 << 20, .rlim_max = RLIM_INFINITY};
    bool silent = false;
    assert_ok(sample_save(folder_of(state), 1, 1));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const dl_status status = save_large(folder_of(state), 2, bytes, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, DL_ERR_IO);
    assert_non_null(strstr(dl_error_last()->message, "step-00000002/part-00000.h5"));
    assert_non_null(strstr(dl_error_last()->message, "File too large"));
    assert_int_equal(access(step_path(state, 2, ""), F_OK), -1);
    assert_int_equal(sample_newest(folder_of(state), &silent), 1);
    assert_ok(sample_save(folder_of(state), 2, 1));
}

/* --- beside other users of libhdf5 --- */

static void *read_shard(void *context) {
    const atomic_bool *stop = context;
    const char *path = "/tmp/dltrain-checkpoint-beside.h5";
    int64_t n = 0;
    do {
        dl_h5 *file = NULL;
        dl_h5_dataset dataset;
        bool found = false;
        n += dl_h5_open(path, &file) == DL_OK && dl_h5_find(file, "/x", &dataset, &found) == DL_OK && found
                 ? 1
                 : 0;
        dl_h5_close(&file);
    } while (!atomic_load(stop));
    return (void *)(intptr_t)n;
}

static void *save_many(void *context) {
    intptr_t n = 0;
    for (int step = 1; step <= 20; step++) {
        n += sample_save(context, step, 2) == DL_OK;
    }
    return (void *)n;
}

/* A thread saves while another reads a data set. */
static void beside_reading(void **state) {
    static char folder[256];
    static atomic_bool stop;
    pthread_t reader, writer;
    void *n_read = NULL, *n_saved = NULL;
    (void)snprintf(folder, sizeof folder, "%s", folder_of(state));
    write_shard("/tmp/dltrain-checkpoint-beside.h5", 0, 5);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&reader, NULL, read_shard, &stop), 0);
    assert_int_equal(pthread_create(&writer, NULL, save_many, folder), 0);
    assert_int_equal(pthread_join(writer, &n_saved), 0);
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(reader, &n_read), 0);
    assert_int_equal(unlink("/tmp/dltrain-checkpoint-beside.h5"), 0);
    assert_int_equal((intptr_t)n_saved, 20);
    assert_true((intptr_t)n_read > 0);
    assert_ok(sample_load(step_path(state, 20, "")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(any_ranks),   TEST(any_slice),       TEST(many_blocks), TEST(stopped),    TEST(shares),
        TEST(not_covered), TEST(too_much_to_say), TEST(in_the_way),  TEST(cleaned),    TEST(copies),
        TEST(links),       TEST(golden),          TEST(one_layout),  TEST(size_limit), TEST(beside_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
