/* Sixteen floats or integers side by side, by the vector types gcc and clang share; narrower processors take
 * them in several registers. For loops that the compilers' own vectoriser does not see through. */
#ifndef DLTRAIN_KERNELS_CPU_LOOPS_LANES_H
#define DLTRAIN_KERNELS_CPU_LOOPS_LANES_H

#include <stdint.h>
#include <string.h>

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

static inline dl_lanes dl_lanes_where(dl_lanes_int mask, dl_lanes a) {
    return (dl_lanes)(mask & (dl_lanes_int)a);
}

#endif
