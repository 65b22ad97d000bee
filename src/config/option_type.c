#include "config/option_type.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double huge_limit = 1e17; /* a limit at or above this is not worth saying */

int dl_count_words(const char *const *words) {
    int n = 0;
    while (words != NULL && words[n] != NULL) {
        n++;
    }
    return n;
}

int dl_count_variants(const dl_variant_kind *const *kinds) {
    int n = 0;
    while (kinds != NULL && kinds[n] != NULL) {
        n++;
    }
    return n;
}

int dl_find_word(const char *const *words, const char *word) {
    for (int i = 0; words != NULL && words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

dl_status dl_append_words(const char *const *words, const char *last, dl_text *out) {
    const int n = dl_count_words(words);
    for (int i = 0; i < n; i++) {
        const char *before = i == 0 ? "" : i == n - 1 ? last : ", ";
        DL_RETURN_IF_ERROR(dl_text_append(out, "%s%s", before, words[i]));
    }
    return DL_OK;
}

const char *dl_suggest(const char *word, const char *const *names) {
    const char *nearest = dl_nearest_name(word, names, (size_t)dl_count_words(names));
    const size_t n_word = strlen(word);
    for (int i = 0; nearest == NULL && names != NULL && names[i] != NULL; i++) {
        const size_t n_name = strlen(names[i]), n = n_word < n_name ? n_word : n_name;
        nearest = n >= 3 && strncmp(word, names[i], n) == 0 ? names[i] : NULL;
    }
    return nearest;
}

dl_status dl_variant_names(const dl_variant_kind *const *kinds, dl_pool *pool, const char *const **out) {
    const int n = dl_count_variants(kinds);
    const char **names = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, (size_t)n + 1, sizeof *names, &names));
    for (int i = 0; i < n; i++) {
        names[i] = kinds[i]->name;
    }
    *out = names;
    return DL_OK;
}

const char *dl_double_text(double number, char *out) {
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(out, DL_NUMBER_BYTES, "%.*g", digits, number);
        if (strtod(out, NULL) == number) { /* equality on purpose: it must be the same number */
            break;
        }
    }
    return out;
}

/* A limit: whole numbers in full, "1000000", not "1e+06". */
static const char *limit_text(double limit, char *out) {
    if (limit > -1e16 && limit < 1e16 && limit == (double)(int64_t)limit) {
        (void)snprintf(out, DL_NUMBER_BYTES, "%" PRId64, (int64_t)limit);
        return out;
    }
    return dl_double_text(limit, out);
}

static dl_status append_range(const dl_option *option, dl_text *out) {
    char min[DL_NUMBER_BYTES], max[DL_NUMBER_BYTES];
    if (option->min == 0 && option->max == 0) {
        return DL_OK;
    }
    (void)limit_text(option->min, min);
    if (option->max >= huge_limit) {
        return dl_text_append(out, " of at least %s", min);
    }
    return dl_text_append(out, " from %s to %s", min, limit_text(option->max, max));
}

static dl_status append_count(const dl_option *option, const char *things, dl_text *out) {
    const int min = option->min_items, max = option->max_items;
    if (max == 0) {
        return dl_text_append(out, "a list of %s", things);
    }
    if (min == max) {
        return dl_text_append(out, "%d %s", max, things);
    }
    if (min == 0) {
        return dl_text_append(out, "up to %d %s", max, things);
    }
    return dl_text_append(out, "%d%s%d %s", min, max == min + 1 ? " or " : " to ", max, things);
}

static dl_status append_list(const dl_option *option, const char *things, dl_text *out) {
    DL_RETURN_IF_ERROR(append_count(option, things, out));
    return append_range(option, out);
}

dl_status dl_option_type_text(const dl_option *option, dl_text *out) {
    switch (option->type) {
    case DL_TYPE_BOOL:
        return dl_text_append(out, "true or false");
    case DL_TYPE_INT:
        DL_RETURN_IF_ERROR(dl_text_append(out, "a whole number"));
        DL_RETURN_IF_ERROR(append_range(option, out));
        break;
    case DL_TYPE_FLOAT:
        DL_RETURN_IF_ERROR(dl_text_append(out, "a number"));
        return append_range(option, out);
    case DL_TYPE_TEXT:
        return dl_text_append(out, "text");
    case DL_TYPE_CHOICE:
        return dl_append_words(option->words, " or ", out);
    case DL_TYPE_INTS:
        DL_RETURN_IF_ERROR(append_list(option, "whole numbers", out));
        break;
    case DL_TYPE_FLOATS:
        return append_list(option, "numbers", out);
    case DL_TYPE_WORDS:
        DL_RETURN_IF_ERROR(dl_text_append(out, "a list out of "));
        return dl_append_words(option->words, ", ", out);
    case DL_TYPE_GROUP:
        return dl_text_append(out, "a map of keys");
    case DL_TYPE_VARIANT:
        return dl_text_append(out, "a name with its options");
    case DL_TYPE_NODE:
        return dl_text_append(out, option->variants != NULL ? "a list, each entry a name with its options"
                                                            : "a name, or a list");
    }
    if (option->words == NULL) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, ", or "));
    return dl_append_words(option->words, " or ", out);
}
