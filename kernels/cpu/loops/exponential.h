/* exp and tanh that compilers can turn into vector code: plain arithmetic, no calls, no branches. */
#ifndef DLTRAIN_KERNELS_CPU_LOOPS_EXPONENTIAL_H
#define DLTRAIN_KERNELS_CPU_LOOPS_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

/* a b + c, in one rounding where the processor has that instruction. */
static inline float dl_fast_multiply_add(float a, float b, float c) {
#ifdef __FMA__
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* x = r + k ln 2 with |r| <= ln 2 / 2: e^r - 1 and 2^k. The exponent comes from the low bits of
 * x log2(e) + 1.5 * 2^23. */
typedef struct dl_fast_exponential {
    float rest, power;
} dl_fast_exponential;

static inline dl_fast_exponential dl_fast_exponential_of(float x) {
    const float magic = 12582912.0F;
    const float shifted = dl_fast_multiply_add(x, 1.44269504F, magic);
    const float k = shifted - magic;
    const float r = dl_fast_multiply_add(k, 2.12194440e-4F, dl_fast_multiply_add(k, -0.693359375F, x));
    float p = 1.9875691500e-4F;
    p = dl_fast_multiply_add(p, r, 1.3981999507e-3F);
    p = dl_fast_multiply_add(p, r, 8.3334519073e-3F);
    p = dl_fast_multiply_add(p, r, 4.1665795894e-2F);
    p = dl_fast_multiply_add(p, r, 1.6666665459e-1F);
    p = dl_fast_multiply_add(p, r, 5.0000001201e-1F);
    uint32_t bits = 0;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127U) << 23;
    float power = 0;
    memcpy(&power, &bits, sizeof power);
    return (dl_fast_exponential){dl_fast_multiply_add(p * r, r, r), power};
}

/* e^x within 2 units in the last place for |x| <= 87; 0 below -87.3 becomes 1.2e-38, above 88.3 it stays at
 * 2.2e38. NaN stays NaN. */
static inline float dl_fast_exp(float x) {
    x = x < -87.3F ? -87.3F : x;
    x = x > 88.3F ? 88.3F : x;
    const dl_fast_exponential e = dl_fast_exponential_of(x);
    return dl_fast_multiply_add(e.rest, e.power, e.power);
}

static inline float dl_fast_sigmoid(float x) {
    return 1.0F / (1.0F + dl_fast_exp(-x));
}

/* By m = e^(-2|x|) - 1, which loses nothing near zero: -m / (m + 2), with the sign of x. */
static inline float dl_fast_tanh(float x) {
    float negative = -2.0F * __builtin_fabsf(x);
    negative = negative < -87.3F ? -87.3F : negative;
    const dl_fast_exponential e = dl_fast_exponential_of(negative);
    const float m = dl_fast_multiply_add(e.rest, e.power, e.power - 1.0F);
    return __builtin_copysignf(m / (m + 2.0F), x);
}

#endif
