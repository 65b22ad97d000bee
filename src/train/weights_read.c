/* Reading weights.h5 back into arenas: everything is compared before anything is written. */
#include "base/text.h"
#include "io/h5.h"
#include "train/weights.h"

#include <string.h>

enum { MAX_TENSORS = 8192, MAX_NAMED = 6 };

/* The tensors of a file, in bytewise order of their paths. */
typedef struct contents {
    const char *path;
    dl_h5 *file;
    int n;
    dl_h5_dataset *dataset;
} contents;

static const dl_h5_dataset *find(const contents *file, const char *path) {
    for (int i = 0; i < file->n; i++) {
        if (strcmp(file->dataset[i].name, path) == 0) {
            return &file->dataset[i];
        }
    }
    return NULL;
}

/* Appends " /a/weight (is it /b/weight?)" to the list, at most MAX_NAMED of them, and counts all. */
static dl_status add_name(dl_text *list, int *n, const char *path, const char *nearest) {
    (*n)++;
    if (*n > MAX_NAMED) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(list, "%s %s", *n > 1 ? "," : "", path));
    if (nearest != NULL) {
        DL_RETURN_IF_ERROR(dl_text_append(list, " (nearest: %s)", nearest));
    }
    return DL_OK;
}

static dl_status finish_names(dl_text *list, int n) {
    if (n > MAX_NAMED) {
        DL_RETURN_IF_ERROR(dl_text_append(list, " and %d more", n - MAX_NAMED));
    }
    return DL_OK;
}

/* Lists the parameters that the file lacks, with the nearest name among the file's `names`. */
static dl_status list_missing(const contents *file, const dl_parameter_table *table, const char **names,
                              dl_text *list, int *n) {
    for (int i = 0; i < file->n; i++) {
        names[i] = file->dataset[i].name;
    }
    for (int i = 0; i < table->n; i++) {
        const char *path = table->parameter[i].path;
        if (find(file, path) == NULL) {
            const char *nearest = dl_nearest_name(path, names, (size_t)file->n);
            DL_RETURN_IF_ERROR(add_name(list, n, path, nearest));
        }
    }
    DL_RETURN_IF_ERROR(finish_names(list, *n));
    return DL_OK;
}

/* Lists the tensors that the model does not have, with the nearest of its names. */
static dl_status list_surplus(const contents *file, const dl_parameter_table *table, const char **names,
                              dl_text *list, int *n) {
    for (int i = 0; i < table->n; i++) {
        names[i] = table->parameter[i].path;
    }
    for (int i = 0; i < file->n; i++) {
        const char *path = file->dataset[i].name;
        if (dl_parameter_find(table, path) == NULL) {
            const char *nearest = dl_nearest_name(path, names, (size_t)table->n);
            DL_RETURN_IF_ERROR(add_name(list, n, path, nearest));
        }
    }
    DL_RETURN_IF_ERROR(finish_names(list, *n));
    return DL_OK;
}

static dl_status check_names(const contents *file, const dl_parameter_table *table) {
    dl_text missing = {0}, surplus = {0};
    int n_missing = 0, n_surplus = 0;
    const char **names = NULL;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)file->n + (size_t)table->n, sizeof *names, &names), end);
    DL_GOTO_IF_ERROR(status, list_missing(file, table, names, &missing, &n_missing), end);
    DL_GOTO_IF_ERROR(status, list_surplus(file, table, names, &surplus, &n_surplus), end);
    DL_GOTO_ERROR_IF(status, n_missing > 0 || n_surplus > 0, end, DL_ERR_USAGE,
                     "%s does not fit the model:%s%s%s%s%s. Use the model that the weights were made with",
                     file->path, n_missing > 0 ? " it lacks" : "", n_missing > 0 ? missing.data : "",
                     n_missing > 0 && n_surplus > 0 ? ";" : "", n_surplus > 0 ? " the model has no" : "",
                     n_surplus > 0 ? surplus.data : "");
end:
    dl_free(&names);
    dl_text_free(&surplus);
    dl_text_free(&missing);
    return status;
}

static dl_status check_tensor(const contents *file, const dl_parameter *parameter) {
    const dl_h5_dataset *dataset = find(file, parameter->path);
    char got[DL_SHAPE_TEXT_BYTES], wanted[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(dataset->dtype != DL_F32, DL_ERR_DATA, "%s: %s is %s, not float32", file->path,
                       parameter->path, dl_dtype_name(dataset->dtype));
    DL_RETURN_ERROR_IF(!dl_shape_equal(&dataset->shape, &parameter->shape), DL_ERR_USAGE,
                       "%s: %s has shape %s, the model wants %s", file->path, parameter->path,
                       dl_shape_text(&dataset->shape, got), dl_shape_text(&parameter->shape, wanted));
    return DL_OK;
}

static dl_status read_info(const contents *file, dl_weights_info *info) {
    bool found = false;
    int64_t version = 0;
    *info = (dl_weights_info){.step = 0};
    DL_RETURN_IF_ERROR(dl_h5_attribute_int(file->file, "/", "format_version", &version, &found));
    DL_RETURN_ERROR_IF(found && version > DL_WEIGHTS_FORMAT_VERSION, DL_ERR_USAGE,
                       "%s has format version %lld; this dltrain reads up to %d", file->path,
                       (long long)version, DL_WEIGHTS_FORMAT_VERSION);
    DL_RETURN_IF_ERROR(dl_h5_attribute_text(file->file, "/", "name", info->name, sizeof info->name, &found));
    DL_RETURN_IF_ERROR(dl_h5_attribute_int(file->file, "/", "step", &info->step, &found));
    return DL_OK;
}

static dl_status read_all(const contents *file, const dl_parameter_table *table,
                          const dl_host_arenas *arenas) {
    DL_RETURN_IF_ERROR(check_names(file, table));
    for (int i = 0; i < table->n; i++) {
        DL_RETURN_IF_ERROR(check_tensor(file, &table->parameter[i]));
    }
    for (int i = 0; i < table->n; i++) {
        const dl_parameter *parameter = &table->parameter[i];
        float *to = dl_parameter_data(parameter, arenas);
        DL_RETURN_IF_ERROR(
            dl_h5_read_rows(file->file, find(file, parameter->path), 0, parameter->shape.dim[0], to));
    }
    return DL_OK;
}

dl_status dl_weights_read(const char *path, const dl_parameter_table *table, const dl_host_arenas *arenas,
                          dl_weights_info *info) {
    dl_weights_info unused;
    contents file = {.path = path};
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_h5_open(path, &file.file), end);
    DL_GOTO_IF_ERROR(status, read_info(&file, info != NULL ? info : &unused), end);
    DL_GOTO_IF_ERROR(status, dl_alloc(MAX_TENSORS, sizeof *file.dataset, &file.dataset), end);
    DL_GOTO_IF_ERROR(status, dl_h5_list(file.file, file.dataset, MAX_TENSORS, &file.n), end);
    DL_GOTO_IF_ERROR(status, read_all(&file, table, arenas), end);
end:
    dl_free(&file.dataset);
    dl_h5_close(&file.file);
    return status;
}
