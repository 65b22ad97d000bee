/* Text into tokens: distinct words or characters are numbered as they appear; a vocabulary is chosen from
 * them afterwards.
 *
 * Text is UTF-8. A byte order mark at the beginning is dropped, CR LF is LF. Characters are code points.
 * Words are what stands between white space (the property White_Space of Unicode); each end of a line is the
 * word "<eos>", as the Penn Treebank is read for language models (Mikolov et al., 2010). */
#ifndef DLTRAIN_DATASETS_TOKENIZER_H
#define DLTRAIN_DATASETS_TOKENIZER_H

#include "datasets/dataset.h"

typedef enum dl_token_kind { DL_TOKEN_CHARS, DL_TOKEN_WORDS } dl_token_kind;

typedef struct dl_tokenizer {
    dl_token_kind kind;
    int32_t *token; /* [n], numbers of types */
    int64_t n, token_capacity;
    /* Types: the distinct words or characters, in the order of their first appearance. */
    int64_t n_types, type_capacity;
    int64_t *begin; /* [n_types + 1], in `bytes`: each terminated */
    char *bytes;
    int64_t n_bytes, byte_capacity;
    int32_t *slot; /* hash table of types + 1, 0: free; [n_slots], a power of two */
    int64_t n_slots;
} dl_tokenizer;

/* Appends the tokens of a text. `name` is for messages. DL_ERR_DATA names the byte (counted from 0) and the
 * line of what is no UTF-8, and of a zero byte. The tokenizer starts zero-initialised but for its kind;
 * release it with dl_tokenizer_free in any case. */
DL_NODISCARD dl_status dl_tokenizer_add(dl_tokenizer *tokenizer, const char *name, const char *text,
                                        size_t n_bytes);
void dl_tokenizer_free(dl_tokenizer *tokenizer);

/* The vocabulary of the tokens 0 .. n_train: most frequent first, ties in bytewise order, at most `limit`
 * entries (0: no limit). What is not in it becomes "<unk>", which is an entry where it is needed: when the
 * limit cuts something off, or a type appears behind n_train only; a text that has the word already means the
 * same entry. Renumbers all tokens. *unk_id is its number, -1: none. */
DL_NODISCARD dl_status dl_tokenizer_settle(dl_tokenizer *tokenizer, int64_t n_train, int64_t limit,
                                           dl_vocab *vocab, int64_t *unk_id);

#endif
