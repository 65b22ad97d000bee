#include "base/rng.h"

#include <Random123/philox.h>
#include <math.h>

void dl_rng_4x32(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint32_t out[4]) {
    /* The seed's upper half is folded into the key beside the purpose: seeds below 2^32 never collide. */
    const philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32) ^ (purpose * 0x9E3779B9u)}};
    const philox4x32_ctr_t counter = {{(uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32)}};
    const philox4x32_ctr_t result = philox4x32(counter, key);
    for (int i = 0; i < 4; i++) {
        out[i] = result.v[i];
    }
}

double dl_rng_uniform(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b) {
    uint32_t number[4];
    dl_rng_4x32(seed, purpose, a, b, number);
    return ((double)number[0] + 0.5) * 0x1p-32;
}

uint64_t dl_rng_below(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t n) {
    uint32_t number[4];
    dl_rng_4x32(seed, purpose, a, b, number);
    const uint64_t wide = ((uint64_t)number[0] << 32) | number[1];
    __extension__ typedef unsigned __int128 wide_product;
    return (uint64_t)(((wide_product)wide * n) >> 64);
}

double dl_rng_normal(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b) {
    uint32_t number[4];
    dl_rng_4x32(seed, purpose, a, b, number);
    const double u = ((double)number[0] + 0.5) * 0x1p-32, v = ((double)number[1] + 0.5) * 0x1p-32;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
