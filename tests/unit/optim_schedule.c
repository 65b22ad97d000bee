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
        cmocka_unit_test_setup_teardown(odd_lengths_are_sane, set_up, tear_down),
        cmocka_unit_test(every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
