#include "base/mem.h"
#include "base/text.h"
#include "datasets/statistics.h"
#include "launcher/data_report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of more classes than MAX_COUNTED the samples of each are not counted: no network has so many outputs, and
 * the counts alone would fill the memory. */
enum { MAX_PRINTED = 20, MOST_FREQUENT = 10, MAX_COUNTED = 1 << 24 };

/* What is known of one split. */
typedef struct split_statistics {
    const dl_dataset_info *info;
    dl_value_statistics value[DL_MAX_FIELDS][DL_MAX_CHANNELS];
    int64_t length[5]; /* quantiles */
    int64_t *count;    /* of classes or tokens, NULL: none, or too many */
    double entropy;    /* of the counts, nats */
    dl_vocab vocab;    /* empty when the files hold none */
} split_statistics;

static dl_status compute(dl_dataset *dataset, split_statistics *s) {
    s->info = dl_dataset_info_of(dataset);
    for (int i = 0; i < s->info->n_fields && s->info->vocab_size == 0; i++) {
        DL_RETURN_IF_ERROR(dl_field_statistics(dataset, i, s->value[i]));
    }
    if (s->info->n_steps > 0) {
        DL_RETURN_IF_ERROR(dl_length_quantiles(dataset, s->length));
    }
    if (s->info->n_classes > 0 && s->info->n_classes <= MAX_COUNTED) {
        DL_RETURN_IF_ERROR(dl_alloc((size_t)s->info->n_classes, sizeof *s->count, &s->count));
        DL_RETURN_IF_ERROR(dl_count_classes(dataset, s->count));
        s->entropy = dl_entropy(s->count, s->info->n_classes);
    }
    if (s->info->vocab_size > 0 && dl_dataset_vocab(dataset, &s->vocab) != DL_OK) {
        dl_vocab_free(&s->vocab); /* numbers do without words */
    }
    return DL_OK;
}

static void release(split_statistics **s) {
    if (*s != NULL) {
        dl_free(&(*s)->count);
        dl_vocab_free(&(*s)->vocab);
    }
    dl_free(s);
}

/* --- for programs --- */

/* null where the sums of squares are beyond float64. */
static json_t *json_of_figure(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_of_channels(const split_statistics *s, int field) {
    json_t *list = json_array();
    for (int64_t c = 0; c < dl_field_channels(&s->info->field[field]); c++) {
        const dl_value_statistics *v = &s->value[field][c];
        (void)json_array_append_new(list, json_pack("{s:f, s:f, s:o, s:o, s:I, s:I}", "min", v->min, "max",
                                                    v->max, "mean", json_of_figure(v->mean), "std",
                                                    json_of_figure(v->std), "n", (json_int_t)v->n,
                                                    "not_finite", (json_int_t)v->n_not_finite));
    }
    return list;
}

static json_t *json_of_field(const split_statistics *s, int number) {
    const dl_field *field = &s->info->field[number];
    json_t *shape = dl_data_json_numbers(field->sample_shape.dim, field->sample_shape.n_dims);
    return json_pack("{s:s, s:s, s:o, s:I, s:o}", "name", field->name, "dtype", dl_dtype_name(field->dtype),
                     "shape", shape, "count", (json_int_t)s->info->n_samples, "channels",
                     s->info->vocab_size > 0 ? json_array() : json_of_channels(s, number));
}

static json_t *json_of_split(const char *split, const split_statistics *s) {
    json_t *fields = json_array();
    for (int i = 0; i < s->info->n_fields; i++) {
        (void)json_array_append_new(fields, json_of_field(s, i));
    }
    json_t *all = json_pack("{s:s, s:I, s:I, s:o}", "split", split, "samples", (json_int_t)s->info->n_samples,
                            "classes", (json_int_t)s->info->n_classes, "fields", fields);
    if (all != NULL && s->count != NULL) {
        (void)json_object_set_new(all, "counts", dl_data_json_numbers(s->count, s->info->n_classes));
        (void)json_object_set_new(all, "entropy", json_real(s->entropy));
    }
    if (all != NULL && s->info->n_steps > 0) {
        (void)json_object_set_new(all, "length_quantiles", dl_data_json_numbers(s->length, 5));
    }
    if (all != NULL && s->info->vocab_size > 0) {
        (void)json_object_set_new(all, "vocab_size", json_integer(s->info->vocab_size));
        (void)json_object_set_new(all, "unk_id", json_integer(s->info->unk_id));
    }
    return all;
}

/* --- for people --- */

static dl_status append_field(const split_statistics *s, int number, dl_text *out) {
    const dl_field *field = &s->info->field[number];
    const int64_t channels = dl_field_channels(field);
    char text[DL_FIELD_TEXT_BYTES];
    DL_RETURN_IF_ERROR(dl_text_append(out, "%s\n", dl_data_field_text(field, text)));
    for (int64_t c = 0; c < channels; c++) {
        const dl_value_statistics *v = &s->value[number][c];
        char name[24] = "all";
        if (channels > 1) {
            (void)snprintf(name, sizeof name, "[%lld]", (long long)c);
        }
        DL_RETURN_IF_ERROR(dl_text_append(
            out, "             %-6s min %-10.6g max %-10.6g mean %-10.6g std %.6g", name, v->min, v->max,
            isfinite(v->mean) ? v->mean : (double)NAN, isfinite(v->std) ? v->std : (double)NAN));
        DL_RETURN_IF_ERROR(v->n_not_finite > 0
                               ? dl_text_append(out, "  %lld not finite\n", (long long)v->n_not_finite)
                               : dl_text_append(out, "\n"));
    }
    return DL_OK;
}

static dl_status append_classes(const split_statistics *s, dl_text *out) {
    if (s->count == NULL) {
        return s->info->n_classes == 0
                   ? DL_OK
                   : dl_text_append(out, "           %lld classes, too many to count the samples of each\n",
                                    (long long)s->info->n_classes);
    }
    const int64_t n = s->info->n_classes, printed = n <= MAX_PRINTED ? n : 0;
    char number[32];
    DL_RETURN_IF_ERROR(dl_text_append(out, "           %lld classes, entropy %.4f nats%s", (long long)n,
                                      s->entropy, printed > 0 ? ", samples of each:" : ""));
    for (int64_t i = 0; i < printed; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, " %s", dl_thousands(s->count[i], number)));
    }
    return dl_text_append(out, "\n");
}

/* The next most frequent token behind (count, token) `last`; -1: there is none. */
static int64_t next_frequent(const split_statistics *s, int64_t last) {
    int64_t best = -1;
    for (int64_t i = 0; i < s->info->vocab_size; i++) {
        const bool behind =
            last < 0 || s->count[i] < s->count[last] || (s->count[i] == s->count[last] && i > last);
        best = behind && (best < 0 || s->count[i] > s->count[best]) ? i : best;
    }
    return best;
}

/* Characters of a vocabulary must not be commands to the terminal, nor break the line. */
static dl_status append_printable(const char *word, dl_text *out) {
    const size_t n_bytes = strlen(word);
    for (size_t i = 0, n = 0; i < n_bytes; i += n) {
        uint32_t code = 0;
        n = dl_utf8_decode(word + i, n_bytes - i, &code);
        if (n == 0) {
            n = 1;
            DL_RETURN_IF_ERROR(dl_text_append(out, "\\x%02x", (unsigned)(unsigned char)word[i]));
        } else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            DL_RETURN_IF_ERROR(dl_text_append(out, "U+%04X", (unsigned)code));
        } else {
            DL_RETURN_IF_ERROR(dl_text_append_bytes(out, word + i, n));
        }
    }
    return DL_OK;
}

static dl_status append_word(const split_statistics *s, int64_t token, dl_text *out) {
    if (s->vocab.n == 0) {
        return dl_text_append(out, " %lld", (long long)token);
    }
    const char *word = s->vocab.word[token];
    const char *shown = strcmp(word, "\n") == 0 ? "\\n" : strcmp(word, " ") == 0 ? "' '" : word;
    DL_RETURN_IF_ERROR(dl_text_append(out, " "));
    return append_printable(shown, out);
}

static dl_status append_tokens(const split_statistics *s, dl_text *out) {
    char number[32];
    int64_t used = 0;
    if (s->count == NULL) {
        return dl_text_append(out, "           vocabulary of %lld, too large to count the tokens\n",
                              (long long)s->info->vocab_size);
    }
    for (int64_t i = 0; i < s->info->vocab_size; i++) {
        used += s->count[i] > 0;
    }
    DL_RETURN_IF_ERROR(
        dl_text_append(out, "           vocabulary of %lld, %lld of them used, entropy %.4f nats a token\n",
                       (long long)s->info->vocab_size, (long long)used, s->entropy));
    if (s->info->unk_id >= 0) {
        DL_RETURN_IF_ERROR(dl_text_append(
            out, "           unknown  %s tokens, %.2f %%\n", dl_thousands(s->count[s->info->unk_id], number),
            100.0 * (double)s->count[s->info->unk_id] / (double)s->info->n_samples));
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "           most frequent:"));
    int64_t token = -1;
    for (int i = 0; i < MOST_FREQUENT && (token = next_frequent(s, token)) >= 0; i++) {
        DL_RETURN_IF_ERROR(append_word(s, token, out));
    }
    return dl_text_append(out, "\n");
}

static dl_status append_split(const char *split, const split_statistics *s, dl_text *out) {
    char number[32];
    const dl_dataset_info *info = s->info;
    DL_RETURN_IF_ERROR(dl_text_append(out, "  %-8s %s %s\n", split, dl_thousands(info->n_samples, number),
                                      info->vocab_size > 0 ? "tokens" : "samples"));
    for (int i = 0; i < info->n_fields && info->vocab_size == 0; i++) {
        DL_RETURN_IF_ERROR(append_field(s, i, out));
    }
    if (info->n_steps > 0) {
        DL_RETURN_IF_ERROR(
            dl_text_append(out, "           lengths  min %lld, quartiles %lld %lld %lld, max %lld\n",
                           (long long)s->length[0], (long long)s->length[1], (long long)s->length[2],
                           (long long)s->length[3], (long long)s->length[4]));
    }
    return info->vocab_size > 0 ? append_tokens(s, out) : append_classes(s, out);
}

static dl_status print_split(const char *split, const split_statistics *s) {
    dl_text text = {0};
    dl_status status = append_split(split, s, &text);
    if (status == DL_OK && fwrite(text.data, 1, text.size, stdout) != text.size) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "cannot write to stdout");
    }
    dl_text_free(&text);
    return status;
}

static dl_status report(const char *split, dl_dataset *dataset, void *context) {
    split_statistics *s = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *s, &s));
    dl_status status = compute(dataset, s);
    if (status == DL_OK && context == NULL) {
        status = print_split(split, s);
    } else if (status == DL_OK && json_array_append_new(context, json_of_split(split, s)) != 0) {
        status =
            dl_error_raise(DL_ERR_MEMORY, __FILE__, __LINE__, __func__, "cannot describe split %s", split);
    }
    release(&s);
    return status;
}

static dl_status run(const dl_arguments *arguments) {
    return dl_data_report(arguments, report);
}

const dl_command dl_command_data_stats = {
    .name = "data stats",
    .usage = "DIR|FILE [--json]",
    .doc = "say what the values of a data set look like: ranges, means, classes, lengths, tokens",
    .help =
        "All samples are read. Fields are described by channel, the last dimension, where that has at most 64;\n"
        "std divides by the number of values. Values that are not finite are counted apart. The mean and std of\n"
        "pixels, divided by 255, are what data.mean and data.std want.",
    .flags =
        (const dl_flag[]){
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
