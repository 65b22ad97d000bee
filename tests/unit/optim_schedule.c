/* Learning rates: exact values as a function of the samples seen. */
#include "base/mem.h"
#include "optim/optim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    dl_pool *pool;
    dl_diagnostics diagnostics;
    dl_text said;
} fixture;

static int set_up(void **state) {
    static fixture f;
    f = (fixture){.pool = NULL};
    f.diagnostics.out = &f.said;
    *state = &f;
    return dl_pool_create(&f.pool) == DL_OK ? 0 : -1;
}

static int tear_down(void **state) {
    fixture *f = *state;
    dl_text_free(&f->said);
    dl_pool_destroy(&f->pool);
    return 0;
}

static dl_variant chosen(fixture *f, const char *text) {
    dl_node *root = NULL;
    dl_variant variant = {.kind = NULL};
    assert_int_equal(dl_tree_parse("test.yaml", text, strlen(text), f->pool, &f->diagnostics, &root), DL_OK);
    assert_int_equal(dl_variant_read(dl_schedule_kinds(), "schedule", dl_node_get(root, "schedule"), &variant,
                                     f->pool, &f->diagnostics),
                     DL_OK);
    assert_int_equal(f->diagnostics.n_errors, 0);
    return variant;
}

/* The rate after `seen` samples: batches of 100, 10,000 samples in all, base rate 0.5. */
static double rate(const dl_variant *schedule, int64_t seen) {
    const dl_progress progress = {.samples_seen = seen, .batch_size = 100, .total_samples = 10000};
    return dl_schedule_rate(schedule, 0.5, &progress);
}

static void constant_is_constant(void **state) {
    const dl_variant schedule = chosen(*state, "schedule: constant");
    assert_true(rate(&schedule, 0) == 0.5);
    assert_true(rate(&schedule, 5000) == 0.5);
    assert_true(rate(&schedule, 20000) == 0.5);
}

static void warm_up_is_linear(void **state) {
    const dl_variant schedule = chosen(*state, "schedule: {constant: {warmup_steps: 4}}");
    assert_true(rate(&schedule, 0) == 0.125);
    assert_true(rate(&schedule, 100) == 0.25);
    assert_true(rate(&schedule, 200) == 0.375);
    assert_true(rate(&schedule, 300) == 0.5);
    assert_true(rate(&schedule, 350) == 0.5); /* after a short batch: never above the base rate */
    assert_true(rate(&schedule, 400) == 0.5);
    assert_true(rate(&schedule, 9900) == 0.5);
}

static void cosine_falls_to_its_end(void **state) {
    const dl_variant schedule = chosen(*state, "schedule: cosine");
    assert_true(rate(&schedule, 0) == 0.5);
    assert_true(fabs(rate(&schedule, 5000) - 0.25) < 1e-16);
    assert_true(fabs(rate(&schedule, 2500) - 0.42677669529663687) < 1e-16); /* 0.5 (1 + sqrt(1/2)) / 2 */
    assert_true(fabs(rate(&schedule, 7500) - 0.07322330470336312) < 1e-16);
    assert_true(rate(&schedule, 10000) == 0);
    assert_true(rate(&schedule, 12345) == 0);
}

static void cosine_starts_after_the_warm_up(void **state) {
    const dl_variant schedule = chosen(*state, "schedule: {cosine: {warmup_steps: 20, final: 0.2}}");
    assert_true(fabs(rate(&schedule, 900) - 0.25) < 1e-16);
    assert_true(rate(&schedule, 1900) == 0.5);
    assert_true(rate(&schedule, 2000) == 0.5);
    assert_true(fabs(rate(&schedule, 6000) - 0.3) < 1e-16); /* half way: 0.5 (0.2 + 0.8 / 2) */
    assert_true(fabs(rate(&schedule, 10000) - 0.1) < 1e-16);
}

/* The rate after so many epochs of 1,000 samples. */
static double rate_after(const dl_variant *schedule, double epochs) {
    const dl_progress progress = {.samples_seen = (int64_t)round(1000 * epochs),
                                  .batch_size = 100,
                                  .total_samples = 10000,
                                  .epoch_samples = 1000};
    return dl_schedule_rate(schedule, 1, &progress);
}

/* torch.optim.lr_scheduler.MultiStepLR and StepLR, stepped at every epoch's end. */
static void step_steps_down(void **state) {
    const dl_variant at = chosen(*state, "schedule: {step: {epochs: [3, 6.5, 6.5], factor: 0.5}}");
    assert_true(rate_after(&at, 0) == 1 && rate_after(&at, 2.9) == 1);
    assert_true(rate_after(&at, 3) == 0.5 && rate_after(&at, 6.4) == 0.5);
    assert_true(rate_after(&at, 6.5) == 0.125 && rate_after(&at, 9.9) == 0.125);
    const dl_variant every = chosen(*state, "schedule: {step: {every: 3, factor: 0.1, warmup_steps: 5}}");
    assert_true(rate_after(&every, 0) == 0.2 && rate_after(&every, 0.4) == 1);
    assert_true(rate_after(&every, 2.9) == 1);
    assert_true(fabs(rate_after(&every, 3) - 0.1) < 1e-16 && fabs(rate_after(&every, 5.9) - 0.1) < 1e-16);
    assert_true(fabs(rate_after(&every, 9) - 0.001) < 1e-16);
}

static void step_needs_to_know_when(void **state) {
    fixture *f = *state;
    const dl_variant never = chosen(f, "schedule: step");
    assert_int_equal(dl_schedule_check(&never, &f->diagnostics), DL_OK);
    assert_int_equal(f->diagnostics.n_errors, 1);
    f->diagnostics.n_errors = 0;
    const dl_variant both = chosen(f, "schedule: {step: {every: 3, epochs: [2]}}");
    assert_int_equal(dl_schedule_check(&both, &f->diagnostics), DL_OK);
    assert_int_equal(f->diagnostics.n_errors, 1);
    assert_non_null(strstr(f->said.data, "step needs either 'epochs'"));
    f->diagnostics.n_errors = 0;
    const dl_variant good = chosen(f, "schedule: cosine");
    assert_int_equal(dl_schedule_check(&good, &f->diagnostics), DL_OK);
    assert_int_equal(f->diagnostics.n_errors, 0);
}

/* torch.optim.lr_scheduler.ExponentialLR at whole epochs. */
static void exponential_falls(void **state) {
    const dl_variant smooth = chosen(*state, "schedule: {exponential: {factor: 0.25}}");
    assert_true(rate_after(&smooth, 0) == 1 && rate_after(&smooth, 0.5) == 0.5);
    assert_true(rate_after(&smooth, 1) == 0.25 && rate_after(&smooth, 2) == 0.0625);
    const dl_variant late =
        chosen(*state, "schedule: {exponential: {factor: 0.5, start: 4, every: 2, staircase: true}}");
    assert_true(rate_after(&late, 4) == 1 && rate_after(&late, 5.9) == 1);
    assert_true(rate_after(&late, 6) == 0.5 && rate_after(&late, 7.9) == 0.5 && rate_after(&late, 8) == 0.25);
}

/* torch.optim.lr_scheduler.PolynomialLR with total_iters at the end of training. */
static void polynomial_reaches_its_end(void **state) {
    const dl_variant line = chosen(*state, "schedule: polynomial");
    assert_true(rate_after(&line, 0) == 1 && rate_after(&line, 5) == 0.5 && rate_after(&line, 10) == 0);
    const dl_variant square =
        chosen(*state, "schedule: {polynomial: {power: 2, final: 0.2, warmup_steps: 20}}");
    assert_true(rate_after(&square, 0.9) == 0.5 && rate_after(&square, 2) == 1);
    assert_true(fabs(rate_after(&square, 6) - 0.4) < 1e-16); /* 0.2 + 0.8 / 4 */
    assert_true(fabs(rate_after(&square, 10) - 0.2) < 1e-16 && fabs(rate_after(&square, 12) - 0.2) < 1e-16);
}

static void odd_lengths_are_sane(void **state) {
    const dl_variant schedule = chosen(*state, "schedule: {cosine: {warmup_steps: 200}}");
    assert_true(rate(&schedule, 9900) == 0.25); /* training ends within the warm-up */
    assert_true(rate(&schedule, 19900) == 0.5);
    assert_true(rate(&schedule, 20000) == 0);
    const dl_progress endless = {.samples_seen = 30000, .batch_size = 100, .total_samples = 0};
    assert_true(dl_schedule_rate(&schedule, 0.5, &endless) == 0.5);
}

static void every_row_is_complete(void **state) {
    (void)state;
    int n = 0;
    for (const dl_variant_kind *const *kind = dl_schedule_kinds(); *kind != NULL; kind++, n++) {
        assert_true(strlen((*kind)->name) > 0 && strlen((*kind)->doc) > 0);
    }
    assert_true(n >= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(constant_is_constant, set_up, tear_down),
        cmocka_unit_test_setup_teardown(warm_up_is_linear, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cosine_falls_to_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cosine_starts_after_the_warm_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(step_steps_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(step_needs_to_know_when, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exponential_falls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(polynomial_reaches_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_lengths_are_sane, set_up, tear_down),
        cmocka_unit_test(every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
