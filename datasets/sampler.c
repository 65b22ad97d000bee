/* The order of an epoch: Fisher and Yates' shuffle with numbers that are a function of (seed, epoch,
 * position). */
#include "base/rng.h"
#include "datasets/dataset.h"

dl_status dl_sampler_order(uint64_t seed, int64_t epoch, int64_t n, uint32_t *out) {
    DL_RETURN_ERROR_IF(n < 0 || n > (int64_t)UINT32_MAX, DL_ERR_DATA,
                       "an epoch of %lld samples cannot be shuffled; at most 4294967295 are supported",
                       (long long)n);
    for (int64_t i = 0; i < n; i++) {
        out[i] = (uint32_t)i;
    }
    for (int64_t i = n - 1; i > 0; i--) {
        const uint64_t j = dl_rng_below(seed, DL_RNG_SHUFFLE, (uint64_t)epoch, (uint64_t)i, (uint64_t)i + 1);
        const uint32_t taken = out[i];
        out[i] = out[j];
        out[j] = taken;
    }
    return DL_OK;
}
