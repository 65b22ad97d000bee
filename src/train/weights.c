#include "train/weights.h"

#include "io/h5.h"

#include <stdlib.h>
#include <string.h>

enum { READ_CHUNK_BYTES = 16 << 20, MAX_TENSORS = 8192 };

static int by_path(const void *left, const void *right) {
    const dl_parameter *const *a = left, *const *b = right;
    return strcmp((*a)->path, (*b)->path);
}

/* The parameters in bytewise order of their paths; release with dl_free. */
static dl_status sort_by_path(const dl_parameter_table *table, const dl_parameter ***out) {
    const dl_parameter **sorted = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)table->n, sizeof *sorted, &sorted));
    for (int i = 0; i < table->n; i++) {
        sorted[i] = &table->parameter[i];
    }
    qsort(sorted, (size_t)table->n, sizeof *sorted, by_path);
    *out = sorted;
    return DL_OK;
}

dl_status dl_weights_hash(const dl_parameter_table *table, const dl_host_arenas *arenas,
                          char out[DL_DIGEST_TEXT_BYTES]) {
    dl_digest *digest = NULL;
    const dl_parameter **sorted = NULL;
    DL_RETURN_IF_ERROR(sort_by_path(table, &sorted));
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_digest_create(&digest), end);
    for (int i = 0; i < table->n; i++) {
        dl_digest_add(digest, dl_parameter_data(sorted[i], arenas),
                      (size_t)sorted[i]->n_elements * sizeof(float));
    }
    dl_digest_text(digest, out);
end:
    dl_digest_destroy(&digest);
    dl_free(&sorted);
    return status;
}

/* Adds a dataset's bytes, in chunks of whole rows. */
static dl_status add_dataset(dl_h5 *file, const char *path, const dl_h5_dataset *dataset, dl_digest *digest) {
    DL_RETURN_ERROR_IF(dataset->dtype != DL_F32 || dataset->shape.n_dims == 0, DL_ERR_DATA,
                       "%s: %s is not a float32 tensor, so this is not a weights file", path, dataset->name);
    const int64_t n_rows = dataset->shape.dim[0];
    const size_t row_bytes = (size_t)dl_shape_stride(&dataset->shape, 1) * sizeof(float);
    if (n_rows == 0 || row_bytes == 0) {
        return DL_OK;
    }
    const int64_t fit = (int64_t)(READ_CHUNK_BYTES / row_bytes);
    const int64_t step = fit < 1 ? 1 : fit < n_rows ? fit : n_rows;
    void *rows = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)step, row_bytes, &rows));
    dl_status status = DL_OK;
    for (int64_t first = 0; first < n_rows; first += step) {
        const int64_t n = n_rows - first < step ? n_rows - first : step;
        DL_GOTO_IF_ERROR(status, dl_h5_read_rows(file, dataset, first, n, rows), end);
        dl_digest_add(digest, rows, (size_t)n * row_bytes);
    }
end:
    dl_free(&rows);
    return status;
}

dl_status dl_weights_hash_file(const char *path, char out[DL_DIGEST_TEXT_BYTES]) {
    dl_h5 *file = NULL;
    dl_digest *digest = NULL;
    dl_h5_dataset *datasets = NULL;
    int n = 0;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_h5_open(path, &file), end);
    DL_GOTO_IF_ERROR(status, dl_alloc(MAX_TENSORS, sizeof *datasets, &datasets), end);
    DL_GOTO_IF_ERROR(status, dl_h5_list(file, datasets, MAX_TENSORS, &n), end);
    DL_GOTO_ERROR_IF(status, n == 0, end, DL_ERR_DATA, "%s holds no tensors", path);
    DL_GOTO_IF_ERROR(status, dl_digest_create(&digest), end);
    for (int i = 0; i < n; i++) {
        DL_GOTO_IF_ERROR(status, add_dataset(file, path, &datasets[i], digest), end);
    }
    dl_digest_text(digest, out);
end:
    dl_digest_destroy(&digest);
    dl_free(&datasets);
    dl_h5_close(&file);
    return status;
}

/* Declares everything and lays the file out; datasets get the numbers 0..n-1 in `sorted`'s order. */
static dl_status declare(dl_h5_writer *writer, const dl_parameter **sorted, int n, const char *name,
                         int64_t step) {
    for (int i = 0; i < n; i++) {
        int index = -1;
        DL_RETURN_IF_ERROR(dl_h5_writer_dataset(writer, sorted[i]->path, DL_F32, &sorted[i]->shape, &index));
        DL_RETURN_ERROR_IF(index != i, DL_ERR_INTERNAL, "dataset %s has number %d, not %d", sorted[i]->path,
                           index, i);
    }
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(writer, "/", "format_version", DL_WEIGHTS_FORMAT_VERSION));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_text(writer, "/", "name", name));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(writer, "/", "step", step));
    DL_RETURN_IF_ERROR(dl_h5_writer_layout(writer));
    return DL_OK;
}

dl_status dl_weights_write(const char *path, const dl_parameter_table *table, const char *name, int64_t step,
                           const dl_host_arenas *arenas) {
    dl_h5_writer *writer = NULL;
    const dl_parameter **sorted = NULL;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, sort_by_path(table, &sorted), end);
    DL_GOTO_IF_ERROR(status, dl_h5_writer_create(path, &writer), end);
    DL_GOTO_IF_ERROR(status, declare(writer, sorted, table->n, name, step), end);
    for (int i = 0; i < table->n; i++) {
        DL_GOTO_IF_ERROR(status,
                         dl_h5_writer_write(writer, i, 0, dl_parameter_data(sorted[i], arenas),
                                            (size_t)sorted[i]->n_elements * sizeof(float)),
                         end);
    }
    DL_GOTO_IF_ERROR(status, dl_h5_writer_commit(writer), end);
end:
    dl_h5_writer_destroy(&writer);
    dl_free(&sorted);
    return status;
}
