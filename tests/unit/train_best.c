/* Which epoch is the best, and for how long. */
#include "train/best.h"
#include "train/trainer_state.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static dl_train_config config_with(const char *metric) {
    dl_train_config train = {.metrics = {.n = 1, .word = -1}};
    while (strcmp(dl_metric_at(train.metrics.value[0])->variant.name, metric) != 0) {
        train.metrics.value[0]++;
    }
    return train;
}

/* Gives the figures epoch by epoch; returns what was the best after the last. */
static dl_best run(const char *name, double min_delta, const double *values, int n, const char *expected) {
    const dl_train_config train = config_with("accuracy");
    dl_best best = dl_best_watch(&train, name, min_delta);
    for (int i = 0; i < n; i++) {
        const dl_score score = {.present = true, .loss = values[i], .metric = {values[i]}};
        const dl_score other = {.present = true, .loss = -i, .metric = {i}};
        const bool valid = strncmp(name, "valid_", 6) == 0;
        const bool better = dl_best_take(&best, i + 1, valid ? &other : &score, valid ? &score : &other);
        assert_int_equal(better, expected[i] == '+');
    }
    return best;
}

static void losses_fall(void **state) {
    (void)state;
    const double values[] = {3, 2, 2, 2.5, 1.5, 1.6, 1.7};
    const dl_best best = run("valid_loss", 0, values, 7, "++--+--");
    assert_int_equal(best.epoch, 5);
    assert_int_equal(best.without, 2);
    assert_true(best.value == 1.5);
}

static void accuracies_rise(void **state) {
    (void)state;
    const double values[] = {0.5, 0.75, 0.75, 0.25};
    const dl_best best = run("accuracy", 0, values, 4, "++--");
    assert_int_equal(best.epoch, 2);
    assert_int_equal(best.without, 2);
}

static void small_changes_do_not_count(void **state) {
    (void)state;
    const double values[] = {4, 3.5, 3, 2.75, 2.5, 2.25};
    const dl_best best = run("loss", 0.5, values, 6, "+-+--+");
    assert_int_equal(best.epoch, 6);
    assert_int_equal(best.without, 0);
}

static void nan_is_never_better(void **state) {
    (void)state;
    const double values[] = {NAN, 1, NAN, 0.5};
    const dl_best best = run("valid_loss", 0, values, 4, "-+-+");
    assert_int_equal(best.epoch, 4);
}

static void nothing_is_watched(void **state) {
    (void)state;
    const double values[] = {1, 0};
    const dl_best best = run("", 0, values, 2, "--");
    assert_null(best.name);
    assert_int_equal(best.epoch, 0);
    assert_int_equal(best.without, 0);
}

/* checkpoint.best may change when a run goes on: an accuracy is no loss to be below. */
static void another_figure_begins_anew(void **state) {
    (void)state;
    const double accuracies[] = {0.5, 0.98};
    const dl_best before = run("accuracy", 0, accuracies, 2, "++");
    const dl_best_state kept = dl_best_state_of(&before);
    assert_string_equal(kept.figure, "accuracy");
    dl_best same = {.name = "accuracy"}, other = {.name = "valid_loss"};
    dl_best_take_up(&same, &kept);
    assert_true(same.epoch == 2 && same.value == 0.98);
    dl_best_take_up(&other, &kept);
    assert_int_equal(other.epoch, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_fall),
        cmocka_unit_test(accuracies_rise),
        cmocka_unit_test(small_changes_do_not_count),
        cmocka_unit_test(nan_is_never_better),
        cmocka_unit_test(nothing_is_watched),
        cmocka_unit_test(another_figure_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
