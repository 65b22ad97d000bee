/* Drawing tokens: the distribution, the most probable few, and which number decides. */
#include "train/sampling.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MANY = 40000, LARGE = 300 };

static int32_t draw(const dl_sampling *sampling, const float *p, int64_t n, int64_t number) {
    float scratch[LARGE];
    int32_t token = -1;
    assert_int_equal(dl_sample_token(sampling, p, n, number, scratch, &token), DL_OK);
    assert_true(token >= 0 && token < n);
    return token;
}

/* Draws come as often as expected, within five standard deviations. */
static void check_shares(const dl_sampling *sampling, const float *p, int n, const double *share) {
    int count[8] = {0};
    for (int64_t i = 0; i < MANY; i++) {
        count[draw(sampling, p, n, i)]++;
    }
    for (int i = 0; i < n; i++) {
        const double deviation = sqrt(MANY * share[i] * (1 - share[i]));
        assert_true(fabs(count[i] - MANY * share[i]) <= 5 * deviation);
    }
}

static void temperature_divides_the_logits(void **state) {
    (void)state;
    const float p[] = {0.125F, 0.5F, 0.0F, 0.25F, 0.125F};
    check_shares(&(dl_sampling){.temperature = 1, .seed = 3}, p, 5,
                 (const double[]){0.125, 0.5, 0, 0.25, 0.125});
    /* half the temperature squares probabilities: 1, 16, 0, 4, 1 of 22 */
    check_shares(&(dl_sampling){.temperature = 0.5, .seed = 4}, p, 5,
                 (const double[]){1 / 22.0, 16 / 22.0, 0, 4 / 22.0, 1 / 22.0});
    const double sum = 2 * sqrt(0.125) + sqrt(0.5) + sqrt(0.25);
    check_shares(
        &(dl_sampling){.temperature = 2, .seed = 5}, p, 5,
        (const double[]){sqrt(0.125) / sum, sqrt(0.5) / sum, 0, sqrt(0.25) / sum, sqrt(0.125) / sum});
}

static void top_k_takes_the_first_of_equals(void **state) {
    (void)state;
    const float p[] = {0.125F, 0.5F, 0.0F, 0.25F, 0.125F};
    check_shares(&(dl_sampling){.temperature = 1, .top_k = 3}, p, 5,
                 (const double[]){1 / 7.0, 4 / 7.0, 0, 2 / 7.0, 0});
    check_shares(&(dl_sampling){.temperature = 1, .top_k = 2}, p, 5,
                 (const double[]){0, 2 / 3.0, 0, 1 / 3.0, 0});
    check_shares(&(dl_sampling){.temperature = 1, .top_k = 100}, p, 5,
                 (const double[]){0.125, 0.5, 0, 0.25, 0.125});
}

/* Tokens that stand before token i when all are sorted, the first of equals first. */
static int rank_of(const float *p, int n, int i) {
    int rank = 0;
    for (int j = 0; j < n; j++) {
        rank += p[j] > p[i] || (p[j] == p[i] && j < i);
    }
    return rank;
}

/* The inverse of the distribution function at u, over the top_k by rank. */
static int expected_token(const dl_sampling *s, const float *p, int n, int64_t number) {
    double weight[LARGE], sum = 0.0, below = 0.0;
    for (int i = 0; i < n; i++) {
        weight[i] = rank_of(p, n, i) < s->top_k ? pow(p[i], 1 / s->temperature) : 0.0;
        sum += weight[i];
    }
    const double wanted = sum * dl_rng_uniform(s->seed, DL_RNG_GENERATE, (uint64_t)number, 0);
    for (int i = 0; i < n; i++) {
        below += weight[i];
        if (below > wanted) {
            return i;
        }
    }
    return -1;
}

static void draws_are_the_inverse_of_the_distribution(void **state) {
    (void)state;
    float p[LARGE];
    for (int trial = 0; trial < 40; trial++) {
        const int n = 1 + (int)dl_rng_below(1, DL_RNG_TEST, (uint64_t)trial, 0, LARGE);
        for (int i = 0; i < n; i++) { /* with many equals */
            p[i] =
                (float)dl_rng_below(2, DL_RNG_TEST, (uint64_t)trial, (uint64_t)i, trial % 2 == 0 ? 9 : 900);
        }
        p[n / 2] = 1.0F;
        for (int64_t k = 1; k <= n; k += 1 + k / 4) {
            const dl_sampling s = {.temperature = 0.7, .top_k = k, .seed = (uint64_t)trial};
            assert_int_equal(draw(&s, p, n, k), expected_token(&s, p, n, k));
        }
    }
}

static void no_temperature_is_the_first_of_the_best(void **state) {
    (void)state;
    const float p[] = {0.1F, 0.2F, 0.3F, 0.3F, 0.1F};
    for (int64_t i = 0; i < 20; i++) {
        assert_int_equal(draw(&(dl_sampling){.seed = (uint64_t)i}, p, 5, i), 2);
        assert_int_equal(draw(&(dl_sampling){.temperature = 3, .top_k = 1}, p, 5, i), 2);
        /* far below what a float can tell */
        assert_true(draw(&(dl_sampling){.temperature = 1e-300}, p, 5, i) / 2 == 1);
    }
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    const float p[] = {0.5F, NAN, 0.5F};
    float scratch[3];
    int32_t token = 0;
    for (int i = 0; i < 2; i++) {
        const dl_sampling s = {.temperature = i};
        assert_int_equal(dl_sample_token(&s, p, 3, 0, scratch, &token), DL_ERR_DIVERGED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_divides_the_logits),
        cmocka_unit_test(top_k_takes_the_first_of_equals),
        cmocka_unit_test(draws_are_the_inverse_of_the_distribution),
        cmocka_unit_test(no_temperature_is_the_first_of_the_best),
        cmocka_unit_test(what_is_no_number_is_refused),
    };
    return cmocka_run_group_tests_name("train_sampling", tests, NULL, NULL);
}
