#include "kernels/cpu/distinct.h"

#include <stdbool.h>
#include <string.h>

enum { WORD_BITS = 64 };

/* One bit for each token says whether it occurs: clearing and walking that costs little with any vocabulary.
 */
static int64_t n_words(int64_t vocabulary) {
    return (vocabulary + WORD_BITS - 1) / WORD_BITS;
}

int64_t dl_distinct_most(int64_t n_positions, int64_t vocabulary) {
    return (n_positions < vocabulary ? n_positions : vocabulary) + 1;
}

size_t dl_distinct_bytes(int64_t n_positions, int64_t vocabulary) {
    const int64_t most = dl_distinct_most(n_positions, vocabulary);
    const int64_t numbers = vocabulary + most + (most + 1) + n_positions;
    return (size_t)n_words(vocabulary) * sizeof(uint64_t) + (size_t)numbers * sizeof(int32_t);
}

static bool is_known(int32_t token, int64_t vocabulary) {
    return token >= 0 && token < vocabulary;
}

/* Numbers the tokens that occur, in ascending order. */
static void number_tokens(dl_distinct *d, const uint64_t *seen, int64_t vocabulary, int32_t *row_of) {
    for (int64_t word = 0; word < n_words(vocabulary); word++) {
        for (uint64_t left = seen[word]; left != 0; left &= left - 1) {
            const int32_t token = (int32_t)(word * WORD_BITS) + __builtin_ctzll(left);
            row_of[token] = (int32_t)d->n;
            d->token[d->n++] = token;
        }
    }
    d->n_known = d->n;
}

/* A counting sort of the positions by row, which keeps their order. */
static void sort_places(dl_distinct *d, const int32_t *x, int64_t n, int64_t vocabulary,
                        const int32_t *row_of) {
    memset(d->first, 0, (size_t)(d->n + 1) * sizeof *d->first);
    for (int64_t i = 0; i < n; i++) {
        d->first[(is_known(x[i], vocabulary) ? row_of[x[i]] : d->n_known) + 1]++;
    }
    for (int64_t r = 0; r < d->n; r++) {
        d->first[r + 1] += d->first[r];
    }
    for (int64_t i = 0; i < n; i++) { /* moves each row's begin to its end */
        d->place[d->first[is_known(x[i], vocabulary) ? row_of[x[i]] : d->n_known]++] = (int32_t)i;
    }
    memmove(d->first + 1, d->first, (size_t)d->n * sizeof *d->first);
    d->first[0] = 0;
}

dl_distinct dl_distinct_find(const int32_t *x, int64_t n_positions, int64_t vocabulary, void *workspace) {
    const int64_t most = dl_distinct_most(n_positions, vocabulary);
    uint64_t *seen = workspace;
    int32_t *row_of = (int32_t *)(void *)(seen + n_words(vocabulary)); /* written for tokens that occur */
    dl_distinct d = {.token = row_of + vocabulary};
    d.first = d.token + most;
    d.place = d.first + most + 1;
    bool unknown = false;
    memset(seen, 0, (size_t)n_words(vocabulary) * sizeof *seen);
    for (int64_t i = 0; i < n_positions; i++) {
        if (is_known(x[i], vocabulary)) {
            seen[x[i] / WORD_BITS] |= (uint64_t)1 << (x[i] % WORD_BITS);
        } else {
            unknown = true;
        }
    }
    number_tokens(&d, seen, vocabulary, row_of);
    if (unknown) {
        d.token[d.n++] = -1;
    }
    sort_places(&d, x, n_positions, vocabulary, row_of);
    return d;
}
