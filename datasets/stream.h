/* Random numbers of one made sample, taken one after another: never two in one expression, whose order of
 * evaluation is the compiler's choice. Only operations that IEEE 754 rounds exactly: the same numbers on
 * every machine. */
#ifndef DLTRAIN_DATASETS_STREAM_H
#define DLTRAIN_DATASETS_STREAM_H

#include "base/rng.h"

/* Zero-initialised but for seed and sample. */
typedef struct dl_stream {
    uint64_t seed, sample, block;
    uint32_t number[4];
    int left;
} dl_stream;

static inline uint32_t dl_stream_next(dl_stream *random) {
    if (random->left == 0) {
        dl_rng_4x32(random->seed, DL_RNG_MAKE, random->sample, random->block++, random->number);
        random->left = 4;
    }
    return random->number[--random->left];
}

static inline double dl_stream_uniform(dl_stream *random, double low, double high) {
    return low + (high - low) * (((double)dl_stream_next(random) + 0.5) * 0x1p-32);
}

/* In -1..1, bell-shaped: hand movements are mostly near their mean. */
static inline double dl_stream_bell(dl_stream *random) {
    double sum = dl_stream_uniform(random, -1, 1);
    sum += dl_stream_uniform(random, -1, 1);
    sum += dl_stream_uniform(random, -1, 1);
    return sum / 3;
}

/* One of n > 0 numbers from 0 on, each equally likely. */
static inline uint32_t dl_stream_below(dl_stream *random, uint32_t n) {
    return (uint32_t)((uint64_t)dl_stream_next(random) * n >> 32);
}

#endif
