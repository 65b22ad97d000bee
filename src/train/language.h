/* A language: the vocabulary of a text, how people's text becomes its tokens, and how tokens are printed.
 *
 * Data sets do not say whether their tokens are characters or words. They are words when some entry of the
 * vocabulary, other than the unknown one, has more than one character. */
#ifndef DLTRAIN_TRAIN_LANGUAGE_H
#define DLTRAIN_TRAIN_LANGUAGE_H

#include "base/text.h"
#include "datasets/dataset.h"
#include "datasets/tokenizer.h"

typedef struct dl_language {
    const char *name; /* of the data set, for messages; borrowed */
    dl_vocab vocab;
    dl_token_kind kind;
    int32_t unknown;  /* token for words that are not in the vocabulary, -1: none */
    int32_t line_end; /* token that ends a line: the word <eos>, the character LF; -1: none */
    /* What stands before the beginning of a text that is too short: a line's end, else a blank, else token 0.
     */
    int32_t padding;
} dl_language;

/* Of an open data set of text; `name` outlives it. DL_ERR_DATA when the files hold no vocabulary. Release
 * with dl_language_close in any case. */
DL_NODISCARD dl_status dl_language_open(const dl_dataset *dataset, const char *name, dl_language *out);
void dl_language_close(dl_language *language);

/* What a text gives. */
typedef struct dl_prompt {
    int32_t *token; /* [n]; release with dl_free */
    int64_t n;
    dl_text unknown; /* words that became <unk>, for a person: "'foo', 'bar'"; empty: none. dl_text_free */
} dl_prompt;

/* Divides `text` (UTF-8) as `data import text` does. Words that are not in the vocabulary become <unk>, where
 * there is one; otherwise, and for characters, DL_ERR_USAGE names them. Release with dl_prompt_free in any
 * case. */
DL_NODISCARD dl_status dl_prompt_read(const dl_language *language, const char *text, dl_prompt *out);
/* The same for any text of n_bytes; `name` is what messages call it: "line 3 of lines.txt". */
DL_NODISCARD dl_status dl_prompt_read_named(const dl_language *language, const char *name, const char *text,
                                            size_t n_bytes, dl_prompt *out);
void dl_prompt_free(dl_prompt *prompt);

/* How a token is printed behind token `before` (-1: at the beginning): first *blank, then the returned text.
 * Words have blanks between them, but not at the ends of lines; <eos> is a line feed. */
const char *dl_language_spell(const dl_language *language, int32_t token, int32_t before, const char **blank);

#endif
