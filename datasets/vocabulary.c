/* Choosing a vocabulary from the types of a text. */
#include "base/mem.h"
#include "datasets/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static const char unk_word[] = "<unk>";

typedef struct entry {
    int64_t count; /* among the tokens of the training part */
    const char *word;
    int32_t type; /* -1: "<unk>" where the text has no such word */
} entry;

typedef struct choice {
    entry *entry; /* room for all types and one more */
    int64_t n;
    int64_t unk; /* index in `entry` while choosing, -1: none */
} choice;

/* Most frequent first; no two words are equal, so the order is one. */
static int by_frequency(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : strcmp(x->word, y->word);
}

static void sort(choice *c) {
    qsort(c->entry, (size_t)c->n, sizeof *c->entry, by_frequency);
    c->unk = -1;
    for (int64_t i = 0; i < c->n && c->unk < 0; i++) {
        c->unk = strcmp(c->entry[i].word, unk_word) == 0 ? i : -1;
    }
}

static void count(const dl_tokenizer *t, int64_t n_train, choice *c) {
    for (int64_t i = 0; i < t->n_types; i++) {
        c->entry[i] = (entry){.word = t->bytes + t->begin[i], .type = (int32_t)i};
    }
    for (int64_t i = 0; i < n_train; i++) {
        c->entry[t->token[i]].count++;
    }
}

/* Drops what does not appear in the training part; true when there was such a type. */
static bool drop_unseen(choice *c) {
    const int64_t before = c->n;
    while (c->n > 0 && c->entry[c->n - 1].count == 0) {
        c->n--;
    }
    c->unk = c->unk < c->n ? c->unk : -1;
    return c->n < before;
}

/* Cuts to `limit` entries, "<unk>" among them; what is dropped counts for it. */
static void cut(choice *c, int64_t limit, bool needs_unk) {
    if (c->unk < 0 && (needs_unk || c->n > limit)) {
        c->unk = c->n;
        c->entry[c->n++] = (entry){.word = unk_word, .type = -1};
    }
    if (c->n > limit) {
        const entry unk = c->entry[c->unk];
        memmove(c->entry + c->unk, c->entry + c->unk + 1, (size_t)(c->n - c->unk - 1) * sizeof unk);
        c->n = limit;
        c->entry[limit - 1] = unk;
        c->unk = limit - 1;
    }
}

static dl_status take_words(const choice *c, dl_vocab *out) {
    size_t n_bytes = 0;
    for (int64_t i = 0; i < c->n; i++) {
        n_bytes += strlen(c->entry[i].word) + 1;
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)c->n, sizeof *out->word, &out->word));
    DL_RETURN_IF_ERROR(dl_alloc(n_bytes, 1, &out->bytes));
    out->n = c->n;
    char *next = out->bytes;
    for (int64_t i = 0; i < c->n; i++) {
        const size_t length = strlen(c->entry[i].word);
        memcpy(next, c->entry[i].word, length + 1);
        out->word[i] = next;
        next += length + 1;
    }
    return DL_OK;
}

static dl_status renumber(dl_tokenizer *t, const choice *c) {
    int32_t *number = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)t->n_types, sizeof *number, &number));
    for (int64_t i = 0; i < t->n_types; i++) {
        number[i] = (int32_t)c->unk;
    }
    for (int64_t i = 0; i < c->n; i++) {
        if (c->entry[i].type >= 0) {
            number[c->entry[i].type] = (int32_t)i;
        }
    }
    for (int64_t i = 0; i < t->n; i++) {
        t->token[i] = number[t->token[i]];
    }
    dl_free(&number);
    return DL_OK;
}

static dl_status settle(dl_tokenizer *t, int64_t n_train, int64_t limit, choice *c, dl_vocab *vocab) {
    c->n = t->n_types;
    count(t, n_train, c);
    sort(c);
    const bool needs_unk = drop_unseen(c);
    cut(c, limit > 0 ? limit : INT64_MAX, needs_unk);
    if (c->unk >= 0) {
        int64_t others = 0;
        for (int64_t i = 0; i < c->n; i++) {
            others += i != c->unk ? c->entry[i].count : 0;
        }
        c->entry[c->unk].count = n_train - others;
    }
    sort(c);
    DL_RETURN_IF_ERROR(take_words(c, vocab));
    return renumber(t, c);
}

dl_status dl_tokenizer_settle(dl_tokenizer *t, int64_t n_train, int64_t limit, dl_vocab *vocab,
                              int64_t *unk_id) {
    choice c = {.unk = -1};
    *vocab = (dl_vocab){0};
    DL_RETURN_IF_ERROR(dl_alloc((size_t)t->n_types + 1, sizeof *c.entry, &c.entry));
    const dl_status status = settle(t, n_train, limit, &c, vocab);
    *unk_id = c.unk;
    dl_free(&c.entry);
    return status;
}
