/* The sampler's order and the batches read ahead. Run under the thread sanitizer too. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "data_support.h"

enum { N = 100 };

/* --- the order --- */

static void order_is_a_permutation(void **state) {
    (void)state;
    static uint32_t order[60000], again[60000];
    static bool seen[60000];
    assert_ok(dl_sampler_order(1, 1, 60000, order));
    assert_ok(dl_sampler_order(1, 1, 60000, again));
    assert_memory_equal(order, again, sizeof order);
    int64_t fixed = 0;
    for (int64_t i = 0; i < 60000; i++) {
        assert_true(order[i] < 60000 && !seen[order[i]]);
        seen[order[i]] = true;
        fixed += order[i] == i;
    }
    /* A random permutation leaves one element in its place, on average. */
    assert_true(fixed < 10);
    assert_ok(dl_sampler_order(1, 2, 60000, again));
    assert_memory_not_equal(order, again, sizeof order);
    assert_ok(dl_sampler_order(2, 1, 60000, again));
    assert_memory_not_equal(order, again, sizeof order);
}

/* Each of the six orders of three elements comes equally often. */
static void order_is_uniform(void **state) {
    (void)state;
    int count[27] = {0};
    for (int64_t epoch = 0; epoch < 6000; epoch++) {
        uint32_t order[3];
        assert_ok(dl_sampler_order(7, epoch, 3, order));
        count[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    int kinds = 0;
    for (int i = 0; i < 27; i++) {
        kinds += count[i] > 0;
        assert_true(count[i] == 0 || (count[i] > 850 && count[i] < 1150));
    }
    assert_int_equal(kinds, 6);
}

static void order_of_few_and_too_many(void **state) {
    (void)state;
    uint32_t order[1] = {9};
    assert_ok(dl_sampler_order(1, 1, 0, order));
    assert_int_equal(order[0], 9);
    assert_ok(dl_sampler_order(1, 1, 1, order));
    assert_int_equal(order[0], 0);
    assert_error(dl_sampler_order(1, 1, INT64_C(1) << 32, order), DL_ERR_DATA, "cannot be shuffled");
}

/* --- batches --- */

static dl_status plan_in_order(void *context, int64_t number, int64_t max_samples, int64_t *ids, int64_t *n) {
    const int64_t total = *(const int64_t *)context, first = number * max_samples;
    *n = first >= total ? -1 : total - first < max_samples ? total - first : max_samples;
    for (int64_t i = 0; i < *n; i++) {
        ids[i] = (first + i) * 37 % N;
    }
    return DL_OK;
}

static void check_batch(const dl_batch *batch) {
    for (int64_t i = 0; i < batch->n_samples; i++) {
        const uint8_t *row = (const uint8_t *)batch->field[0] + i * 30;
        assert_int_equal(((const int32_t *)batch->field[1])[i], batch->ids[i] % 7);
        for (int64_t j = 0; j < 30; j++) {
            assert_int_equal(row[j], pixel(batch->ids[i], j));
        }
    }
}

static dl_dataset *open_hundred(const char *folder) {
    dl_dataset *dataset = NULL;
    write_shard(path_in(folder, "train-0.h5"), 0, 60);
    write_shard(path_in(folder, "train-1.h5"), 60, 40);
    assert_ok(dl_dataset_open(folder, "train", &dataset));
    return dataset;
}

static void batches_come_in_order(void **state) {
    dl_dataset *dataset = open_hundred(*state);
    static const int64_t sizes[] = {1, 7, 32, 100, 101};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int buffers = 2; buffers < 5; buffers++) {
            int64_t total = 93, seen = 0, number = 0;
            const dl_prefetch_options options = {buffers, sizes[s], plan_in_order, &total};
            dl_prefetch *prefetch = NULL;
            assert_ok(dl_prefetch_start(dataset, &options, &prefetch));
            const dl_batch *batch = NULL;
            assert_ok(dl_prefetch_next(prefetch, &batch));
            while (batch != NULL) {
                assert_int_equal(batch->number, number++);
                assert_int_equal(batch->ids[0], seen * 37 % N);
                assert_true(batch->waited >= 0);
                check_batch(batch);
                seen += batch->n_samples;
                dl_prefetch_release(prefetch, batch);
                assert_ok(dl_prefetch_next(prefetch, &batch));
            }
            assert_int_equal(seen, total);
            assert_ok(dl_prefetch_next(prefetch, &batch));
            assert_null(batch);
            dl_prefetch_stop(&prefetch);
            assert_null(prefetch);
        }
    }
    dl_dataset_close(&dataset);
}

static void batches_stay_while_held(void **state) {
    dl_dataset *dataset = open_hundred(*state);
    int64_t total = 100;
    const dl_prefetch_options options = {3, 8, plan_in_order, &total};
    dl_prefetch *prefetch = NULL;
    const dl_batch *batch[4] = {NULL};
    assert_ok(dl_prefetch_start(dataset, &options, &prefetch));
    for (int i = 0; i < 3; i++) {
        assert_ok(dl_prefetch_next(prefetch, &batch[i]));
    }
    assert_error(dl_prefetch_next(prefetch, &batch[3]), DL_ERR_INTERNAL, "release one");
    dl_prefetch_release(prefetch, batch[1]);
    assert_ok(dl_prefetch_next(prefetch, &batch[3]));
    assert_int_equal(batch[3]->number, 3);
    check_batch(batch[0]);
    check_batch(batch[2]);
    check_batch(batch[3]);
    /* Stopping with batches in use and the thread waiting for a buffer. */
    dl_prefetch_stop(&prefetch);
    dl_dataset_close(&dataset);
}

static dl_status plan_bad_sample(void *context, int64_t number, int64_t max_samples, int64_t *ids,
                                 int64_t *n) {
    (void)context;
    *n = max_samples;
    for (int64_t i = 0; i < max_samples; i++) {
        ids[i] = number == 2 ? N : 0;
    }
    return DL_OK;
}

static void failures_arrive_after_the_good_batches(void **state) {
    dl_dataset *dataset = open_hundred(*state);
    const dl_prefetch_options options = {2, 4, plan_bad_sample, NULL};
    dl_prefetch *prefetch = NULL;
    assert_ok(dl_prefetch_start(dataset, &options, &prefetch));
    for (int i = 0; i < 2; i++) {
        const dl_batch *batch = NULL;
        assert_ok(dl_prefetch_next(prefetch, &batch));
        assert_non_null(batch);
        dl_prefetch_release(prefetch, batch);
    }
    const dl_batch *batch = NULL;
    assert_error(dl_prefetch_next(prefetch, &batch), DL_ERR_INTERNAL, "sample 100");
    assert_error(dl_prefetch_next(prefetch, &batch), DL_ERR_INTERNAL, "sample 100");
    dl_prefetch_stop(&prefetch);
    dl_dataset_close(&dataset);
}

static void stopping_is_prompt(void **state) {
    dl_dataset *dataset = open_hundred(*state);
    int64_t total = INT64_C(1) << 40;
    for (int i = 0; i < 50; i++) {
        const dl_prefetch_options options = {2, 64, plan_in_order, &total};
        dl_prefetch *prefetch = NULL;
        assert_ok(dl_prefetch_start(dataset, &options, &prefetch));
        dl_prefetch_stop(&prefetch);
    }
    dl_dataset_close(&dataset);
}

static void memory_is_known_before(void **state) {
    dl_dataset *dataset = open_hundred(*state);
    const dl_prefetch_options options = {3, 128, plan_in_order, NULL};
    /* ids 1024, x 3840, y 512, each a multiple of 64. */
    assert_int_equal(dl_prefetch_bytes(dl_dataset_info_of(dataset), &options), 3 * (1024 + 3840 + 512));
    dl_dataset_close(&dataset);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_a_permutation),
        cmocka_unit_test(order_is_uniform),
        cmocka_unit_test(order_of_few_and_too_many),
        TEST(batches_come_in_order),
        TEST(batches_stay_while_held),
        TEST(failures_arrive_after_the_good_batches),
        TEST(stopping_is_prompt),
        TEST(memory_is_known_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
