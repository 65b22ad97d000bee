/* Drawing a token from the probabilities of all. */
#ifndef DLTRAIN_TRAIN_SAMPLING_H
#define DLTRAIN_TRAIN_SAMPLING_H

#include "base/status.h"

#include <stdint.h>

typedef struct dl_sampling {
    double temperature; /* divides the logits; 0: the most probable token, the first of equals */
    int64_t top_k;      /* only so many of the most probable tokens, the first of equals; 0: all */
    uint64_t seed;
} dl_sampling;

/* The `number`-th token (from 0) of a text, drawn from probability[n] by softmax(log p / temperature) in
 * double over the top_k most probable: the softmax of the logits themselves, as log p differs from them by a
 * constant. One uniform number belongs to (seed, number), whatever was drawn before. scratch: room for n
 * floats. DL_ERR_DIVERGED when a probability is not a number. */
DL_NODISCARD dl_status dl_sample_token(const dl_sampling *sampling, const float *probability, int64_t n,
                                       int64_t number, float *scratch, int32_t *token);

#endif
