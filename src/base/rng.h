/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC'11) by Random123.
 *
 * Nothing here has state. Key = (seed, purpose); counter = what the number is for. The same call gives the
 * same number on every rank, thread and device, and resuming needs no generator state. */
#ifndef DLTRAIN_BASE_RNG_H
#define DLTRAIN_BASE_RNG_H

#include <stdint.h>

/* Purposes keep the streams apart. Dropout adds the layer's number to DL_RNG_DROPOUT. */
typedef enum dl_rng_purpose {
    DL_RNG_INIT = 1,    /* counter: parameter number, element */
    DL_RNG_SHUFFLE = 2, /* counter: epoch, position */
    DL_RNG_MAKE = 3,    /* counter: sample, draw (made data sets) */
    DL_RNG_AUGMENT = 4, /* + 256 times the place in the list; counter: step, sample */
    DL_RNG_TEST = 5,
    DL_RNG_GENERATE = 6,      /* counter: token of the generated text */
    DL_RNG_DROPOUT = 1 << 16, /* counter: step, sample, element */
} dl_rng_purpose;

/* Four independent 32-bit numbers for counter (a, b). */
void dl_rng_4x32(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint32_t out[4]);

/* Uniform in (0, 1): the first number of the counter, 32 bits. */
double dl_rng_uniform(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b);

/* Uniform in {0 .. n-1}, n <= 2^32, by multiplication (bias below n / 2^64). */
uint64_t dl_rng_below(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t n);

/* Standard normal by Box and Muller. */
double dl_rng_normal(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b);

#endif
