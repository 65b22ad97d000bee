#define _GNU_SOURCE
#include "base/mem.h"
#include "base/text.h"
#include "datasets/statistics.h"
#include "launcher/data_report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LISTED_CLASSES = 1000 };

/* Samples of each class into *out [n_classes]; NULL for texts, without labels, or with too many classes. */
static dl_status count_classes(dl_dataset *dataset, int64_t **out) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    *out = NULL;
    if (info->n_classes == 0 || info->vocab_size > 0 || info->n_classes > MAX_LISTED_CLASSES) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)info->n_classes, sizeof **out, out));
    return dl_count_classes(dataset, *out);
}

/* --- for programs --- */

static json_t *json_of_split(const char *split, const dl_dataset_info *info, const int64_t *count) {
    json_t *fields = json_array();
    for (int i = 0; i < info->n_fields; i++) {
        const dl_field *field = &info->field[i];
        (void)json_array_append_new(
            fields,
            json_pack("{s:s, s:s, s:o}", "name", field->name, "dtype", dl_dtype_name(field->dtype), "shape",
                      dl_data_json_numbers(field->sample_shape.dim, field->sample_shape.n_dims)));
    }
    json_t *all =
        json_pack("{s:s, s:I, s:I, s:i, s:b, s:s, s:o, s:o}", "split", split, "samples",
                  (json_int_t)info->n_samples, "classes", (json_int_t)info->n_classes, "files", info->n_files,
                  "mapped", (int)info->mapped, "digest", info->digest, "fields", fields, "class_counts",
                  dl_data_json_numbers(count, count != NULL ? info->n_classes : 0));
    if (all != NULL && info->n_steps > 0) {
        (void)json_object_set_new(
            all, "lengths", json_pack("[I, I]", (json_int_t)info->min_length, (json_int_t)info->max_length));
    }
    if (all != NULL && info->vocab_size > 0) {
        (void)json_object_set_new(all, "vocab_size", json_integer(info->vocab_size));
        (void)json_object_set_new(all, "unk_id", json_integer(info->unk_id));
    }
    return all;
}

/* --- for people --- */

static dl_status print_counts(const dl_dataset_info *info, const int64_t *count) {
    int64_t least = count[0], most = count[0];
    bool good = true;
    for (int64_t i = 0; i < info->n_classes; i++) {
        least = count[i] < least ? count[i] : least;
        most = count[i] > most ? count[i] : most;
    }
    char one[32], two[32];
    if (info->n_classes > 20) {
        good = printf("           samples of a class: %s to %s\n", dl_thousands(least, one),
                      dl_thousands(most, two)) > 0;
    } else {
        good = printf("           samples of each class:") > 0;
        for (int64_t i = 0; i < info->n_classes && good; i++) {
            good = printf(" %s", dl_thousands(count[i], one)) > 0;
        }
        good = good && printf("\n") > 0;
    }
    DL_RETURN_ERROR_IF(!good, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

static dl_status print_split(const char *split, const dl_dataset_info *info, const int64_t *count) {
    char text[DL_FIELD_TEXT_BYTES], number[32];
    const bool text_set = info->vocab_size > 0;
    bool good =
        printf("  %-8s %s %s, %lld %s, %d file%s, %s\n", split, dl_thousands(info->n_samples, number),
               text_set ? "tokens" : "samples", (long long)info->n_classes,
               text_set ? "in the vocabulary" : "classes", info->n_files, info->n_files == 1 ? "" : "s",
               info->mapped ? "mapped" : "read through HDF5 (slower)") > 0;
    if (info->n_steps > 0 && good) {
        good = printf("           sequences of %lld to %lld steps, %s in all\n", (long long)info->min_length,
                      (long long)info->max_length, dl_thousands(info->n_steps, number)) > 0;
    }
    for (int i = 0; i < info->n_fields && good; i++) {
        good = printf("%s\n", dl_data_field_text(&info->field[i], text)) > 0;
    }
    if (good && count != NULL) {
        DL_RETURN_IF_ERROR(print_counts(info, count));
    }
    DL_RETURN_ERROR_IF(!good || printf("           digest %s\n", info->digest) < 0, DL_ERR_IO,
                       "cannot write to stdout");
    return DL_OK;
}

/* --- both --- */

/* Into the list when there is one (context), else to stdout. */
static dl_status report(const char *split, dl_dataset *dataset, void *context) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    int64_t *count = NULL;
    dl_status status = count_classes(dataset, &count);
    if (status == DL_OK && context == NULL) {
        status = print_split(split, info, count);
    } else if (status == DL_OK && json_array_append_new(context, json_of_split(split, info, count)) != 0) {
        status =
            dl_error_raise(DL_ERR_MEMORY, __FILE__, __LINE__, __func__, "cannot describe split %s", split);
    }
    dl_free(&count);
    return status;
}

static dl_status run(const dl_arguments *arguments) {
    return dl_data_report(arguments, report);
}

const dl_command dl_command_data_info = {
    .name = "data info",
    .usage = "DIR|FILE [--json]",
    .doc = "say what a data set holds: splits, samples, fields, classes",
    .help =
        "Every file is checked as before training: bad ones are named. The digest depends on the samples,\n"
        "not on the number of files they are in.",
    .flags =
        (const dl_flag[]){
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
