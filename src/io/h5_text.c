/* Datasets of texts: of fixed length, as we write them, or of varying length, as h5py does. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "io/h5_private.h"

#include <stdlib.h>
#include <string.h>

static const int64_t max_texts = INT64_C(1) << 24, max_text_bytes = INT64_C(256) << 20;

static dl_status describe(const dl_h5 *file, hid_t dataset, hid_t type, hid_t creation, dl_h5_dataset *out) {
    dl_shape shape;
    DL_RETURN_ERROR_IF(creation < 0 || type < 0 || H5Tget_class(type) != H5T_STRING, DL_ERR_DATA,
                       "%s: the elements of %s are not texts", file->path, out->name);
    DL_RETURN_IF_ERROR(dl_h5_check_storage(file, creation, out->name));
    DL_RETURN_IF_ERROR(dl_h5_take_shape(file, dataset, out->name, &shape));
    DL_RETURN_ERROR_IF(shape.n_dims != 1, DL_ERR_DATA, "%s: %s has %d dimensions; a list of texts has one",
                       file->path, out->name, shape.n_dims);
    const bool varying = H5Tis_variable_str(type) > 0;
    const int64_t width = varying ? 0 : (int64_t)H5Tget_size(type);
    DL_RETURN_ERROR_IF(shape.dim[0] > max_texts || width > max_text_bytes / (shape.dim[0] + 1), DL_ERR_DATA,
                       "%s: %s holds more than 256 MiB of texts", file->path, out->name);
    out->shape = DL_SHAPE(shape.dim[0], width);
    if (!varying && H5Pget_layout(creation) == H5D_CONTIGUOUS) {
        return dl_h5_check_contiguous(file, dataset, true, out);
    }
    return DL_OK;
}

/* Opens a dataset of texts and describes it; *id negative when there is none of that name. */
static dl_status open_texts(dl_h5 *file, const char *name, dl_h5_dataset *out, hid_t *id) {
    char reason[DL_H5_REASON_BYTES];
    bool found = false;
    *id = -1;
    *out = (dl_h5_dataset){.dtype = DL_U8, .offset = -1};
    DL_RETURN_IF_ERROR(dl_h5_check_path(file, name, &found));
    if (!found) {
        return DL_OK;
    }
    memcpy(out->name, name, strlen(name) + 1);
    *id = H5Oopen(file->id, name, H5P_DEFAULT);
    DL_RETURN_ERROR_IF(*id < 0, DL_ERR_DATA, "%s: cannot open %s: %s", file->path, name,
                       dl_h5_reason(reason));
    DL_RETURN_ERROR_IF(H5Iget_type(*id) != H5I_DATASET, DL_ERR_DATA, "%s: %s is not a dataset", file->path,
                       name);
    const hid_t creation = H5Dget_create_plist(*id), type = H5Dget_type(*id);
    const dl_status status = describe(file, *id, type, creation, out);
    dl_h5_close_id(type);
    dl_h5_close_id(creation);
    return status;
}

dl_status dl_h5_find_texts(dl_h5 *file, const char *name, dl_h5_dataset *out, bool *found) {
    hid_t id = -1;
    dl_h5_lock();
    const dl_status status = open_texts(file, name, out, &id);
    *found = id >= 0;
    dl_h5_close_id(id);
    dl_h5_unlock();
    return status;
}

static dl_status take_fixed(dl_h5 *file, hid_t id, const dl_h5_dataset *dataset, dl_h5_texts *out) {
    const int64_t n = dataset->shape.dim[0], width = dataset->shape.dim[1];
    char *packed = NULL, reason[DL_H5_REASON_BYTES];
    DL_RETURN_IF_ERROR(dl_alloc((size_t)(n * (width + 1)), 1, &out->bytes));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)(n * width), 1, &packed));
    const hid_t type = H5Dget_type(id);
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, type < 0 || H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, packed) < 0, done,
                     DL_ERR_DATA, "%s: cannot read %s: %s", file->path, dataset->name, dl_h5_reason(reason));
    for (int64_t i = 0; i < n; i++) {
        out->text[i] = out->bytes + i * (width + 1);
        memcpy(out->text[i], packed + i * width, (size_t)width);
    }
done:
    dl_h5_close_id(type);
    dl_free(&packed);
    return status;
}

static dl_status copy_varying(const dl_h5 *file, const dl_h5_dataset *dataset, char *const *from,
                              dl_h5_texts *out) {
    size_t n_bytes = 0;
    for (int64_t i = 0; i < out->n; i++) {
        n_bytes += (from[i] != NULL ? strlen(from[i]) : 0) + 1;
    }
    DL_RETURN_ERROR_IF(n_bytes > (size_t)max_text_bytes, DL_ERR_DATA,
                       "%s: %s holds more than 256 MiB of texts", file->path, dataset->name);
    DL_RETURN_IF_ERROR(dl_alloc(n_bytes, 1, &out->bytes));
    char *next = out->bytes;
    for (int64_t i = 0; i < out->n; i++) {
        const size_t length = from[i] != NULL ? strlen(from[i]) : 0;
        out->text[i] = next;
        if (length > 0) {
            memcpy(next, from[i], length);
        }
        next += length + 1;
    }
    return DL_OK;
}

static dl_status take_varying(dl_h5 *file, hid_t id, const dl_h5_dataset *dataset, dl_h5_texts *out) {
    char **from = NULL, reason[DL_H5_REASON_BYTES];
    DL_RETURN_IF_ERROR(dl_h5_check_heaps(file, id, dataset->name, out->n));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)out->n, sizeof *from, &from));
    const hid_t type = H5Dget_type(id), space = H5Dget_space(id);
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(
        status, type < 0 || space < 0 || H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, from) < 0, done,
        DL_ERR_DATA, "%s: cannot read %s: %s", file->path, dataset->name, dl_h5_reason(reason));
    status = copy_varying(file, dataset, from, out);
    (void)H5Dvlen_reclaim(type, space, H5P_DEFAULT, from);
done:
    dl_h5_close_id(space);
    dl_h5_close_id(type);
    dl_free(&from);
    return status;
}

static dl_status read_texts(dl_h5 *file, const char *name, dl_h5_texts *out, hid_t *id) {
    dl_h5_dataset dataset;
    DL_RETURN_IF_ERROR(open_texts(file, name, &dataset, id));
    if (*id < 0) {
        return DL_OK;
    }
    out->n = dataset.shape.dim[0];
    DL_RETURN_IF_ERROR(dl_alloc((size_t)out->n, sizeof *out->text, &out->text));
    return dataset.shape.dim[1] > 0 ? take_fixed(file, *id, &dataset, out)
                                    : take_varying(file, *id, &dataset, out);
}

dl_status dl_h5_read_texts(dl_h5 *file, const char *name, dl_h5_texts *out, bool *found) {
    hid_t id = -1;
    *out = (dl_h5_texts){0};
    dl_h5_lock();
    const dl_status status = read_texts(file, name, out, &id);
    *found = id >= 0;
    dl_h5_close_id(id);
    dl_h5_unlock();
    return status;
}

void dl_h5_texts_free(dl_h5_texts *texts) {
    dl_free(&texts->text);
    dl_free(&texts->bytes);
    texts->n = 0;
}
