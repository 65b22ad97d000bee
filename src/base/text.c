#define _GNU_SOURCE
#include "base/text.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dl_status dl_text_append_bytes(dl_text *text, const void *bytes, size_t n_bytes) {
    DL_RETURN_IF_ERROR(dl_grow(&text->data, &text->capacity, (int64_t)(text->size + n_bytes + 1), 1));
    memcpy(text->data + text->size, bytes, n_bytes);
    text->size += n_bytes;
    text->data[text->size] = '\0';
    return DL_OK;
}

dl_status dl_text_append(dl_text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    DL_RETURN_ERROR_IF(n < 0, DL_ERR_INTERNAL, "bad format '%s'", format);
    DL_RETURN_IF_ERROR(dl_grow(&text->data, &text->capacity, (int64_t)(text->size + (size_t)n + 1), 1));
    va_start(args, format);
    (void)vsnprintf(text->data + text->size, (size_t)n + 1, format, args);
    va_end(args);
    text->size += (size_t)n;
    return DL_OK;
}

void dl_text_clear(dl_text *text) {
    text->size = 0;
    if (text->data != NULL) {
        text->data[0] = '\0';
    }
}

void dl_text_free(dl_text *text) {
    dl_free(&text->data);
    *text = (dl_text){0};
}

bool dl_parse_int64(const char *text, int64_t *out) {
    if (!(isdigit((unsigned char)text[0]) ||
          ((text[0] == '-' || text[0] == '+') && isdigit((unsigned char)text[1])))) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0') {
        return false;
    }
    *out = value;
    return true;
}

bool dl_parse_double(const char *text, double *out) {
    const char *digits = text[0] == '-' || text[0] == '+' ? text + 1 : text;
    if (!isdigit((unsigned char)digits[0]) && digits[0] != '.') {
        return false;
    }
    if (strpbrk(text, "xXpP") != NULL) { /* hexadecimal floats are not what a user means */
        return false;
    }
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

enum { NAME_BYTES = 48 };

static int min3(int a, int b, int c) {
    const int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Optimal string alignment distance of two short words, case ignored. */
static int edit_distance(const char *a, size_t n_a, const char *b, size_t n_b) {
    int row[3][NAME_BYTES + 1];
    for (size_t j = 0; j <= n_b; j++) {
        row[0][j] = (int)j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *before2 = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            const int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            now[j] = min3(before[j] + 1, now[j - 1] + 1, before[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && before2[j - 2] + 1 < now[j]) {
                now[j] = before2[j - 2] + 1;
            }
        }
    }
    return row[n_a % 3][n_b];
}

const char *dl_nearest_name(const char *word, const char *const *names, size_t n) {
    const size_t n_word = strlen(word);
    if (n_word == 0 || n_word > NAME_BYTES) {
        return NULL;
    }
    const char *best = NULL;
    int best_distance = (int)(n_word / 3 > 0 ? n_word / 3 : 1) + 1;
    for (size_t i = 0; i < n; i++) {
        const size_t n_name = strlen(names[i]);
        if (n_name > NAME_BYTES) {
            continue;
        }
        const int distance = edit_distance(word, n_word, names[i], n_name);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}

dl_status dl_path_join(char *out, size_t n_bytes, const char *folder, const char *name) {
    const size_t n = strlen(folder);
    const char *slash = n > 0 && folder[n - 1] != '/' ? "/" : "";
    const int written = snprintf(out, n_bytes, "%s%s%s", folder, slash, name);
    DL_RETURN_ERROR_IF(written < 0 || (size_t)written >= n_bytes, DL_ERR_USAGE,
                       "the path %.40s.../%s is longer than %zu bytes", folder, name, n_bytes - 1);
    return DL_OK;
}

const char *dl_thousands(int64_t number, char *out) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRIu64, (uint64_t)(number < 0 ? -number : number));
    char *to = out;
    if (number < 0) {
        *to++ = '-';
    }
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

size_t dl_utf8_decode(const char *text, size_t n_bytes, uint32_t *code) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *c = (const unsigned char *)text;
    *code = 0;
    if (n_bytes == 0) {
        return 0;
    }
    if (c[0] < 0x80) {
        *code = c[0];
        return 1;
    }
    const size_t n = (c[0] & 0xe0u) == 0xc0u   ? 2
                     : (c[0] & 0xf0u) == 0xe0u ? 3
                     : (c[0] & 0xf8u) == 0xf0u ? 4
                                               : 0;
    if (n == 0 || n > n_bytes) {
        return 0;
    }
    uint32_t value = c[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((c[i] & 0xc0u) != 0x80u) {
            return 0;
        }
        value = value << 6 | (c[i] & 0x3fu);
    }
    if (value < smallest[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *code = value;
    return n;
}
