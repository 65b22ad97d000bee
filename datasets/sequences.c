#include "datasets/sequences.h"

#include "base/mem.h"
#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { NUMBER_BYTES = 64 };

typedef struct parser {
    const char *name;
    dl_sequences *out;
    int64_t line;         /* counted from 1 */
    int64_t steps;        /* of the sequence so far */
    int64_t without;      /* the line where a sequence without steps ended, 0: there is none */
    bool ends, after_end; /* rows of ones end sequences; the line before was one */
} parser;

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next number of a line from *at on; false at its end. */
static bool next_word(const char *line, size_t n, size_t *at, size_t *end) {
    while (*at < n && is_blank(line[*at])) {
        (*at)++;
    }
    *end = *at;
    while (*end < n && !is_blank(line[*end])) {
        (*end)++;
    }
    return *end > *at;
}

static dl_status parse_number(const parser *p, const char *word, size_t n, size_t column, float *out) {
    char text[NUMBER_BYTES] = "";
    double value = 0;
    memcpy(text, word, n < sizeof text ? n : sizeof text - 1);
    const char *zero = memchr(word, '\0', n);
    DL_RETURN_ERROR_IF(zero != NULL, DL_ERR_DATA,
                       "%s:%" PRId64 ":%zu: a zero byte: this is not a text in UTF-8 (UTF-16, perhaps?); "
                       "convert the file with iconv",
                       p->name, p->line, column + (size_t)(zero - word));
    const bool good = n < sizeof text && dl_parse_double(text, &value);
    *out = (float)value;
    DL_RETURN_ERROR_IF(!good || !isfinite(*out), DL_ERR_DATA,
                       "%s:%" PRId64 ":%zu: '%.40s' is not a finite number", p->name, p->line, column, text);
    return DL_OK;
}

/* Appends the numbers of a line to out->value; *n_columns of them. */
static dl_status parse_row(parser *p, const char *line, size_t n, int64_t *n_columns) {
    dl_sequences *out = p->out;
    const int64_t first = out->n_steps * out->n_features;
    size_t at = 0, end = 0;
    *n_columns = 0;
    while (next_word(line, n, &at, &end)) {
        DL_RETURN_IF_ERROR(
            dl_grow(&out->value, &out->value_capacity, first + *n_columns + 1, sizeof *out->value));
        DL_RETURN_IF_ERROR(parse_number(p, line + at, end - at, at + 1, &out->value[first + *n_columns]));
        at = end;
        (*n_columns)++;
    }
    return DL_OK;
}

static bool all_ones(const float *value, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (value[i] != 1.0F) {
            return false;
        }
    }
    return n > 1;
}

static dl_status end_sequence(parser *p) {
    dl_sequences *out = p->out;
    DL_RETURN_IF_ERROR(dl_grow(&out->length, &out->length_capacity, out->n + 1, sizeof *out->length));
    out->length[out->n++] = p->steps;
    p->steps = 0;
    return DL_OK;
}

static dl_status refuse_empty(const parser *p, int64_t line) {
    DL_RETURN_ERROR(DL_ERR_DATA,
                    "%s:%" PRId64 ":1: sample %" PRId64
                    " (counted from 0) has length 0: nothing stands before this end; remove it",
                    p->name, line, p->out->n);
}

static dl_status take_blank(parser *p) {
    if (p->after_end) {
        p->after_end = false; /* belongs to the row of ones */
        return DL_OK;
    }
    if (p->steps > 0) {
        return end_sequence(p);
    }
    p->without = p->without > 0 ? p->without : p->line;
    return DL_OK;
}

/* A carriage return belongs before a line feed; alone it ended lines once, and is no blank. */
static dl_status check_returns(const parser *p, const char *line, size_t n) {
    const char *found = n > 0 ? memchr(line, '\r', n - 1) : NULL;
    DL_RETURN_ERROR_IF(found != NULL, DL_ERR_DATA,
                       "%s:%" PRId64
                       ":%zu: a carriage return amid a line; convert the file, for instance with "
                       "`tr '\\r' '\\n'`",
                       p->name, p->line, (size_t)(found - line) + 1);
    return DL_OK;
}

static dl_status take_line(parser *p, const char *line, size_t n) {
    dl_sequences *out = p->out;
    int64_t columns = 0;
    DL_RETURN_IF_ERROR(check_returns(p, line, n));
    DL_RETURN_IF_ERROR(parse_row(p, line, n, &columns));
    if (columns == 0) {
        return take_blank(p);
    }
    if (p->without > 0) { /* blank lines at the very end do no harm */
        return refuse_empty(p, p->without);
    }
    out->n_features = out->n_features > 0 ? out->n_features : columns;
    DL_RETURN_ERROR_IF(columns != out->n_features, DL_ERR_DATA,
                       "%s:%" PRId64 ":1: this line has %" PRId64 " columns, the first one has %" PRId64,
                       p->name, p->line, columns, out->n_features);
    p->after_end = p->ends && all_ones(out->value + out->n_steps * columns, columns);
    if (p->after_end) {
        return p->steps > 0 ? end_sequence(p) : refuse_empty(p, p->line);
    }
    out->n_steps++;
    p->steps++;
    return DL_OK;
}

static size_t line_bytes(const char *text, size_t n) {
    const char *end = n > 0 ? memchr(text, '\n', n) : NULL;
    return end != NULL ? (size_t)(end - text) : n;
}

/* Is the last line that is not blank a row of ones? Written in any way: 1, 1.0, 1.00. */
static bool ends_with_ones(const char *text, size_t n) {
    while (n > 0 && (is_blank(text[n - 1]) || text[n - 1] == '\n')) {
        n--;
    }
    size_t begin = n, at = 0, end = 0;
    while (begin > 0 && text[begin - 1] != '\n') {
        begin--;
    }
    int64_t ones = 0;
    while (next_word(text + begin, n - begin, &at, &end)) {
        char word[NUMBER_BYTES] = "";
        double value = 0;
        memcpy(word, text + begin + at, end - at < sizeof word ? end - at : sizeof word - 1);
        if (!dl_parse_double(word, &value) || value != 1.0) {
            return false;
        }
        ones++;
        at = end;
    }
    return ones > 1;
}

dl_status dl_sequences_parse(const char *name, const char *text, size_t n_bytes, dl_sequences *out) {
    const size_t mark = n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    parser p = {.name = name, .out = out, .ends = ends_with_ones(text, n_bytes)};
    for (size_t at = mark; at < n_bytes;) {
        const size_t n = line_bytes(text + at, n_bytes - at);
        p.line++;
        DL_RETURN_IF_ERROR(take_line(&p, text + at, n));
        at += n + 1;
    }
    if (p.steps > 0) {
        DL_RETURN_IF_ERROR(end_sequence(&p));
    }
    DL_RETURN_ERROR_IF(out->n == 0, DL_ERR_DATA,
                       "%s holds no sequence: a line of numbers for each step is expected", name);
    return DL_OK;
}

void dl_sequences_free(dl_sequences *sequences) {
    dl_free(&sequences->length);
    dl_free(&sequences->value);
}
