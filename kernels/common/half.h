/* The 16-bit floats, and their conversions from and to float32: rounding to nearest, ties to even; subnormals
 * and infinities are kept; a NaN stays one, with its sign and the upper bits of its payload. Integer
 * arithmetic alone, so that every backend and compiler gives the same bits.
 *
 *   bfloat16  1 sign, 8 exponent, 7 fraction bits: the upper half of a float32
 *   float16   1 sign, 5 exponent, 10 fraction bits (IEEE 754 binary16), largest 65504 */
#ifndef DLTRAIN_KERNELS_COMMON_HALF_H
#define DLTRAIN_KERNELS_COMMON_HALF_H

#include "base/tensor.h"
#include "kernels/common/pointwise.h"

#include <string.h>

DL_SHARED uint32_t dl_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

DL_SHARED float dl_bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

DL_SHARED uint16_t dl_bf16_of(float x) {
    const uint32_t bits = dl_float_bits(x);
    const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    const uint32_t quiet_nan = bits | 0x400000u;
    return (uint16_t)(((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded) >> 16);
}

DL_SHARED float dl_float_of_bf16(uint16_t half) {
    return dl_bits_float((uint32_t)half << 16);
}

/* The magnitude of a float32 whose bits (without the sign) are `bits`, as a float16. */
DL_SHARED uint32_t dl_f16_magnitude(uint32_t bits) {
    if (bits > 0x7f800000u) { /* NaN */
        return 0x7e00u | ((bits >> 13) & 0x3ffu);
    }
    if (bits >= 0x477ff000u) { /* 65520 and more, half way from the largest number to the next power of two */
        return 0x7c00u;
    }
    if (bits < 0x33000000u) { /* less than half of the smallest number, 2^-24 */
        return 0;
    }
    if (bits < 0x38800000u) { /* below 2^-14: multiples of 2^-24 */
        const uint32_t shift = 126u - (bits >> 23), fraction = (bits & 0x7fffffu) | 0x800000u;
        const uint32_t whole = fraction >> shift, rest = fraction & ((1u << shift) - 1u),
                       tie = 1u << (shift - 1u);
        return whole + (rest > tie || (rest == tie && (whole & 1u) != 0) ? 1u : 0u);
    }
    return (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
}

DL_SHARED uint16_t dl_f16_of(float x) {
    const uint32_t bits = dl_float_bits(x);
    return (uint16_t)(((bits >> 16) & 0x8000u) | dl_f16_magnitude(bits & 0x7fffffffu));
}

DL_SHARED float dl_float_of_f16(uint16_t half) {
    const uint32_t sign = ((uint32_t)half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) { /* infinities and NaN */
        return dl_bits_float(sign | ((magnitude << 13) + 0x70000000u));
    }
    if (magnitude < 0x400u) { /* multiples of 2^-24, exact in float32 */
        const float value = (float)magnitude * 0x1p-24f;
        return sign != 0 ? -value : value;
    }
    return dl_bits_float(sign | ((magnitude << 13) + 0x38000000u));
}

DL_SHARED bool dl_dtype_is_half(dl_dtype dtype) {
    return dtype == DL_BF16 || dtype == DL_F16;
}

/* One element of a 16-bit type. */
DL_SHARED uint16_t dl_half_of(dl_dtype dtype, float x) {
    return dtype == DL_BF16 ? dl_bf16_of(x) : dl_f16_of(x);
}

DL_SHARED float dl_float_of_half(dl_dtype dtype, uint16_t half) {
    return dtype == DL_BF16 ? dl_float_of_bf16(half) : dl_float_of_f16(half);
}

#endif
