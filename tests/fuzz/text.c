/* Divides any bytes into characters and words and chooses a vocabulary: the tokens give the text back. */
#define _GNU_SOURCE
#include "datasets/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check(const dl_tokenizer *tokenizer, const dl_vocab *vocab, int64_t limit, int64_t unk_id) {
    if (vocab->n < 1 || (limit > 0 && vocab->n > limit) || unk_id < -1 || unk_id >= vocab->n ||
        (unk_id >= 0 && strcmp(vocab->word[unk_id], "<unk>") != 0)) {
        abort();
    }
    for (int64_t i = 0; i < tokenizer->n; i++) {
        if (tokenizer->token[i] < 0 || tokenizer->token[i] >= vocab->n) {
            abort();
        }
    }
}

static void divide(dl_token_kind kind, int64_t limit, const char *text, size_t n_bytes) {
    dl_tokenizer tokenizer = {.kind = kind};
    dl_vocab vocab = {0};
    int64_t unk_id = -1;
    if (dl_tokenizer_add(&tokenizer, "fuzz", text, n_bytes) == DL_OK && tokenizer.n > 1) {
        if (dl_tokenizer_settle(&tokenizer, tokenizer.n - tokenizer.n / 3, limit, &vocab, &unk_id) != DL_OK) {
            abort();
        }
        check(&tokenizer, &vocab, limit, unk_id);
    }
    dl_vocab_free(&vocab);
    dl_tokenizer_free(&tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    const int64_t limit = n_bytes > 0 && bytes[0] % 8 > 1 ? bytes[0] % 8 : 0;
    divide(DL_TOKEN_CHARS, limit, (const char *)bytes, n_bytes);
    divide(DL_TOKEN_WORDS, limit, (const char *)bytes, n_bytes);
    return 0;
}
