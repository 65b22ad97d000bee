#include "launcher/data_report.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

dl_status dl_data_unknown(const char *kind, const char *name, const char *const *names, size_t n) {
    const char *near = dl_nearest_name(name, names, n);
    DL_RETURN_ERROR_IF(near != NULL, DL_ERR_USAGE, "unknown %s '%.60s'; did you mean '%s'?", kind, name,
                       near);
    dl_text all = {0};
    dl_status status = DL_OK;
    for (size_t i = 0; i < n && status == DL_OK; i++) {
        status = dl_text_append(&all, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    if (status == DL_OK) {
        status = dl_error_raise(DL_ERR_USAGE, __FILE__, __LINE__, __func__,
                                "unknown %s '%.60s'; there are: %s", kind, name, all.data);
    }
    dl_text_free(&all);
    return status;
}

/* "60,000 samples of uint8 [28, 28, 1], 10 classes" or "100,000 tokens, vocabulary of 65". */
static void describe(const dl_dataset_info *info, char *out, size_t n_bytes) {
    char count[32], shape[DL_SHAPE_TEXT_BYTES], lengths[64] = "", classes[32] = "";
    const dl_field *first = &info->field[0];
    if (first->kind == DL_FIELD_TOKENS) {
        (void)snprintf(out, n_bytes, "%s tokens, a vocabulary of %lld", dl_thousands(info->n_samples, count),
                       (long long)info->vocab_size);
        return;
    }
    if (first->kind == DL_FIELD_RAGGED) {
        (void)snprintf(lengths, sizeof lengths, " with %lld to %lld steps", (long long)info->min_length,
                       (long long)info->max_length);
    }
    if (info->n_classes > 0) {
        (void)snprintf(classes, sizeof classes, ", %lld classes", (long long)info->n_classes);
    }
    (void)snprintf(out, n_bytes, "%s samples%s of %s %s%s", dl_thousands(info->n_samples, count), lengths,
                   dl_dtype_name(first->dtype), dl_shape_text(&first->sample_shape, shape), classes);
}

dl_status dl_data_say_written(const char *folder, const char *split) {
    dl_dataset *dataset = NULL;
    char text[256];
    DL_RETURN_IF_ERROR(dl_dataset_open(folder, split, &dataset));
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    describe(info, text, sizeof text);
    const int n = printf("wrote %s: %s, %s, %d file%s\n", folder, split, text, info->n_files,
                         info->n_files == 1 ? "" : "s");
    dl_dataset_close(&dataset);
    DL_RETURN_ERROR_IF(n < 0 || fflush(stdout) != 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

void dl_data_add_flags(dl_flag *flags, const dl_data_option *options) {
    for (; options != NULL && options->name != NULL; options++) {
        int n = 0;
        while (flags[n].name != NULL && strcmp(flags[n].name, options->name) != 0) {
            n++;
        }
        if (flags[n].name == NULL && n < DL_MAX_FLAGS) {
            flags[n] = (dl_flag){options->name, options->value_name, options->doc};
        }
    }
}

static bool has_option(const dl_data_option *options, const char *name) {
    while (options != NULL && options->name != NULL && strcmp(options->name, name) != 0) {
        options++;
    }
    return options != NULL && options->name != NULL;
}

dl_status dl_data_take_options(const dl_arguments *arguments, const char *who, int n_common,
                               const dl_data_option *options, const char **value) {
    const dl_flag *flags = dl_command_flags(arguments->command);
    for (int i = n_common; flags[i].name != NULL; i++) {
        DL_RETURN_ERROR_IF(arguments->flag_value[i] != NULL && !has_option(options, flags[i].name),
                           DL_ERR_USAGE, "%s has no option --%s; `dltrain %s` alone lists what there is", who,
                           flags[i].name, arguments->command->name);
    }
    for (int i = 0; i < DL_MAX_DATA_OPTIONS && options != NULL && options[i].name != NULL; i++) {
        value[i] = dl_arguments_flag(arguments, options[i].name);
    }
    return DL_OK;
}

bool dl_data_print_options(const dl_data_option *options) {
    bool good = true;
    for (; options != NULL && options->name != NULL && good; options++) {
        good = printf("      --%s %s: %s\n", options->name, options->value_name, options->doc) > 0;
    }
    return good;
}

json_t *dl_data_json_numbers(const int64_t *number, int64_t n) {
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, json_integer(number[i]));
    }
    return list;
}

const char *dl_data_field_text(const dl_field *field, char out[DL_FIELD_TEXT_BYTES]) {
    char shape[DL_SHAPE_TEXT_BYTES] = "";
    const bool has_shape = field->sample_shape.n_dims > 0;
    (void)snprintf(out, DL_FIELD_TEXT_BYTES, "           %-8s %s%s%s", field->name,
                   dl_dtype_name(field->dtype), has_shape ? " " : "",
                   has_shape ? dl_shape_text(&field->sample_shape, shape) : "");
    return out;
}

static dl_status report_folder(const char *folder, dl_data_reporter report, json_t *list) {
    char split[DL_MAX_SPLITS][DL_SPLIT_NAME_BYTES];
    int n = 0;
    DL_RETURN_IF_ERROR(dl_dataset_splits(folder, split, &n));
    DL_RETURN_ERROR_IF(n == 0, DL_ERR_USAGE,
                       "%s holds no data set: no file is called SPLIT-*.h5, train-0.h5 say", folder);
    for (int i = 0; i < n; i++) {
        dl_dataset *dataset = NULL;
        DL_RETURN_IF_ERROR(dl_dataset_open(folder, split[i], &dataset));
        const dl_status status = report(split[i], dataset, list);
        dl_dataset_close(&dataset);
        DL_RETURN_IF_ERROR(status);
    }
    return DL_OK;
}

static dl_status report_path(const char *path, dl_data_reporter report, json_t *list) {
    struct stat info;
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, DL_ERR_USAGE, "there is no file or folder %s", path);
    if (S_ISDIR(info.st_mode)) {
        return report_folder(path, report, list);
    }
    dl_dataset *dataset = NULL;
    DL_RETURN_IF_ERROR(dl_dataset_open_file(path, &dataset));
    const dl_status status = report("file", dataset, list);
    dl_dataset_close(&dataset);
    return status;
}

static bool is_utf8(const char *text) {
    const size_t n_bytes = strlen(text);
    uint32_t code = 0;
    size_t n = 1;
    for (size_t i = 0; i < n_bytes && n > 0; i += n) {
        n = dl_utf8_decode(text + i, n_bytes - i, &code);
    }
    return n > 0;
}

static dl_status print_json(const char *path, dl_data_reporter report) {
    DL_RETURN_ERROR_IF(
        !is_utf8(path), DL_ERR_USAGE,
        "the path's name is not UTF-8, as JSON must be; give a link to it, or leave --json out");
    json_t *list = json_array();
    dl_status status = report_path(path, report, list);
    if (status != DL_OK) {
        json_decref(list);
        return status;
    }
    json_t *all = json_pack("{s:s, s:o}", "path", path, "splits", list);
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    if (text == NULL) {
        status =
            dl_error_raise(DL_ERR_MEMORY, __FILE__, __LINE__, __func__, "cannot describe %s as JSON", path);
    } else if (printf("%s\n", text) < 0 || fflush(stdout) != 0) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "cannot write to stdout");
    }
    free(text);
    json_decref(all);
    return status;
}

dl_status dl_data_report(const dl_arguments *arguments, dl_data_reporter report) {
    const char *path = arguments->positional[0];
    if (dl_arguments_flag(arguments, "json") != NULL) {
        return print_json(path, report);
    }
    DL_RETURN_ERROR_IF(printf("%s\n", path) < 0, DL_ERR_IO, "cannot write to stdout");
    DL_RETURN_IF_ERROR(report_path(path, report, NULL));
    DL_RETURN_ERROR_IF(fflush(stdout) != 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}
