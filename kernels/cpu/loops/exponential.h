/* exp and tanh that compilers can turn into vector code: plain arithmetic, no calls, no branches. */
#ifndef DLTRAIN_KERNELS_CPU_LOOPS_EXPONENTIAL_H
#define DLTRAIN_KERNELS_CPU_LOOPS_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

/* e^x within 2 units in the last place for |x| <= 87; 0 below -87.3 becomes 1.2e-38, above 88.3 it stays at
 * 2.2e38. NaN stays NaN. The exponent comes from the low bits of x log2(e) + 1.5 * 2^23. */
static inline float dl_fast_exp(float x) {
    const float magic = 12582912.0F;
    x = x < -87.3F ? -87.3F : x;
    x = x > 88.3F ? 88.3F : x;
    const float shifted = x * 1.44269504F + magic;
    const float k = shifted - magic;
    const float r = (x - k * 0.693359375F) + k * 2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    uint32_t bits = 0;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127U) << 23;
    float power = 0;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static inline float dl_fast_sigmoid(float x) {
    return 1.0F / (1.0F + dl_fast_exp(-x));
}

/* A polynomial near zero, where 1 - 2 / (e^2x + 1) would cancel. */
static inline float dl_fast_tanh(float x) {
    const float magnitude = x < 0 ? -x : x;
    const float square = x * x;
    float p = -5.70498872745e-3F;
    p = p * square + 2.06390887954e-2F;
    p = p * square - 5.37397155531e-2F;
    p = p * square + 1.33314422036e-1F;
    p = p * square - 3.33332819422e-1F;
    const float near_zero = x + x * square * p;
    const float far = 1.0F - 2.0F / (dl_fast_exp(2.0F * magnitude) + 1.0F);
    const float signed_far = x < 0 ? -far : far;
    return magnitude < 0.625F ? near_zero : signed_far;
}

#endif
