#include "comm/narrow.h"

#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float wide_f16(uint16_t half) {
    const uint32_t sign = ((uint32_t)half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude < 0x400u) { /* subnormal: a multiple of 2^-24 */
        const float value = (float)magnitude * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    const uint32_t rebias = magnitude >= 0x7c00u ? 255 - 31 : 127 - 15;
    return float_of(sign | ((magnitude << 13) + (rebias << 23)));
}

static uint16_t narrow_f16(float x) {
    const uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u); /* a quiet NaN */
    }
    if (magnitude >= 0x477ff000u) { /* 65520, half way between the largest number and the next */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 makes the unit of the last place 2^-24 */
        return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f)));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | ((rounded - ((127u - 15u) << 23)) >> 13));
}

/* bfloat16: the upper half of a float32. */
static uint16_t narrow_bf16(float x) {
    const uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u); /* a quiet NaN */
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void dl_widen(dl_dtype dtype, const uint16_t *from, float *to, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        to[i] = dtype == DL_BF16 ? float_of((uint32_t)from[i] << 16) : wide_f16(from[i]);
    }
}

void dl_narrow(dl_dtype dtype, const float *from, uint16_t *to, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        to[i] = dtype == DL_BF16 ? narrow_bf16(from[i]) : narrow_f16(from[i]);
    }
}
