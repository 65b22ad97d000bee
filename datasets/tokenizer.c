#include "datasets/tokenizer.h"

#include "base/mem.h"
#include "base/text.h"

#include <string.h>

/* The property White_Space of Unicode 15. */
static bool is_space(uint32_t code) {
    return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f ||
           code == 0x205f || code == 0x3000;
}

/* --- types --- */

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t hash(const char *text, int64_t n) {
    uint64_t value = UINT64_C(14695981039346656037);
    for (int64_t i = 0; i < n; i++) {
        value = (value ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
    return value;
}

static bool is_type(const dl_tokenizer *t, int64_t type, const char *text, int64_t n) {
    return t->begin[type + 1] - t->begin[type] - 1 == n &&
           memcmp(t->bytes + t->begin[type], text, (size_t)n) == 0;
}

/* The slot that holds this type, or the free one where it belongs. */
static int64_t find_slot(const dl_tokenizer *t, const char *text, int64_t n) {
    int64_t slot = (int64_t)(hash(text, n) & (uint64_t)(t->n_slots - 1));
    while (t->slot[slot] != 0 && !is_type(t, t->slot[slot] - 1, text, n)) {
        slot = (slot + 1) & (t->n_slots - 1);
    }
    return slot;
}

/* At most half of the slots are taken. */
static dl_status make_room(dl_tokenizer *t) {
    if (t->n_slots >= 2 * (t->n_types + 1)) {
        return DL_OK;
    }
    const int64_t n_slots = t->n_slots > 0 ? 2 * t->n_slots : 1024;
    int32_t *slot = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_slots, sizeof *slot, &slot));
    dl_free(&t->slot);
    t->slot = slot;
    t->n_slots = n_slots;
    for (int64_t i = 0; i < t->n_types; i++) {
        const char *text = t->bytes + t->begin[i];
        t->slot[find_slot(t, text, t->begin[i + 1] - t->begin[i] - 1)] = (int32_t)(i + 1);
    }
    return DL_OK;
}

static dl_status add_type(dl_tokenizer *t, const char *text, int64_t n) {
    DL_RETURN_ERROR_IF(t->n_types >= INT32_MAX - 1, DL_ERR_DATA, "the text has more than %d different words",
                       INT32_MAX - 1);
    DL_RETURN_IF_ERROR(dl_grow(&t->begin, &t->type_capacity, t->n_types + 2, sizeof *t->begin));
    DL_RETURN_IF_ERROR(dl_grow(&t->bytes, &t->byte_capacity, t->n_bytes + n + 1, 1));
    memcpy(t->bytes + t->n_bytes, text, (size_t)n);
    t->bytes[t->n_bytes + n] = '\0';
    t->begin[t->n_types] = t->n_bytes;
    t->n_bytes += n + 1;
    t->begin[++t->n_types] = t->n_bytes;
    return DL_OK;
}

static dl_status add_token(dl_tokenizer *t, const char *text, int64_t n) {
    DL_RETURN_IF_ERROR(make_room(t));
    const int64_t slot = find_slot(t, text, n);
    if (t->slot[slot] == 0) {
        DL_RETURN_IF_ERROR(add_type(t, text, n));
        t->slot[slot] = (int32_t)t->n_types;
    }
    DL_RETURN_IF_ERROR(dl_grow(&t->token, &t->token_capacity, t->n + 1, sizeof *t->token));
    t->token[t->n++] = t->slot[slot] - 1;
    return DL_OK;
}

/* --- texts --- */

typedef struct scan {
    const char *name, *text;
    size_t n, at, word; /* bytes, the next one, where the word began */
    int64_t line;
    bool in_word;
} scan;

static dl_status end_word(dl_tokenizer *t, scan *s) {
    if (!s->in_word) {
        return DL_OK;
    }
    s->in_word = false;
    return add_token(t, s->text + s->word, (int64_t)(s->at - s->word));
}

static dl_status take_for_words(dl_tokenizer *t, scan *s, uint32_t code) {
    if (!is_space(code)) {
        s->word = s->in_word ? s->word : s->at;
        s->in_word = true;
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(end_word(t, s));
    return code == '\n' ? add_token(t, "<eos>", 5) : DL_OK;
}

static dl_status take_code(const scan *s, uint32_t *code, size_t *length) {
    const bool utf16 = s->at == 0 && s->n >= 2 &&
                       (memcmp(s->text, "\xff\xfe", 2) == 0 || memcmp(s->text, "\xfe\xff", 2) == 0);
    DL_RETURN_ERROR_IF(
        utf16, DL_ERR_DATA,
        "%s begins with the byte order mark of UTF-16; convert it with `iconv -f utf-16 -t utf-8`", s->name);
    const bool gzip = s->at == 0 && s->n >= 2 && memcmp(s->text, "\x1f\x8b", 2) == 0;
    DL_RETURN_ERROR_IF(gzip, DL_ERR_DATA, "%s is compressed; uncompress it with `gunzip`", s->name);
    *length = dl_utf8_decode(s->text + s->at, s->n - s->at, code);
    DL_RETURN_ERROR_IF(
        *length == 0, DL_ERR_DATA,
        "%s: byte %zu (line %lld) is 0x%02x, which is not UTF-8 there; convert the file, for instance "
        "with `iconv -f latin1 -t utf-8`",
        s->name, s->at, (long long)s->line, (unsigned char)s->text[s->at]);
    DL_RETURN_ERROR_IF(
        *code == 0, DL_ERR_DATA,
        "%s: byte %zu (line %lld) is zero: this is not a text in UTF-8 (UTF-16, perhaps?); convert the "
        "file with iconv",
        s->name, s->at, (long long)s->line);
    return DL_OK;
}

dl_status dl_tokenizer_add(dl_tokenizer *t, const char *name, const char *text, size_t n_bytes) {
    const bool has_mark = n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    scan s = {.name = name, .text = text, .n = n_bytes, .at = has_mark ? 3 : 0, .line = 1};
    while (s.at < s.n) {
        uint32_t code = 0;
        size_t length = 0;
        DL_RETURN_IF_ERROR(take_code(&s, &code, &length));
        const bool dropped = code == '\r' && s.at + 1 < s.n && text[s.at + 1] == '\n';
        if (t->kind == DL_TOKEN_WORDS) {
            DL_RETURN_IF_ERROR(take_for_words(t, &s, code));
        } else if (!dropped) {
            DL_RETURN_IF_ERROR(add_token(t, text + s.at, (int64_t)length));
        }
        s.line += code == '\n';
        s.at += length;
    }
    return end_word(t, &s);
}

void dl_tokenizer_free(dl_tokenizer *t) {
    dl_free(&t->token);
    dl_free(&t->begin);
    dl_free(&t->bytes);
    dl_free(&t->slot);
}
