/* Reads any bytes as a text of sequences. */
#define _GNU_SOURCE
#include "datasets/sequences.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check(const dl_sequences *s) {
    int64_t steps = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (s->length[i] < 1) {
            abort();
        }
        steps += s->length[i];
    }
    if (s->n < 1 || s->n_features < 1 || steps != s->n_steps) {
        abort();
    }
    for (int64_t i = 0; i < steps * s->n_features; i++) {
        if (!isfinite(s->value[i])) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    dl_sequences sequences = {0};
    if (dl_sequences_parse("fuzz", (const char *)bytes, n_bytes, &sequences) == DL_OK) {
        check(&sequences);
    }
    dl_sequences_free(&sequences);
    return 0;
}
