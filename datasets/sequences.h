/* Sequences as text: a line is a step, numbers between blanks; a blank line ends a sequence (UCI Japanese
 * Vowels). */
#ifndef DLTRAIN_DATASETS_SEQUENCES_H
#define DLTRAIN_DATASETS_SEQUENCES_H

#include "base/status.h"

#include <stdint.h>

typedef struct dl_sequences {
    int64_t n, n_steps, n_features;
    int64_t *length; /* [n], each at least 1 */
    float *value;    /* [n_steps, n_features] */
    int64_t length_capacity, value_capacity;
} dl_sequences;

/* Reads a text. Some copies of Japanese Vowels end a sequence with a row of ones (and a blank line behind
 * it): where the last row of a text of two columns or more is one, such rows are ends. DL_ERR_DATA names line
 * and column of what is no finite float32, the line whose number of columns differs, and the sequence without
 * steps. `name` is for messages. `out` starts zero-initialised; release it with dl_sequences_free in any
 * case. */
DL_NODISCARD dl_status dl_sequences_parse(const char *name, const char *text, size_t n_bytes,
                                          dl_sequences *out);
void dl_sequences_free(dl_sequences *sequences);

#endif
