/* Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC'11) for device and host: the
 * numbers of dl_rng_4x32 (base/rng.h), whose library is for hosts. */
#ifndef DLTRAIN_KERNELS_COMMON_PHILOX_H
#define DLTRAIN_KERNELS_COMMON_PHILOX_H

#include "kernels/common/pointwise.h"

#include <stdint.h>

/* Four numbers for counter (a, b) of the key (seed, purpose). */
DL_SHARED void dl_philox_4x32(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint32_t out[4]) {
    uint32_t key_0 = (uint32_t)seed, key_1 = (uint32_t)(seed >> 32) ^ (purpose * 0x9E3779B9u);
    out[0] = (uint32_t)a;
    out[1] = (uint32_t)(a >> 32);
    out[2] = (uint32_t)b;
    out[3] = (uint32_t)(b >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t even = (uint64_t)0xD2511F53u * out[0], odd = (uint64_t)0xCD9E8D57u * out[2];
        const uint32_t from_odd = (uint32_t)(odd >> 32) ^ out[1] ^ key_0;
        const uint32_t from_even = (uint32_t)(even >> 32) ^ out[3] ^ key_1;
        out[0] = from_odd;
        out[1] = (uint32_t)odd;
        out[2] = from_even;
        out[3] = (uint32_t)even;
        key_0 += 0x9E3779B9u;
        key_1 += 0xBB67AE85u;
    }
}

#endif
