#define _GNU_SOURCE
#include "datasets/csv.h"

#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

enum { NUMBER_BYTES = 64 };

/* A line, without its end. */
typedef struct line {
    const char *text;
    size_t n, next; /* its bytes; where the one behind it begins */
    bool blanks;    /* are what separates its columns */
} line;

static bool is_blank(char c) {
    return c == ' ' || c == '\r' || c == '\t';
}

static line line_at(const char *text, size_t n_bytes, size_t at) {
    const char *end = memchr(text + at, '\n', n_bytes - at);
    const size_t stop = end == NULL ? n_bytes : (size_t)(end - text);
    line l = {.text = text + at, .n = stop - at, .next = end == NULL ? n_bytes : stop + 1, .blanks = true};
    while (l.n > 0 && is_blank(l.text[l.n - 1]) && l.text[l.n - 1] != '\t') {
        l.n--;
    }
    for (size_t i = 0; i < l.n && l.blanks; i++) {
        l.blanks = l.text[i] != ',' && l.text[i] != ';' && l.text[i] != '\t';
    }
    return l;
}

static bool is_empty(const line *l) {
    for (size_t i = 0; i < l->n; i++) {
        if (!is_blank(l->text[i])) {
            return false;
        }
    }
    return true;
}

static bool separates(const line *l, char c) {
    return l->blanks ? is_blank(c) : c == ',' || c == ';' || c == '\t';
}

/* The next column from *at on: its first byte and the byte behind it, without blanks around. *at goes behind
 * the separator; behind the last column it is beyond the line's end. False when there is none. */
static bool next_column(const line *l, size_t *at, size_t *begin, size_t *end) {
    while (*at < l->n && l->text[*at] == ' ') {
        (*at)++;
    }
    if (*at > l->n || (*at == l->n && (l->blanks || l->n == 0))) {
        return false;
    }
    *begin = *end = *at;
    while (*end < l->n && !separates(l, l->text[*end])) {
        (*end)++;
    }
    *at = *end + 1;
    while (*end > *begin && l->text[*end - 1] == ' ') {
        (*end)--;
    }
    return true;
}

static bool parse(const line *l, size_t begin, size_t end, double *out) {
    char text[NUMBER_BYTES] = "";
    if (end - begin >= sizeof text || memchr(l->text + begin, '\0', end - begin) != NULL) {
        return false;
    }
    memcpy(text, l->text + begin, end - begin);
    return dl_parse_double(text, out);
}

/* No column is a number, nor meant to be one. */
static bool names_columns(const line *l) {
    size_t at = 0, begin = 0, end = 0;
    double value = 0;
    while (next_column(l, &at, &begin, &end)) {
        const size_t sign = begin < end && strchr("+-", l->text[begin]) != NULL ? 1 : 0;
        const char *word = l->text + begin + sign;
        const bool special =
            end - begin - sign == 3 && (strncasecmp(word, "nan", 3) == 0 || strncasecmp(word, "inf", 3) == 0);
        if (begin == end || special || parse(l, begin, end, &value)) {
            return false;
        }
    }
    return true;
}

dl_csv dl_csv_of(const char *name, const char *text, size_t n_bytes) {
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8 */
    dl_csv csv = {.name = name, .text = text, .n_bytes = n_bytes, .first_line = 1};
    csv.first = n_bytes >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    bool before = true; /* any row */
    for (size_t at = csv.first; at < n_bytes;) {
        const line l = line_at(text, n_bytes, at);
        if (before && (is_empty(&l) || names_columns(&l))) {
            before = is_empty(&l); /* one line of names */
            csv.first = l.next;
            csv.first_line++;
        } else if (!is_empty(&l)) {
            before = false;
            csv.n_rows++;
        }
        at = l.next;
    }
    return csv;
}

/* --- numbers --- */

typedef struct reader {
    const dl_csv *csv;
    int64_t line_number, n_columns;
    dl_dtype dtype;
} reader;

static dl_status refuse_number(const reader *r, const line *l, size_t begin, size_t end) {
    char shown[NUMBER_BYTES] = "";
    const size_t n = end - begin < sizeof shown - 1 ? end - begin : sizeof shown - 1;
    for (size_t i = 0; i < n; i++) { /* whatever the file holds, the message is text */
        const char c = l->text[begin + i];
        shown[i] = c > ' ' && c < 127 ? c : '?';
    }
    DL_RETURN_ERROR(
        DL_ERR_DATA, "%s:%" PRId64 ":%zu: '%.40s' is no %s; correct the line, or leave the sample out",
        r->csv->name, r->line_number, begin + 1, shown,
        r->dtype == DL_U8 ? "pixel: the model was trained on whole numbers from 0 to 255" : "finite number");
}

static dl_status take_number(const reader *r, const line *l, size_t begin, size_t end, int64_t column,
                             void *row) {
    double value = 0;
    const bool good = parse(l, begin, end, &value);
    if (r->dtype == DL_U8) {
        if (!good || value < 0 || value > 255 || value != floor(value)) {
            return refuse_number(r, l, begin, end);
        }
        ((uint8_t *)row)[column] = (uint8_t)value;
        return DL_OK;
    }
    const float single = (float)value;
    if (!good || !isfinite(single)) {
        return refuse_number(r, l, begin, end);
    }
    ((float *)row)[column] = single;
    return DL_OK;
}

static dl_status take_row(const reader *r, const line *l, void *row) {
    size_t at = 0, begin = 0, end = 0;
    int64_t n = 0;
    while (next_column(l, &at, &begin, &end)) {
        if (n < r->n_columns) {
            DL_RETURN_IF_ERROR(take_number(r, l, begin, end, n, row));
        }
        n++;
    }
    DL_RETURN_ERROR_IF(
        n != r->n_columns, DL_ERR_DATA,
        "%s:%" PRId64 ":1: the line has %" PRId64 " column%s, a sample of the model has %" PRId64
        " number%s; give each sample a line with all of its numbers and nothing else",
        r->csv->name, r->line_number, n, n == 1 ? "" : "s", r->n_columns, r->n_columns == 1 ? "" : "s");
    return DL_OK;
}

dl_status dl_csv_read(const dl_csv *csv, int64_t n_columns, dl_dtype dtype, void *out) {
    reader r = {.csv = csv, .line_number = csv->first_line, .n_columns = n_columns, .dtype = dtype};
    char *row = out;
    for (size_t at = csv->first; at < csv->n_bytes; r.line_number++) {
        const line l = line_at(csv->text, csv->n_bytes, at);
        if (!is_empty(&l)) {
            DL_RETURN_IF_ERROR(take_row(&r, &l, row));
            row += (size_t)n_columns * dl_dtype_bytes(dtype);
        }
        at = l.next;
    }
    return DL_OK;
}
