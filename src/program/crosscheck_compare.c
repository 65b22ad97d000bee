/* Judging one slot: errors against the scale of each element. */
#include "program/crosscheck_parts.h"

#include <math.h>
#include <string.h>

/* 2^-p, p the bits of the significand; 0: no float. */
static double unit_roundoff(dl_dtype dtype) {
    switch (dtype) {
    case DL_F64:
        return 0x1p-53;
    case DL_F32:
        return 0x1p-24;
    case DL_F16:
        return 0x1p-11;
    case DL_BF16:
        return 0x1p-8;
    default:
        return 0;
    }
}

static double of_half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) {
        value = fraction == 0 ? (double)INFINITY : (double)NAN;
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

static double value_at(dl_dtype dtype, const void *values, int64_t i) {
    if (dtype == DL_F64) {
        return ((const double *)values)[i];
    }
    if (dtype == DL_F32) {
        return (double)((const float *)values)[i];
    }
    const uint16_t bits = ((const uint16_t *)values)[i];
    if (dtype == DL_F16) {
        return of_half(bits);
    }
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

/* The roundings of an operation are those of its least precise tensor. */
static double roundoff_of(const dl_op_desc *desc) {
    double u = 0;
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        const double of_slot = desc->slot[i].present ? unit_roundoff(desc->slot[i].dtype) : 0;
        u = of_slot > u ? of_slot : u;
    }
    return u;
}

/* Least scale of the elements of a slot. Sums: the mean of the sums of magnitudes, because fast algorithms
 * (Winograd's, by Fourier transforms) spread the roundings of a tile over all its outputs, also those whose
 * own terms are zero. Others: the root mean square of the result. */
static double least_scale(const dl_op_desc *desc, int slot, const void *expected, const void *scale) {
    const dl_tensor_desc *tensor = &desc->slot[slot];
    const dl_op_rounding *rounding = dl_op_info_of(desc->kind)->rounding;
    const int64_t n = dl_shape_elements(&tensor->shape);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double value = value_at(tensor->dtype, scale != NULL ? scale : expected, i);
        sum += !isfinite(value) ? 0 : scale != NULL ? value : value * value;
    }
    const double mean = n > 0 ? sum / (double)n : 0, least = scale != NULL ? mean : sqrt(mean);
    const double asked = rounding != NULL && rounding->least != NULL ? rounding->least(desc, slot) : 0;
    return asked > least ? asked : least;
}

static double error_of(double got, double expected, double scale) {
    if (got == expected || (isnan(got) && isnan(expected))) {
        return 0;
    }
    const double error = fabs(got - expected) / (scale > fabs(expected) ? scale : fabs(expected));
    return isnan(error) ? (double)INFINITY : error;
}

static void compare_floats(const dl_op_desc *desc, int slot, const void *got, const void *expected,
                           const void *scale, dl_comparison *out) {
    const dl_dtype dtype = desc->slot[slot].dtype;
    const double least = least_scale(desc, slot, expected, scale);
    for (int64_t i = 0; i < dl_shape_elements(&desc->slot[slot].shape); i++) {
        const double a = value_at(dtype, got, i), b = value_at(dtype, expected, i);
        const double own = scale != NULL ? value_at(dtype, scale, i) : 0;
        const double error = error_of(a, b, own > least ? own : least);
        if (i == 0 || error > out->error) {
            out->element = i;
            out->got = a;
            out->expected = b;
            out->error = error;
        }
    }
}

/* What is no float is equal or not. */
static void compare_bytes(const dl_tensor_desc *tensor, const void *got, const void *expected,
                          dl_comparison *out) {
    const size_t each = dl_dtype_bytes(tensor->dtype), n = dl_tensor_plain_bytes(tensor);
    for (size_t at = 0; at < n && out->error == 0; at++) {
        if (((const uint8_t *)got)[at] != ((const uint8_t *)expected)[at]) {
            out->error = (double)INFINITY;
            out->element = (int64_t)(at / each);
            out->got = ((const uint8_t *)got)[at];
            out->expected = ((const uint8_t *)expected)[at];
        }
    }
}

dl_status dl_compare_slot(const dl_op_desc *desc, int i, const void *got, const void *expected,
                          const void *scale, double product_roundoff, dl_comparison *out) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_op_rounding *rounding = info->rounding;
    *out = (dl_comparison){.compared = true, .slot = i};
    if (unit_roundoff(desc->slot[i].dtype) == 0) {
        compare_bytes(&desc->slot[i], got, expected, out);
    } else {
        out->terms = rounding == NULL ? 0 : rounding->terms(desc, i);
        const double u = roundoff_of(desc);
        out->bound = 8 * (info->flops != NULL && product_roundoff > u ? product_roundoff : u) *
                     sqrt((double)out->terms);
        compare_floats(desc, i, got, expected, scale, out);
    }
    out->departs = !(out->error <= out->bound);
    return DL_OK;
}

void dl_make_positive(const dl_op_desc *desc, int i, void *values) {
    const dl_op_rounding *rounding = dl_op_info_of(desc->kind)->rounding;
    const dl_dtype dtype = desc->slot[i].dtype;
    const int64_t n = dl_shape_elements(&desc->slot[i].shape);
    for (int64_t e = 0; e < n && unit_roundoff(dtype) > 0; e++) {
        if (dtype == DL_F32) {
            ((float *)values)[e] = fabsf(((float *)values)[e]);
        } else if (dtype == DL_F64) {
            ((double *)values)[e] = fabs(((double *)values)[e]);
        } else {
            ((uint16_t *)values)[e] &= 0x7FFF; /* the sign bit of both 16-bit types */
        }
    }
    if (rounding->negate != NULL) {
        rounding->negate(desc, i, values);
    }
}
