/* The lines of predictions. Numbers read back, in single and in double precision, as exactly the float32 that
 * was computed. */
#include "base/json.h"
#include "train/predict.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static dl_status append_number(dl_text *out, float value, const char *otherwise) {
    return isfinite(value) ? dl_text_append(out, "%.17g", (double)value)
                           : dl_text_append(out, "%s", otherwise);
}

static const char *name_of(const dl_vocab *names, int32_t number) {
    return number >= 0 && number < names->n ? names->word[number] : NULL;
}

/* --- JSON --- */

typedef enum what { NUMBER, NAME, SCORE } what;

static dl_status append_entry(const dl_scored *entry, what w, const dl_vocab *names, dl_text *out) {
    const char *name = w == NAME ? name_of(names, entry->number) : NULL;
    if (w == SCORE) {
        return append_number(out, entry->score, "null");
    }
    if (entry->number < 0 || (w == NAME && name == NULL)) {
        return dl_text_append(out, "null");
    }
    return w == NAME ? dl_json_append_string(out, name) : dl_text_append(out, "%d", (int)entry->number);
}

/* ,"KEY": and the first entry of each row, or with `all` a list of a row's entries; rows in a list where a
 * sample has several. */
static dl_status append_rows(const dl_predict_line *l, const char *key, what w, bool all,
                             const dl_vocab *names, dl_text *out) {
    DL_RETURN_IF_ERROR(dl_text_append(out, ",\"%s\":%s", key, l->list ? "[" : ""));
    for (int64_t row = 0; row < l->n_rows; row++) {
        const dl_scored *entry = l->scored + row * l->width;
        DL_RETURN_IF_ERROR(dl_text_append(out, "%s%s", row > 0 ? "," : "", all ? "[" : ""));
        for (int64_t k = 0; k < (all ? l->width : 1); k++) {
            DL_RETURN_IF_ERROR(dl_text_append(out, k > 0 ? "," : ""));
            DL_RETURN_IF_ERROR(append_entry(&entry[k], w, names, out));
        }
        DL_RETURN_IF_ERROR(dl_text_append(out, all ? "]" : ""));
    }
    return dl_text_append(out, l->list ? "]" : "");
}

static dl_status append_classes(const dl_predict_line *l, const dl_vocab *names, dl_text *out) {
    DL_RETURN_IF_ERROR(append_rows(l, "prediction", NUMBER, false, names, out));
    if (names->n > 0) {
        DL_RETURN_IF_ERROR(append_rows(l, "name", NAME, false, names, out));
    }
    DL_RETURN_IF_ERROR(append_rows(l, "probability", SCORE, false, names, out));
    if (l->width == 1) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(append_rows(l, "top", NUMBER, true, names, out));
    if (names->n > 0) {
        DL_RETURN_IF_ERROR(append_rows(l, "names", NAME, true, names, out));
    }
    return append_rows(l, "probabilities", SCORE, true, names, out);
}

static dl_status append_json(const dl_predict_line *l, const dl_vocab *names, dl_text *out) {
    DL_RETURN_IF_ERROR(dl_text_append(out, "{\"input\":"));
    DL_RETURN_IF_ERROR(dl_json_append_string(out, l->input));
    DL_RETURN_IF_ERROR(dl_text_append(out, ",\"id\":%" PRId64, l->id));
    DL_RETURN_IF_ERROR(l->classes ? append_classes(l, names, out)
                                  : append_rows(l, "output", SCORE, true, names, out));
    return dl_text_append(out, "}\n");
}

/* --- CSV (RFC 4180, lines end in a line feed alone) --- */

static dl_status append_field(dl_text *out, const char *value) {
    if (strpbrk(value, ",\"\r\n") == NULL) {
        return dl_text_append(out, "%s", value);
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "\""));
    for (const char *at = value; *at != '\0'; at++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, *at == '"' ? "\"\"" : "%c", *at));
    }
    return dl_text_append(out, "\"");
}

static dl_status append_csv_row(const dl_predict_line *l, const dl_scored *entry, const dl_vocab *names,
                                dl_text *out) {
    for (int64_t k = 0; k < l->width; k++) {
        const char *name = name_of(names, entry[k].number);
        if (l->classes && entry[k].number >= 0) {
            DL_RETURN_IF_ERROR(dl_text_append(out, ",%d", (int)entry[k].number));
        } else if (l->classes) {
            DL_RETURN_IF_ERROR(dl_text_append(out, ","));
        }
        if (l->classes && names->n > 0) {
            DL_RETURN_IF_ERROR(dl_text_append(out, ","));
            DL_RETURN_IF_ERROR(append_field(out, name == NULL ? "" : name));
        }
        DL_RETURN_IF_ERROR(dl_text_append(out, ","));
        DL_RETURN_IF_ERROR(append_number(out, entry[k].score, ""));
    }
    return dl_text_append(out, "\n");
}

static dl_status append_csv(const dl_predict_line *l, const dl_vocab *names, dl_text *out) {
    for (int64_t row = 0; row < l->n_rows; row++) {
        DL_RETURN_IF_ERROR(append_field(out, l->input));
        DL_RETURN_IF_ERROR(dl_text_append(out, ",%" PRId64, l->id));
        if (l->list) {
            DL_RETURN_IF_ERROR(dl_text_append(out, ",%" PRId64, row));
        }
        DL_RETURN_IF_ERROR(append_csv_row(l, l->scored + row * l->width, names, out));
    }
    return DL_OK;
}

dl_status dl_predict_append_head(const dl_predict_line *l, dl_predict_format format, const dl_vocab *names,
                                 dl_text *out) {
    if (format != DL_PREDICT_CSV) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "input,id%s", l->list ? ",position" : ""));
    for (int64_t k = 1; k <= l->width; k++) {
        char number[24] = "";
        if (k > 1 || !l->classes) {
            (void)snprintf(number, sizeof number, "_%" PRId64, k);
        }
        DL_RETURN_IF_ERROR(l->classes ? dl_text_append(out, ",prediction%s", number)
                                      : dl_text_append(out, ",output%s", number));
        if (l->classes) {
            DL_RETURN_IF_ERROR(names->n > 0 ? dl_text_append(out, ",name%s", number) : DL_OK);
            DL_RETURN_IF_ERROR(dl_text_append(out, ",probability%s", number));
        }
    }
    return dl_text_append(out, "\n");
}

dl_status dl_predict_append(const dl_predict_line *line, dl_predict_format format, const dl_vocab *names,
                            dl_text *out) {
    return format == DL_PREDICT_CSV ? append_csv(line, names, out) : append_json(line, names, out);
}
