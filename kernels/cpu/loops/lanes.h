/* Sixteen floats or integers side by side, by the vector types gcc and clang share; narrower processors take
 * them in several registers. For loops that the compilers' own vectoriser does not see through. */
#ifndef DLTRAIN_KERNELS_CPU_LOOPS_LANES_H
#define DLTRAIN_KERNELS_CPU_LOOPS_LANES_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef float dl_lanes __attribute__((vector_size(64)));
typedef int32_t dl_lanes_int __attribute__((vector_size(64)));
typedef uint8_t dl_lanes_byte __attribute__((vector_size(16)));

static inline dl_lanes dl_lanes_load(const float *from) {
    dl_lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void dl_lanes_store(float *to, dl_lanes v) {
    memcpy(to, &v, sizeof v);
}

/* The first n lanes of fewer than all; the others are zero, or stay as they are in memory. */
static inline dl_lanes dl_lanes_load_some(const float *from, int64_t n) {
#ifdef __AVX512F__
    return (dl_lanes)_mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1U), from);
#else
    dl_lanes v = {0};
    memcpy(&v, from, (size_t)n * sizeof *from);
    return v;
#endif
}

static inline void dl_lanes_store_some(float *to, dl_lanes v, int64_t n) {
#ifdef __AVX512F__
    _mm512_mask_storeu_ps(to, (__mmask16)((1U << n) - 1U), (__m512)v);
#else
    memcpy(to, &v, (size_t)n * sizeof *to);
#endif
}

static inline dl_lanes_int dl_lanes_load_bytes(const uint8_t *from) {
    dl_lanes_byte v;
    memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, dl_lanes_int);
}

static inline void dl_lanes_store_bytes(uint8_t *to, dl_lanes_int v) {
    const dl_lanes_byte bytes = __builtin_convertvector(v, dl_lanes_byte);
    memcpy(to, &bytes, sizeof bytes);
}

/* Where the mask is all ones a, else b. */
static inline dl_lanes_int dl_lanes_select_int(dl_lanes_int mask, dl_lanes_int a, dl_lanes_int b) {
    return (mask & a) | (~mask & b);
}

static inline dl_lanes dl_lanes_select(dl_lanes_int mask, dl_lanes a, dl_lanes b) {
    return (dl_lanes)dl_lanes_select_int(mask, (dl_lanes_int)a, (dl_lanes_int)b);
}

/* a where it is larger, else b: b where one is NaN. */
static inline dl_lanes dl_lanes_larger(dl_lanes a, dl_lanes b) {
#ifdef __AVX512F__
    return (dl_lanes)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return dl_lanes_select(a > b, a, b);
#endif
}

static inline dl_lanes dl_lanes_where(dl_lanes_int mask, dl_lanes a) {
    return (dl_lanes)(mask & (dl_lanes_int)a);
}

/* Takes over the lanes of `cell` that are larger than *best, or the first NaN, noting their place. AVX-512
 * compares into mask registers, which the compilers would turn into vectors and back. */
static inline void dl_lanes_keep_larger(dl_lanes cell, int32_t code, dl_lanes *best, dl_lanes_int *place) {
#ifdef __AVX512F__
    const __mmask16 ordered = _mm512_cmp_ps_mask((__m512)*best, (__m512)*best, _CMP_ORD_Q);
    const __mmask16 better = _mm512_mask_cmp_ps_mask(ordered, (__m512)cell, (__m512)*best, _CMP_NLE_UQ);
    *best = (dl_lanes)_mm512_mask_mov_ps((__m512)*best, better, (__m512)cell);
    *place = (dl_lanes_int)_mm512_mask_set1_epi32((__m512i)*place, better, code);
#else
    const dl_lanes_int better = (cell > *best) | ((cell != cell) & (*best == *best));
    *best = dl_lanes_select(better, cell, *best);
    *place = dl_lanes_select_int(better, (dl_lanes_int){0} + code, *place);
#endif
}

#endif
