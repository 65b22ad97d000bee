#include "train/language.h"

#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

/* --- the vocabulary --- */

static int32_t find_word(const dl_vocab *vocab, const char *word) {
    for (int64_t i = 0; i < vocab->n; i++) {
        if (strcmp(vocab->word[i], word) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static bool is_one_character(const char *word) {
    const size_t n_bytes = strlen(word);
    uint32_t code = 0;
    return n_bytes > 0 && dl_utf8_decode(word, n_bytes, &code) == n_bytes;
}

static dl_token_kind kind_of(const dl_vocab *vocab, int32_t unknown) {
    for (int64_t i = 0; i < vocab->n; i++) {
        if (i != unknown && !is_one_character(vocab->word[i])) {
            return DL_TOKEN_WORDS;
        }
    }
    return DL_TOKEN_CHARS;
}

dl_status dl_language_open(const dl_dataset *dataset, const char *name, dl_language *out) {
    const int64_t unknown = dl_dataset_info_of(dataset)->unk_id;
    *out = (dl_language){.name = name};
    DL_RETURN_IF_ERROR(dl_dataset_vocab(dataset, &out->vocab));
    out->unknown = unknown < out->vocab.n ? (int32_t)unknown : -1;
    out->kind = kind_of(&out->vocab, out->unknown);
    out->line_end = find_word(&out->vocab, out->kind == DL_TOKEN_WORDS ? "<eos>" : "\n");
    const int32_t blank = find_word(&out->vocab, " ");
    out->padding = out->line_end >= 0 ? out->line_end : blank >= 0 ? blank : 0;
    return DL_OK;
}

void dl_language_close(dl_language *language) {
    dl_vocab_free(&language->vocab);
}

const char *dl_language_spell(const dl_language *language, int32_t token, int32_t before,
                              const char **blank) {
    const bool words = language->kind == DL_TOKEN_WORDS;
    const bool line_end = token == language->line_end;
    *blank = words && before >= 0 && before != language->line_end && !line_end ? " " : "";
    return words && line_end ? "\n" : language->vocab.word[token];
}

/* --- prompts --- */

static dl_status check_utf8(const char *name, const char *text, size_t n_bytes) {
    uint32_t code = 0;
    for (size_t i = 0, n = 0; i < n_bytes; i += n) {
        n = dl_utf8_decode(text + i, n_bytes - i, &code);
        DL_RETURN_ERROR_IF(n == 0, DL_ERR_USAGE,
                           "byte %zu of %s is 0x%02x, which is not UTF-8 there; use a terminal in "
                           "UTF-8, or convert the text with iconv",
                           i, name, (unsigned char)text[i]);
    }
    return DL_OK;
}

/* 'foo', or U+00E9 behind a character; what is not to be printed by its number alone. */
static dl_status append_unknown(const dl_language *language, const char *word, dl_text *list) {
    uint32_t code = 0;
    (void)dl_utf8_decode(word, strlen(word), &code);
    const char *comma = list->size > 0 ? ", " : "";
    if (language->kind == DL_TOKEN_WORDS) {
        return dl_text_append(list, "%s'%.60s'", comma, word);
    }
    const bool printable = code >= 0x20 && !(code >= 0x7f && code < 0xa0);
    return printable ? dl_text_append(list, "%s'%s' (U+%04" PRIX32 ")", comma, word, code)
                     : dl_text_append(list, "%sU+%04" PRIX32, comma, code);
}

/* The token of each type of the prompt; what is not in the vocabulary is listed, the first few of it. */
static dl_status map_types(const dl_language *language, const dl_tokenizer *tokenizer, int32_t *token_of,
                           dl_text *unknown) {
    enum { LISTED = 12 };
    int n_unknown = 0;
    for (int64_t i = 0; i < tokenizer->n_types; i++) {
        const char *word = tokenizer->bytes + tokenizer->begin[i];
        token_of[i] = find_word(&language->vocab, word);
        if (token_of[i] >= 0) {
            continue;
        }
        token_of[i] = language->unknown;
        if (n_unknown++ < LISTED) {
            DL_RETURN_IF_ERROR(append_unknown(language, word, unknown));
        }
    }
    return n_unknown > LISTED ? dl_text_append(unknown, " and %d more", n_unknown - LISTED) : DL_OK;
}

static dl_status map_tokens(const dl_language *language, const char *name, const dl_tokenizer *tokenizer,
                            dl_prompt *out) {
    int32_t *token_of = NULL;
    const bool words = language->kind == DL_TOKEN_WORDS;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)tokenizer->n_types, sizeof *token_of, &token_of), done);
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)tokenizer->n, sizeof *out->token, &out->token), done);
    DL_GOTO_IF_ERROR(status, map_types(language, tokenizer, token_of, &out->unknown), done);
    DL_GOTO_ERROR_IF(status, out->unknown.size > 0 && (!words || language->unknown < 0), done, DL_ERR_USAGE,
                     "the vocabulary of %s does not have what %s says: %s; write it without, or train on a "
                     "text that has %s",
                     language->name, name, out->unknown.data,
                     words ? "these words or <unk> (`data import text --vocab N`)" : "these characters");
    out->n = tokenizer->n;
    for (int64_t i = 0; i < out->n; i++) {
        out->token[i] = token_of[tokenizer->token[i]];
    }
done:
    dl_free(&token_of);
    return status;
}

dl_status dl_prompt_read_named(const dl_language *language, const char *name, const char *text,
                               size_t n_bytes, dl_prompt *out) {
    dl_tokenizer tokenizer = {.kind = language->kind};
    *out = (dl_prompt){0};
    DL_RETURN_IF_ERROR(check_utf8(name, text, n_bytes));
    dl_status status = dl_tokenizer_add(&tokenizer, name, text, n_bytes);
    if (status == DL_OK) {
        status = map_tokens(language, name, &tokenizer, out);
    }
    dl_tokenizer_free(&tokenizer);
    return status;
}

dl_status dl_prompt_read(const dl_language *language, const char *text, dl_prompt *out) {
    return dl_prompt_read_named(language, "the prompt", text, strlen(text), out);
}

void dl_prompt_free(dl_prompt *prompt) {
    dl_free(&prompt->token);
    dl_text_free(&prompt->unknown);
}
