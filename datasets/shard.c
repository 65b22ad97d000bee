#define _GNU_SOURCE
#include "datasets/shard.h"

#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DATASETS = 256 };
/* Files up to this size are read ahead whole; larger ones are read where samples are wanted. */
static const size_t read_ahead_bytes = (size_t)256 << 20;

/* --- checking --- */

/* Names that other tools write, to help people on. */
static dl_status missing_x(const char *path, const dl_h5_dataset *all, int n) {
    dl_text names = {0};
    dl_status status = DL_OK;
    for (int i = 0; i < n && i < 8 && status == DL_OK; i++) {
        status = dl_text_append(&names, "%s%s", i > 0 ? ", " : "", all[i].name);
    }
    if (status == DL_OK) {
        status = dl_error_raise(
            DL_ERR_DATA, __FILE__, __LINE__, __func__,
            "%s has no dataset /x (it has: %s); call the samples /x and the labels /y, or a text "
            "/tokens",
            path, n > 0 ? names.data : "none");
    }
    dl_text_free(&names);
    return status;
}

static dl_status check_x(const char *path, const dl_h5_dataset *x) {
    char text[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(x->dtype != DL_U8 && x->dtype != DL_F32, DL_ERR_DATA,
                       "%s: /x is %s; uint8 or float32 is expected", path, dl_dtype_name(x->dtype));
    DL_RETURN_ERROR_IF(
        x->shape.n_dims < 2, DL_ERR_DATA,
        "%s: /x has shape %s; [N, H, W, C] or [N, ...] is expected: the first dimension counts samples", path,
        dl_shape_text(&x->shape, text));
    DL_RETURN_ERROR_IF(dl_shape_elements(&x->shape) == 0, DL_ERR_DATA,
                       "%s: /x has shape %s: there are no samples", path, dl_shape_text(&x->shape, text));
    return DL_OK;
}

static dl_status check_y(const char *path, const dl_h5_dataset *y, int64_t n_samples) {
    char text[DL_SHAPE_TEXT_BYTES];
    const bool targets = y->dtype == DL_F32;
    DL_RETURN_ERROR_IF(
        y->dtype != DL_I32 && y->dtype != DL_I64 && !targets, DL_ERR_DATA,
        "%s: /y is %s; int32 or int64 is expected for classes, float32 for targets of a regression", path,
        dl_dtype_name(y->dtype));
    DL_RETURN_ERROR_IF(targets &&
                           (y->shape.n_dims < 1 || y->shape.n_dims > 2 || dl_shape_elements(&y->shape) == 0),
                       DL_ERR_DATA, "%s: /y has shape %s; [N, K] is expected: K targets for each sample",
                       path, dl_shape_text(&y->shape, text));
    DL_RETURN_ERROR_IF(!targets && y->shape.n_dims != 1, DL_ERR_DATA,
                       "%s: /y has shape %s; [N] is expected: one class number for each sample", path,
                       dl_shape_text(&y->shape, text));
    DL_RETURN_ERROR_IF(y->shape.dim[0] != n_samples, DL_ERR_DATA,
                       "%s: /y has %" PRId64 " %s but /x has %" PRId64 " samples", path, y->shape.dim[0],
                       targets ? "rows" : "labels", n_samples);
    return DL_OK;
}

/* Names are printed, also as JSON. */
static bool is_printable(const char *name) {
    const size_t n_bytes = strlen(name);
    for (size_t i = 0, n = 0; i < n_bytes; i += n) {
        uint32_t code = 0;
        n = dl_utf8_decode(name + i, n_bytes - i, &code);
        if (n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            return false;
        }
    }
    return true;
}

static dl_status add_field(dl_shard *shard, const dl_h5_dataset *dataset) {
    const char *name = dataset->name + 1;
    DL_RETURN_ERROR_IF(shard->n_fields == DL_MAX_STORED_FIELDS, DL_ERR_DATA, "%s has more than %d fields",
                       shard->path, DL_MAX_STORED_FIELDS);
    DL_RETURN_ERROR_IF(!is_printable(name), DL_ERR_DATA,
                       "%s: the name of a field is not printable UTF-8; rename the dataset", shard->path);
    DL_RETURN_ERROR_IF(strlen(name) >= DL_FIELD_NAME_BYTES, DL_ERR_DATA,
                       "%s: the field name %s is longer than %d characters", shard->path, dataset->name,
                       DL_FIELD_NAME_BYTES - 1);
    dl_field *field = &shard->field[shard->n_fields];
    memcpy(field->name, name, strlen(name) + 1);
    field->dtype = strcmp(name, "y") == 0 && dataset->dtype == DL_I64 ? DL_I32 : dataset->dtype;
    field->sample_shape.n_dims = dataset->shape.n_dims - 1;
    for (int i = 1; i < dataset->shape.n_dims; i++) {
        field->sample_shape.dim[i - 1] = dataset->shape.dim[i];
    }
    field->sample_bytes = (size_t)dl_shape_elements(&field->sample_shape) * dl_dtype_bytes(field->dtype);
    shard->dataset[shard->n_fields++] = *dataset;
    return DL_OK;
}

/* A further field stands beside /x and has one row for each sample; anything else is no business of ours. */
static bool is_further_field(const dl_h5_dataset *dataset, int64_t n_samples) {
    return strcmp(dataset->name, "/x") != 0 && strcmp(dataset->name, "/y") != 0 &&
           strchr(dataset->name + 1, '/') == NULL && dataset->shape.n_dims >= 1 &&
           dataset->shape.dim[0] == n_samples && dl_shape_elements(&dataset->shape) > 0;
}

/* Field x: /x, or /x/values with /x/offsets. */
static dl_status take_x(dl_shard *shard, const dl_h5_dataset *all, int n) {
    const dl_h5_dataset *values = NULL;
    dl_h5_dataset x;
    bool has_x = false;
    DL_RETURN_IF_ERROR(dl_shard_take_ragged(shard, all, n, &values));
    if (values != NULL) {
        x = *values;
        DL_RETURN_IF_ERROR(add_field(shard, &x));
        dl_field *field = &shard->field[0];
        memset(field->name, 0, sizeof field->name);
        field->name[0] = 'x';
        field->kind = DL_FIELD_RAGGED;
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_h5_find(shard->file, "/x", &x, &has_x));
    if (!has_x) {
        return missing_x(shard->path, all, n);
    }
    DL_RETURN_IF_ERROR(check_x(shard->path, &x));
    shard->n_samples = x.shape.dim[0];
    return add_field(shard, &x);
}

static dl_status take_text(dl_shard *shard, const dl_h5_dataset *tokens) {
    DL_RETURN_IF_ERROR(dl_shard_check_tokens(shard, tokens));
    shard->n_samples = tokens->shape.dim[0];
    DL_RETURN_IF_ERROR(add_field(shard, tokens));
    shard->field[0].kind = DL_FIELD_TOKENS;
    shard->field[0].dtype = DL_I32;
    shard->field[0].sample_bytes = sizeof(int32_t);
    return DL_OK;
}

/* Field y: /y, or /y/values where steps have classes. */
static dl_status take_y(dl_shard *shard, const dl_h5_dataset *all, int n) {
    dl_h5_dataset y;
    bool has_y = false, of_steps = false;
    DL_RETURN_IF_ERROR(dl_shard_find_step_labels(shard, all, n, &y, &of_steps));
    if (of_steps) {
        shard->label_field = shard->n_fields;
        (void)snprintf(y.name, sizeof y.name, "/y");
        DL_RETURN_IF_ERROR(add_field(shard, &y));
        shard->field[shard->n_fields - 1].kind = DL_FIELD_RAGGED;
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_h5_find(shard->file, "/y", &y, &has_y));
    if (!has_y) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(check_y(shard->path, &y, shard->n_samples));
    shard->label_field = y.dtype == DL_F32 ? -1 : shard->n_fields;
    DL_RETURN_IF_ERROR(add_field(shard, &y));
    if (y.dtype == DL_F32 && y.shape.n_dims == 1) {
        shard->field[shard->n_fields - 1].sample_shape = DL_SHAPE(1);
    }
    return DL_OK;
}

static dl_status take_fields(dl_shard *shard, const dl_h5_dataset *all, int n) {
    dl_h5_dataset tokens;
    bool has_tokens = false, has_x = false;
    DL_RETURN_IF_ERROR(dl_h5_find(shard->file, "/tokens", &tokens, &has_tokens));
    for (int i = 0; i < n; i++) {
        has_x = has_x || strcmp(all[i].name, "/x") == 0 || strncmp(all[i].name, "/x/", 3) == 0;
    }
    if (has_tokens && !has_x) {
        return take_text(shard, &tokens);
    }
    DL_RETURN_IF_ERROR(take_x(shard, all, n));
    DL_RETURN_IF_ERROR(take_y(shard, all, n));
    for (int i = 0; i < n; i++) {
        if (is_further_field(&all[i], shard->n_samples)) {
            DL_RETURN_IF_ERROR(add_field(shard, &all[i]));
        }
    }
    return DL_OK;
}

static dl_status check_attributes(dl_shard *shard) {
    bool found = false;
    int64_t format = DL_SHARD_FORMAT;
    DL_RETURN_IF_ERROR(dl_h5_attribute_int(shard->file, "/", "dltrain_format", &format, &found));
    DL_RETURN_ERROR_IF(format != DL_SHARD_FORMAT, DL_ERR_DATA,
                       "%s has format version %" PRId64 "; this program reads version %d", shard->path,
                       format, DL_SHARD_FORMAT);
    DL_RETURN_IF_ERROR(dl_h5_attribute_int(shard->file, "/", "n_classes", &shard->n_classes, &found));
    DL_RETURN_ERROR_IF(found && (shard->n_classes < 1 || shard->n_classes > DL_MAX_CLASSES), DL_ERR_DATA,
                       "%s: attribute n_classes is %" PRId64 "; a number from 1 to 2147483647 is expected",
                       shard->path, shard->n_classes);
    return DL_OK;
}

/* --- mapping --- */

static dl_status map_file(dl_shard *shard) {
    struct stat info;
    const int fd = open(shard->path, O_RDONLY | O_CLOEXEC);
    DL_RETURN_ERROR_IF(fd < 0, DL_ERR_IO, "cannot open %s: %s", shard->path, strerror(errno));
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, fstat(fd, &info) != 0, done, DL_ERR_IO, "cannot examine %s: %s", shard->path,
                     strerror(errno));
    for (int i = 0; i < shard->n_fields; i++) {
        const dl_h5_dataset *dataset = &shard->dataset[i];
        const int64_t n_bytes = dl_shape_elements(&dataset->shape) * (int64_t)dl_dtype_bytes(dataset->dtype);
        DL_GOTO_ERROR_IF(status, dataset->offset >= 0 && dataset->offset > (int64_t)info.st_size - n_bytes,
                         done, DL_ERR_DATA, "%s changed while it was opened", shard->path);
    }
    shard->n_bytes = (size_t)info.st_size;
    void *bytes = mmap(NULL, shard->n_bytes, PROT_READ, MAP_SHARED, fd, 0);
    DL_GOTO_ERROR_IF(status, bytes == MAP_FAILED, done, DL_ERR_IO, "cannot map %s: %s", shard->path,
                     strerror(errno));
    shard->bytes = bytes;
    (void)madvise(bytes, shard->n_bytes, shard->n_bytes <= read_ahead_bytes ? MADV_WILLNEED : MADV_RANDOM);
done:
    (void)close(fd);
    return status;
}

bool dl_shard_is_mapped(const dl_shard *shard, const char **why) {
    for (int i = 0; i < shard->n_fields; i++) {
        if (i != shard->label_field && shard->dataset[i].offset < 0) {
            *why = shard->dataset[i].chunk_rows > 0 ? "is chunked or compressed"
                                                    : "has a foreign byte order or lies in the file's header";
            return false;
        }
    }
    *why = NULL;
    return true;
}

static dl_status open_and_check(dl_shard *shard) {
    dl_h5_dataset *all = NULL;
    int n = 0;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc(MAX_DATASETS, sizeof *all, &all), done);
    DL_GOTO_IF_ERROR(status, dl_h5_open(shard->path, &shard->file), done);
    DL_GOTO_IF_ERROR(status, dl_h5_list(shard->file, all, MAX_DATASETS, &n), done);
    DL_GOTO_IF_ERROR(status, take_fields(shard, all, n), done);
    DL_GOTO_IF_ERROR(status, check_attributes(shard), done);
    DL_GOTO_IF_ERROR(status, dl_shard_take_labels(shard), done);
    const char *why = NULL;
    if (dl_shard_is_mapped(shard, &why)) {
        /* HDF5 is out of the way from here on. */
        dl_h5_close(&shard->file);
    }
    DL_GOTO_IF_ERROR(status, map_file(shard), done);
done:
    dl_free(&all);
    return status;
}

dl_status dl_shard_open(const char *path, dl_shard *shard) {
    memset(shard, 0, sizeof *shard);
    shard->label_field = -1;
    const int n = snprintf(shard->path, sizeof shard->path, "%s", path);
    DL_RETURN_ERROR_IF(n < 0 || (size_t)n >= sizeof shard->path, DL_ERR_USAGE,
                       "the path %.80s... is too long", path);
    DL_RETURN_IF_ERROR_DOING(open_and_check(shard), "checking %.140s", path);
    return DL_OK;
}

void dl_shard_close(dl_shard *shard) {
    if (shard->bytes != NULL) {
        (void)munmap((void *)(uintptr_t)shard->bytes, shard->n_bytes);
        shard->bytes = NULL;
    }
    dl_free(&shard->label);
    dl_free(&shard->offset);
    dl_h5_close(&shard->file);
}

dl_status dl_shard_read(const dl_shard *shard, int field, int64_t row, void *out) {
    const dl_h5_dataset *dataset = &shard->dataset[field];
    const size_t n_bytes = shard->field[field].sample_bytes;
    if (shard->field[field].kind == DL_FIELD_TOKENS) {
        return dl_shard_read_tokens(shard, row, 1, out);
    }
    const bool ragged = shard->field[field].kind == DL_FIELD_RAGGED;
    const int64_t first = ragged ? shard->offset[row] : row, n = ragged ? shard->offset[row + 1] - first : 1;
    if (field == shard->label_field) {
        memcpy(out, &shard->label[first], (size_t)n * n_bytes);
        return DL_OK;
    }
    if (dataset->offset < 0) {
        return dl_h5_read_rows(shard->file, dataset, first, n, out);
    }
    memcpy(out, shard->bytes + dataset->offset + (size_t)first * n_bytes, (size_t)n * n_bytes);
    return DL_OK;
}
