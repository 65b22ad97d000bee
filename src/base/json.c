#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends unless an earlier append failed. */
static void put(dl_json *json, const char *bytes, size_t n_bytes) {
    if (json->status == DL_OK) {
        json->status = dl_text_append_bytes(json->text, bytes, n_bytes);
    }
}

static void put_text(dl_json *json, const char *text) {
    put(json, text, strlen(text));
}

dl_json dl_json_begin(dl_text *text) {
    dl_json json = {.text = text, .empty = true, .status = DL_OK};
    dl_text_clear(text);
    put_text(&json, "{");
    return json;
}

static void put_key(dl_json *json, const char *key) {
    put_text(json, json->empty ? "\"" : ",\"");
    put_text(json, key);
    put_text(json, "\":");
    json->empty = false;
}

/* Bytes of the UTF-8 sequence that starts here; 0 when it is none (overlong forms, surrogates included). The
 * text is terminated, and a terminator is no continuation byte. */
static size_t utf8_bytes(const unsigned char *text) {
    static const struct {
        unsigned char first, last, second_first, second_last, n;
    } forms[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (text[0] < forms[i].first || text[0] > forms[i].last) {
            continue;
        }
        if (forms[i].n > 1 && (text[1] < forms[i].second_first || text[1] > forms[i].second_last)) {
            return 0;
        }
        for (size_t k = 2; k < forms[i].n; k++) {
            if (text[k] < 0x80 || text[k] > 0xbf) {
                return 0;
            }
        }
        return forms[i].n;
    }
    return 0;
}

static void put_string(dl_json *json, const char *value) {
    put_text(json, "\"");
    for (const char *at = value; *at != '\0';) {
        const size_t n = utf8_bytes((const unsigned char *)at);
        char escape[8];
        if (n == 0) {
            put_text(json, "\xef\xbf\xbd");
        } else if (*at == '"' || *at == '\\') {
            put(json, (const char[]){'\\', *at}, 2);
        } else if (*at == '\n') {
            put_text(json, "\\n");
        } else if (n == 1 && (unsigned char)*at < 0x20) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*at);
            put_text(json, escape);
        } else {
            put(json, at, n);
        }
        at += n > 0 ? n : 1;
    }
    put_text(json, "\"");
}

void dl_json_string(dl_json *json, const char *key, const char *value) {
    put_key(json, key);
    put_string(json, value);
}

dl_status dl_json_append_string(dl_text *text, const char *value) {
    dl_json json = {.text = text, .status = DL_OK};
    put_string(&json, value);
    return json.status;
}

static void put_int(dl_json *json, int64_t value) {
    char digits[DL_NUMBER_BYTES];
    (void)snprintf(digits, sizeof digits, "%" PRId64, value);
    put_text(json, digits);
}

void dl_json_bool(dl_json *json, const char *key, bool value) {
    put_key(json, key);
    put_text(json, value ? "true" : "false");
}

void dl_json_int(dl_json *json, const char *key, int64_t value) {
    put_key(json, key);
    put_int(json, value);
}

void dl_json_double(dl_json *json, const char *key, double value) {
    char digits[DL_NUMBER_BYTES];
    put_key(json, key);
    put_text(json, isfinite(value) ? dl_number_text(value, digits) : "null");
}

void dl_json_fixed(dl_json *json, const char *key, double value, int decimals) {
    const double scale = pow(10, decimals);
    const double rounded = round(value * scale) / scale;
    dl_json_double(json, key, isfinite(rounded) ? rounded : value);
}

void dl_json_ints(dl_json *json, const char *key, const int64_t *values, int64_t n) {
    put_key(json, key);
    put_text(json, "[");
    for (int64_t i = 0; i < n; i++) {
        put_text(json, i > 0 ? "," : "");
        put_int(json, values[i]);
    }
    put_text(json, "]");
}

dl_status dl_json_end(dl_json *json) {
    put_text(json, "}\n");
    if (json->status != DL_OK) {
        return dl_error_add_frame(json->status, __FILE__, __LINE__, __func__, "writing a JSON line");
    }
    return DL_OK;
}

const char *dl_number_text(double value, char out[DL_NUMBER_BYTES]) {
    /* 15 digits are kept by every double, 17 tell any two apart. */
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, DL_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value) {
            break;
        }
    }
    return out;
}
