/* The manifest's tensors and the slices that make them up. */
#define _GNU_SOURCE
#include "base/thread.h"
#include "train/checkpoint/checkpoint_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The cover is checked slice by slice: their number is limited for the time that takes. A rank writes a few
 * slices of a tensor at most. */
enum { MAX_SLICES = 4096 };

static dl_status parse_dims(const char *path, const json_t *list, const char *where, const char *key,
                            int64_t max, int64_t *dim, int *n) {
    const size_t size = json_array_size(list);
    DL_RETURN_ERROR_IF(size > DL_MAX_DIMS, DL_ERR_CORRUPT, "%s is damaged: %s.%s has more than %d dimensions",
                       path, where, key, DL_MAX_DIMS);
    for (size_t i = 0; i < size; i++) {
        const json_t *value = json_array_get(list, i);
        DL_RETURN_ERROR_IF(
            !json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max,
            DL_ERR_CORRUPT, "%s is damaged: %s.%s[%zu] must be a whole number from 0 to %" PRId64, path,
            where, key, i, max);
        dim[i] = (int64_t)json_integer_value(value);
    }
    *n = (int)size;
    return DL_OK;
}

static dl_status parse_shape(const char *path, const json_t *object, const char *where, dl_shape *out) {
    json_t *list = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, object, where, "shape", JSON_ARRAY, &list));
    DL_RETURN_IF_ERROR(parse_dims(path, list, where, "shape", (int64_t)1 << 48, out->dim, &out->n_dims));
    DL_RETURN_ERROR_IF(dl_shape_check(out) != DL_OK, DL_ERR_CORRUPT, "%s is damaged: %s.shape is too large",
                       path, where);
    return DL_OK;
}

static int compare_names(const void *key, const void *file) {
    return strcmp(key, ((const dl_checkpoint_file *)file)->name);
}

static dl_status parse_piece(const dl_checkpoint *c, const char *path, const json_t *value, const char *where,
                             const dl_checkpoint_entry *entry, dl_checkpoint_piece *out) {
    const char *file = NULL;
    json_t *offset = NULL;
    int n = 0;
    DL_RETURN_ERROR_IF(!json_is_object(value), DL_ERR_CORRUPT, "%s is damaged: %s must be an object", path,
                       where);
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_text(path, value, where, "file", DL_CHECKPOINT_PART_NAME_BYTES, &file));
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_text(path, value, where, "path", DL_CHECKPOINT_NAME_BYTES, &out->path));
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, value, where, "offset", JSON_ARRAY, &offset));
    DL_RETURN_IF_ERROR(parse_dims(path, offset, where, "offset", (int64_t)1 << 48, out->offset, &n));
    DL_RETURN_IF_ERROR(parse_shape(path, value, where, &out->shape));
    DL_RETURN_IF_ERROR(dl_checkpoint_take_no_more(path, value, where, 4));
    const dl_checkpoint_file *found =
        bsearch(file, c->file, (size_t)c->n_files, sizeof *c->file, compare_names);
    DL_RETURN_ERROR_IF(found == NULL, DL_ERR_CORRUPT, "%s is damaged: %s.file is none of its files", path,
                       where);
    DL_RETURN_ERROR_IF(!dl_checkpoint_is_tensor_name(out->path), DL_ERR_CORRUPT,
                       "%s is damaged: %s.path is not a path of a dataset", path, where);
    out->file = (int)(found - c->file);
    const dl_shape *whole = &entry->tensor.shape;
    bool inside = n == whole->n_dims && out->shape.n_dims == n;
    for (int i = 0; i < n && inside; i++) {
        inside = out->shape.dim[i] <= whole->dim[i] && out->offset[i] <= whole->dim[i] - out->shape.dim[i];
    }
    DL_RETURN_ERROR_IF(!inside, DL_ERR_CORRUPT, "%s is damaged: %s does not lie in the tensor", path, where);
    const int64_t n_elements = dl_shape_elements(&out->shape);
    DL_RETURN_ERROR_IF(n_elements > found->n_bytes / (int64_t)dl_dtype_bytes(entry->tensor.dtype),
                       DL_ERR_CORRUPT, "%s is damaged: %s is larger than its file", path, where);
    return DL_OK;
}

static dl_status parse_dtype(const char *path, const json_t *object, const char *where, dl_dtype *out) {
    const char *text = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_take_text(path, object, where, "dtype", 32, &text));
    for (int i = 0; i < DL_N_DTYPES; i++) {
        if (strcmp(text, dl_dtype_name((dl_dtype)i)) == 0) {
            *out = (dl_dtype)i;
            return DL_OK;
        }
    }
    DL_RETURN_ERROR(DL_ERR_CORRUPT, "%s is damaged: %s.dtype '%s' is unknown", path, where, text);
}

static dl_status parse_tensor(dl_checkpoint *c, const char *path, const json_t *value, int number) {
    char where[64];
    json_t *slices = NULL;
    dl_checkpoint_entry *entry = &c->entry[number];
    (void)snprintf(where, sizeof where, "tensors[%d]", number);
    DL_RETURN_ERROR_IF(!json_is_object(value), DL_ERR_CORRUPT, "%s is damaged: %s must be an object", path,
                       where);
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_text(path, value, where, "name", DL_CHECKPOINT_NAME_BYTES, &entry->tensor.name));
    DL_RETURN_ERROR_IF(!dl_checkpoint_is_tensor_name(entry->tensor.name), DL_ERR_CORRUPT,
                       "%s is damaged: %s.name is not a name of a tensor", path, where);
    DL_RETURN_IF_ERROR(parse_dtype(path, value, where, &entry->tensor.dtype));
    DL_RETURN_IF_ERROR(parse_shape(path, value, where, &entry->tensor.shape));
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, value, where, "slices", JSON_ARRAY, &slices));
    DL_RETURN_IF_ERROR(dl_checkpoint_take_no_more(path, value, where, 4));
    const size_t n = json_array_size(slices);
    DL_RETURN_ERROR_IF(n > MAX_SLICES, DL_ERR_CORRUPT, "%s is damaged: %s has more than %d slices", path,
                       where, MAX_SLICES);
    DL_RETURN_IF_ERROR(dl_pool_alloc(c->pool, n, sizeof *entry->piece, &entry->piece));
    entry->n_pieces = (int)n;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(where, sizeof where, "tensors[%d].slices[%zu]", number, i);
        DL_RETURN_IF_ERROR(parse_piece(c, path, json_array_get(slices, i), where, entry, &entry->piece[i]));
    }
    return dl_checkpoint_check_cover(path, entry);
}

dl_status dl_checkpoint_parse_tensors(dl_checkpoint *c, const char *path) {
    json_t *tensors = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, c->root, "", "tensors", JSON_ARRAY, &tensors));
    const size_t n = json_array_size(tensors);
    DL_RETURN_IF_ERROR(dl_pool_alloc(c->pool, n, sizeof *c->entry, &c->entry));
    for (size_t i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(parse_tensor(c, path, json_array_get(tensors, i), (int)i));
        DL_RETURN_ERROR_IF(i > 0 && strcmp(c->entry[i - 1].tensor.name, c->entry[i].tensor.name) >= 0,
                           DL_ERR_CORRUPT, "%s is damaged: tensors[%zu] is not in bytewise order of names",
                           path, i);
        c->n_tensors++;
        dl_thread_rest();
    }
    return DL_OK;
}
