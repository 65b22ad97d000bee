/* Elements of device memory as numbers: float32 and bfloat16. */
#ifndef DLTRAIN_TESTS_EMULATOR_NUMBERS_H
#define DLTRAIN_TESTS_EMULATOR_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline double number_at(const void *memory, int64_t i, bool bfloat16) {
    float value;
    if (!bfloat16) {
        return (double)((const float *)memory)[i];
    }
    const uint32_t bits = (uint32_t)((const uint16_t *)memory)[i] << 16;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* Rounds to nearest, ties to even; NaN stays one. */
static inline void set_number(void *memory, int64_t i, bool bfloat16, double number) {
    const float value = (float)number;
    uint32_t bits;
    if (!bfloat16) {
        ((float *)memory)[i] = value;
        return;
    }
    memcpy(&bits, &value, sizeof bits);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    ((uint16_t *)memory)[i] =
        (uint16_t)((nan ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#endif
