/* Made data sets: their bytes are part of the promise, for one seed on every machine; what tables say of them
 * is so. */
#define _GNU_SOURCE
#include "data_support.h"

#include "datasets/story.h"
#include "datasets/tokenizer.h"

typedef struct made {
    const char *maker, *split, *digest;
} made;

static const made all[] = {
    {"shapes", "train", "7f0bb8306ec4eddc03a23eabe25b356a"},
    {"shapes", "test", "954ecd096a6b6bcbece235bb8c0b1a74"},
    {"series", "train", "123dbed19894778f63adfd41a6bf58bd"},
    {"series", "test", "b3e2ffb1e6531ffeb1506a237c2d3339"},
    {"text", "train", "c1035652298ff607502658c5ef91cf0d"},
    {"text", "valid", "587bbe06e763e22bc4eb1b55e08c5d29"},
    {"text_chars", "train", "76552ade0ab955de9fd280c21d790b18"},
    {"text_chars", "valid", "46b6801ed6327628d18079f99f45036a"},
};

static const dl_dataset_info *promised(const dl_maker *maker, const char *split) {
    return strcmp(split, "train") == 0   ? &maker->train
           : strcmp(split, "valid") == 0 ? &maker->valid
                                         : &maker->test;
}

static void check_balance(dl_dataset *dataset) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    int64_t count[16] = {0};
    for (int64_t i = 0; i < info->n_samples; i++) {
        int32_t label = -1;
        assert_ok(dl_dataset_read(dataset, i, 1, &label));
        count[label]++;
    }
    for (int64_t c = 0; c < info->n_classes; c++) {
        assert_int_equal(count[c], info->n_samples / info->n_classes);
    }
}

static void check_split(const char *folder, const made *each) {
    dl_dataset *dataset = NULL;
    const dl_dataset_info *wanted = promised(dl_maker_find(each->maker), each->split);
    assert_ok(dl_dataset_open(folder, each->split, &dataset));
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    assert_string_equal(info->digest, each->digest);
    assert_int_equal(info->n_samples, wanted->n_samples);
    assert_int_equal(info->n_classes, wanted->n_classes);
    assert_int_equal(info->vocab_size, wanted->vocab_size);
    assert_int_equal(info->unk_id, wanted->unk_id);
    assert_int_equal(info->n_files, wanted->n_files);
    assert_int_equal(info->min_length, wanted->min_length);
    assert_int_equal(info->max_length, wanted->max_length);
    assert_int_equal(info->n_fields, wanted->n_fields);
    assert_memory_equal(info->field, wanted->field, sizeof info->field);
    if (info->vocab_size == 0) {
        check_balance(dataset);
    }
    dl_dataset_close(&dataset);
}

static void made_sets(void **state) {
    const char *before = "";
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *folder = path_in(*state, all[i].maker);
        if (strcmp(before, all[i].maker) != 0) {
            const dl_make_request request = {.folder = folder, .seed = 1, .n_shards = 1};
            assert_ok(dl_maker_find(all[i].maker)->make(&request));
            assert_error(dl_maker_find(all[i].maker)->make(&request), DL_ERR_USAGE, "already holds");
        }
        before = all[i].maker;
        check_split(folder, &all[i]);
    }
}

static void shards_hold_the_same(void **state) {
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i += 2) {
        dl_dataset *dataset = NULL;
        const char *folder = path_in(*state, all[i].maker);
        const dl_make_request request = {.folder = folder, .seed = 1, .n_shards = 7};
        assert_ok(dl_maker_find(all[i].maker)->make(&request));
        assert_ok(dl_dataset_open(folder, all[i].split, &dataset));
        assert_int_equal(dl_dataset_info_of(dataset)->n_files, 7);
        assert_string_equal(dl_dataset_info_of(dataset)->digest, all[i].digest);
        dl_dataset_close(&dataset);
    }
}

/* What makers.def's texts say a perfect model needs: 1.68 nats a word, 0.417 a character. */
static void stories_are_as_hard_as_said(void **state) {
    (void)state;
    dl_text text = {0};
    double nats = 0;
    dl_tokenizer tokenizer = {.kind = DL_TOKEN_WORDS};
    for (uint64_t i = 0; i < 20000; i++) {
        assert_ok(dl_story_write(1, i, &text, &nats));
    }
    assert_ok(dl_tokenizer_add(&tokenizer, "stories", text.data, text.size));
    const double per_word = nats / (double)tokenizer.n, per_character = nats / (double)text.size;
    if (per_word < 1.675 || per_word > 1.685 || per_character < 0.4165 || per_character > 0.4175) {
        fail_msg("%g nats a word, %g a character", per_word, per_character);
    }
    dl_tokenizer_free(&tokenizer);
    dl_text_free(&text);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(made_sets),
        TEST(shards_hold_the_same),
        cmocka_unit_test(stories_are_as_hard_as_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
