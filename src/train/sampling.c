#include "train/sampling.h"

#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static dl_status find_best(const float *probability, int64_t n, int64_t number, int32_t *best) {
    *best = 0;
    for (int64_t i = 0; i < n; i++) {
        DL_RETURN_ERROR_IF(!isfinite(probability[i]), DL_ERR_DIVERGED,
                           "token %" PRId64
                           ": the model's probabilities are not numbers; its weights are those "
                           "of a training that diverged",
                           number + 1);
        if (probability[i] > probability[*best]) {
            *best = (int32_t)i;
        }
    }
    return DL_OK;
}

/* The k-th largest of value[n], 1 <= k <= n; rearranges them (Hoare's FIND, CACM 4, 1961). */
static float kth_largest(float *value, int64_t n, int64_t k) {
    int64_t low = 0, high = n - 1;
    const int64_t wanted = k - 1;
    while (low < high) {
        const float pivot = value[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            for (; value[i] > pivot; i++) {
            }
            for (; value[j] < pivot; j--) {
            }
            if (i <= j) {
                const float held = value[i];
                value[i++] = value[j];
                value[j--] = held;
            }
        }
        if (wanted <= j) {
            high = j;
        } else if (wanted >= i) {
            low = i;
        } else {
            break;
        }
    }
    return value[wanted];
}

/* The tokens that may be drawn: those above a probability, and the first few that have it. */
typedef struct candidates {
    const float *probability;
    int64_t n;
    float threshold;
    int64_t n_equal;
} candidates;

static candidates take_top(const float *probability, int64_t n, int64_t top_k, float *scratch) {
    candidates c = {.probability = probability, .n = n, .threshold = 0.0F, .n_equal = n};
    if (top_k > 0 && top_k < n) {
        memcpy(scratch, probability, (size_t)n * sizeof *scratch);
        c.threshold = kth_largest(scratch, n, top_k);
        c.n_equal = top_k;
        for (int64_t i = 0; i < n; i++) {
            c.n_equal -= probability[i] > c.threshold;
        }
    }
    return c;
}

/* Walks over the candidates in the order of their numbers until their weights, relative to the best one's,
 * sum to more than `until`: *token. Returns the sum. */
static double walk(const candidates *c, double log_best, double temperature, double until, int32_t *token) {
    double sum = 0.0;
    int64_t n_equal = 0;
    for (int64_t i = 0; i < c->n && sum <= until; i++) {
        const float p = c->probability[i];
        if (p < c->threshold || p <= 0.0F || (p <= c->threshold && n_equal++ >= c->n_equal)) {
            continue;
        }
        sum += exp((log((double)p) - log_best) / temperature);
        *token = (int32_t)i;
    }
    return sum;
}

dl_status dl_sample_token(const dl_sampling *sampling, const float *probability, int64_t n, int64_t number,
                          float *scratch, int32_t *token) {
    DL_RETURN_IF_ERROR(find_best(probability, n, number, token));
    if (sampling->temperature <= 0.0) {
        return DL_OK;
    }
    const candidates c = take_top(probability, n, sampling->top_k, scratch);
    const double log_best = log((double)probability[*token]);
    const double sum = walk(&c, log_best, sampling->temperature, HUGE_VAL, token);
    const double u = dl_rng_uniform(sampling->seed, DL_RNG_GENERATE, (uint64_t)number, 0);
    (void)walk(&c, log_best, sampling->temperature, u * sum, token);
    return DL_OK;
}
