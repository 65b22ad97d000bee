/* Importer `npy`: an array of samples and one of classes or targets become one split. */
#include "base/mem.h"
#include "datasets/npy.h"
#include "datasets/shard.h"
#include "datasets/shard_writer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20 };

typedef struct npy_import {
    dl_npy *x, *y;
    dl_dataset_info info;
    int32_t *label; /* [N], NULL when y holds targets */
    dl_shard_writer *writer;
} npy_import;

static bool is_float(dl_dtype dtype) {
    return dtype == DL_F32 || dtype == DL_F64;
}

static dl_status check_arrays(const char *const *path, const dl_npy_info *x, const dl_npy_info *y) {
    char text[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(x->dtype != DL_U8 && !is_float(x->dtype), DL_ERR_DATA,
                       "%s holds %s; samples are uint8 or float32: convert with x.astype('float32')", path[0],
                       dl_dtype_name(x->dtype));
    DL_RETURN_ERROR_IF(
        x->shape.n_dims < 2 || dl_shape_elements(&x->shape) == 0, DL_ERR_DATA,
        "%s has shape %s; [N, H, W, C] or [N, ...] is expected: the first dimension counts samples", path[0],
        dl_shape_text(&x->shape, text));
    DL_RETURN_ERROR_IF(y->shape.n_dims < 1 || y->shape.n_dims > 2 || dl_shape_elements(&y->shape) == 0,
                       DL_ERR_DATA, "%s has shape %s; [N] is expected for classes, [N, K] for targets",
                       path[1], dl_shape_text(&y->shape, text));
    DL_RETURN_ERROR_IF(!is_float(y->dtype) && y->shape.n_dims == 2 && y->shape.dim[1] != 1, DL_ERR_DATA,
                       "%s holds %s of shape %s; classes have shape [N], targets are float32", path[1],
                       dl_dtype_name(y->dtype), dl_shape_text(&y->shape, text));
    DL_RETURN_ERROR_IF(x->shape.dim[0] != y->shape.dim[0], DL_ERR_DATA,
                       "%s has %" PRId64 " rows but %s has %" PRId64 " samples", path[1], y->shape.dim[0],
                       path[0], x->shape.dim[0]);
    return DL_OK;
}

static dl_field describe_rows(const char *name, const dl_npy_info *info) {
    dl_field field = {.dtype = info->dtype == DL_U8 ? DL_U8 : DL_F32};
    memcpy(field.name, name, strlen(name) + 1);
    field.sample_shape.n_dims = info->shape.n_dims - 1;
    memcpy(field.sample_shape.dim, info->shape.dim + 1, sizeof info->shape.dim - sizeof info->shape.dim[0]);
    if (info->shape.n_dims == 1) {
        field.sample_shape = DL_SHAPE(1);
    }
    field.sample_bytes = (size_t)dl_shape_elements(&field.sample_shape) * dl_dtype_bytes(field.dtype);
    return field;
}

/* One class number of any integer type. */
static int64_t label_at(const void *row, dl_dtype dtype) {
    int64_t wide = 0;
    int32_t label = 0;
    if (dtype == DL_U8) {
        return *(const uint8_t *)row;
    }
    memcpy(&wide, row, dtype == DL_I64 ? sizeof wide : 0);
    memcpy(&label, row, dtype == DL_I32 ? sizeof label : 0);
    return dtype == DL_I64 ? wide : label;
}

static dl_status read_labels(npy_import *work, const char *path) {
    const int64_t n = work->info.n_samples;
    const dl_dtype dtype = dl_npy_info_of(work->y)->dtype;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *work->label, &work->label));
    for (int64_t i = 0; i < n; i++) {
        int64_t row = 0;
        DL_RETURN_IF_ERROR(dl_npy_read(work->y, 1, &row));
        const int64_t label = label_at(&row, dtype);
        DL_RETURN_ERROR_IF(label < 0 || label >= DL_MAX_CLASSES, DL_ERR_DATA,
                           "%s: sample %" PRId64 " has label %" PRId64
                           "; class numbers from 0 to %d are expected",
                           path, i, label, DL_MAX_CLASSES - 1);
        work->label[i] = (int32_t)label;
        work->info.n_classes = label >= work->info.n_classes ? label + 1 : work->info.n_classes;
    }
    return DL_OK;
}

/* float64 to float32 in place; all numbers must be finite afterwards. */
static dl_status to_float32(const char *path, dl_dtype dtype, int64_t first_row, int64_t row, int64_t n,
                            void *block) {
    for (int64_t i = 0; i < n && dtype != DL_U8; i++) {
        double wide = 0;
        float value = 0;
        memcpy(&wide, (const char *)block + 8 * i, dtype == DL_F64 ? sizeof wide : 0);
        memcpy(&value, (const char *)block + 4 * i, dtype == DL_F32 ? sizeof value : 0);
        value = dtype == DL_F64 ? (float)wide : value;
        DL_RETURN_ERROR_IF(!isfinite(value), DL_ERR_DATA,
                           "%s: sample %" PRId64
                           " holds a number that is not finite in float32; replace or drop it",
                           path, first_row + i / row);
        memcpy((char *)block + 4 * i, &value, sizeof value);
    }
    return DL_OK;
}

static dl_status copy_rows(const dl_import_request *request, npy_import *work, dl_npy *from, const char *path,
                           int field, char *block, int64_t at_once) {
    const dl_dtype dtype = dl_npy_info_of(from)->dtype;
    const int64_t row = dl_shape_elements(&work->info.field[field].sample_shape), all = work->info.n_samples;
    for (int64_t first = 0; first < all; first += at_once) {
        const int64_t n = all - first < at_once ? all - first : at_once;
        DL_RETURN_IF_ERROR(dl_npy_read(from, n * row, block));
        DL_RETURN_IF_ERROR(to_float32(path, dtype, first, row, n * row, block));
        DL_RETURN_IF_ERROR(dl_shard_writer_write(work->writer, field, first, n, block));
        if (request->progress != NULL && field == 0) {
            request->progress(request->split, (double)(first + n) / (double)all);
        }
    }
    return DL_OK;
}

static dl_status copy_array(const dl_import_request *request, npy_import *work, dl_npy *from, int field) {
    const int64_t row = dl_shape_elements(&work->info.field[field].sample_shape) * 8, fit = BLOCK_BYTES / row;
    const int64_t at_once = fit > 1 ? fit : 1;
    char *block = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)at_once, (size_t)row, &block));
    const dl_status status = copy_rows(request, work, from, request->input[field], field, block, at_once);
    dl_free(&block);
    return status;
}

static dl_status run(const dl_import_request *request, npy_import *work) {
    DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, request->split));
    DL_RETURN_IF_ERROR(dl_npy_open(request->input[0], &work->x));
    DL_RETURN_IF_ERROR(dl_npy_open(request->input[1], &work->y));
    const dl_npy_info *x = dl_npy_info_of(work->x), *y = dl_npy_info_of(work->y);
    DL_RETURN_IF_ERROR(check_arrays(request->input, x, y));
    work->info = (dl_dataset_info){.n_samples = x->shape.dim[0], .n_fields = 2};
    work->info.field[0] = describe_rows("x", x);
    work->info.field[1] = describe_rows("y", y);
    if (!is_float(y->dtype)) {
        work->info.field[1] = (dl_field){.name = "y", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
        DL_RETURN_IF_ERROR(read_labels(work, request->input[1]));
    }
    DL_RETURN_IF_ERROR(dl_shard_writer_create(request->folder, request->split, "npy", request->n_shards,
                                              &work->info, NULL, &work->writer));
    DL_RETURN_IF_ERROR(copy_array(request, work, work->x, 0));
    DL_RETURN_IF_ERROR(work->label != NULL
                           ? dl_shard_writer_write(work->writer, 1, 0, work->info.n_samples, work->label)
                           : copy_array(request, work, work->y, 1));
    return dl_shard_writer_commit(work->writer);
}

static dl_status import_npy(const dl_import_request *request) {
    npy_import work = {0};
    const dl_status status = run(request, &work);
    dl_shard_writer_destroy(&work.writer);
    dl_free(&work.label);
    dl_npy_close(&work.y);
    dl_npy_close(&work.x);
    return status;
}

const dl_importer dl_importer_npy = {
    .name = "npy",
    .usage = "X.npy Y.npy",
    .doc = "NumPy arrays: samples uint8 or float [N, ...]; classes int [N], or targets float [N, K]",
    .min_inputs = 2,
    .max_inputs = 2,
    .import = import_npy,
};
