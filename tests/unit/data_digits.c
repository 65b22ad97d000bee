/* The made digits: their bytes are part of the promise, for one seed on every machine. */
#define _GNU_SOURCE
#include "data_support.h"

#include "base/digest.h"
#include "datasets/digits.h"

static void drawing_is_a_function_of_its_arguments(void **state) {
    (void)state;
    uint8_t one[DL_DIGIT_PIXELS], two[DL_DIGIT_PIXELS];
    for (int digit = 0; digit < 10; digit++) {
        dl_digit_draw(1, 5, digit, one);
        dl_digit_draw(1, 5, digit, two);
        assert_memory_equal(one, two, sizeof one);
        dl_digit_draw(1, 6, digit, two);
        assert_memory_not_equal(one, two, sizeof one);
        dl_digit_draw(2, 5, digit, two);
        assert_memory_not_equal(one, two, sizeof one);
    }
}

/* Some ink, not too much, whatever is drawn. */
static void digits_can_be_seen(void **state) {
    (void)state;
    for (uint64_t sample = 0; sample < 2000; sample++) {
        uint8_t image[DL_DIGIT_PIXELS];
        int ink = 0;
        dl_digit_draw(3, sample, (int)(sample % 10), image);
        for (int i = 0; i < DL_DIGIT_PIXELS; i++) {
            ink += image[i] > 100;
        }
        assert_in_range(ink, 8, 350);
    }
}

static int64_t largest_difference(const int64_t *count) {
    int64_t least = count[0], most = count[0];
    for (int i = 1; i < 10; i++) {
        least = count[i] < least ? count[i] : least;
        most = count[i] > most ? count[i] : most;
    }
    return most - least;
}

static void check_split(const char *folder, const char *split, const dl_dataset_info *promised,
                        const char *digest) {
    dl_dataset *dataset = NULL;
    int64_t count[10] = {0};
    int32_t before = -1;
    int64_t runs = 0;
    assert_ok(dl_dataset_open(folder, split, &dataset));
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    assert_int_equal(info->n_samples, promised->n_samples);
    assert_int_equal(info->n_classes, promised->n_classes);
    assert_int_equal(info->n_files, promised->n_files);
    assert_int_equal(info->n_fields, promised->n_fields);
    assert_memory_equal(info->field, promised->field, sizeof info->field);
    assert_true(info->mapped);
    assert_string_equal(info->digest, digest);
    for (int64_t i = 0; i < info->n_samples; i++) {
        int32_t label = -1;
        assert_ok(dl_dataset_read(dataset, i, 1, &label));
        assert_in_range(label, 0, 9);
        count[label]++;
        runs += label != before;
        before = label;
    }
    assert_int_equal(largest_difference(count), 0);
    /* Shuffled: nine of ten neighbours differ. */
    assert_true(runs > info->n_samples * 88 / 100 && runs < info->n_samples * 92 / 100);
    dl_dataset_close(&dataset);
}

static int n_reports;
static double last_share;
static void take_report(const char *what, double share) {
    assert_non_null(what);
    n_reports++;
    last_share = share;
}

static void the_whole_set(void **state) {
    const char *folder = *state;
    const dl_maker *maker = dl_maker_find("digits");
    assert_non_null(maker);
    dl_make_request request = {.folder = folder, .seed = 1, .n_shards = 1, .progress = take_report};
    assert_ok(maker->make(&request));
    assert_true(n_reports > 10 && last_share >= 1.0);
    check_split(folder, "train", &maker->train, "e787bfc21f44c123d416430dc590af25");
    check_split(folder, "test", &maker->test, "8fdf286a0cd533ee30d9c96f508c3a03");
    request.progress = NULL;
    assert_error(maker->make(&request), DL_ERR_USAGE, "already holds train-*.h5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawing_is_a_function_of_its_arguments),
        cmocka_unit_test(digits_can_be_seen),
        cmocka_unit_test_setup_teardown(the_whole_set, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
