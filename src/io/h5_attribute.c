/* Attributes: one integer or one fixed-length text. */
#define _GNU_SOURCE
#include "io/h5_private.h"

#include <string.h>

/* Opens an attribute; -1 in *id when there is none. */
static dl_status open_attribute(dl_h5 *file, const char *object, const char *name, hid_t *id) {
    *id = -1;
    bool found = false;
    DL_RETURN_IF_ERROR(dl_h5_check_path(file, object, &found));
    if (!found || H5Aexists_by_name(file->id, object, name, H5P_DEFAULT) <= 0) {
        return DL_OK;
    }
    char reason[DL_H5_REASON_BYTES];
    *id = H5Aopen_by_name(file->id, object, name, H5P_DEFAULT, H5P_DEFAULT);
    DL_RETURN_ERROR_IF(*id < 0, DL_ERR_DATA, "%s: cannot open attribute %s of %s: %s", file->path, name,
                       object, dl_h5_reason(reason));
    return DL_OK;
}

static bool is_single(hid_t attribute) {
    const hid_t space = H5Aget_space(attribute);
    const bool single = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    dl_h5_close_id(space);
    return single;
}

static bool read_int(hid_t attribute, int64_t *out) {
    const hid_t type = H5Aget_type(attribute);
    const bool good = type >= 0 && H5Tget_class(type) == H5T_INTEGER && is_single(attribute) &&
                      H5Aread(attribute, H5T_NATIVE_INT64, out) >= 0;
    dl_h5_close_id(type);
    return good;
}

dl_status dl_h5_attribute_int(dl_h5 *file, const char *object, const char *name, int64_t *out, bool *found) {
    hid_t id = -1;
    dl_h5_lock();
    dl_status status = open_attribute(file, object, name, &id);
    *found = id >= 0;
    if (status == DL_OK && *found && !read_int(id, out)) {
        status = dl_error_raise(DL_ERR_DATA, __FILE__, __LINE__, __func__,
                                "%s: attribute %s of %s is not an integer", file->path, name, object);
    }
    dl_h5_close_id(id);
    dl_h5_unlock();
    return status;
}

/* Texts of variable length live in a heap that is not read here: see the list of refused types in h5.h. */
static bool read_text(hid_t attribute, char *out, size_t n_bytes) {
    const hid_t type = H5Aget_type(attribute);
    const size_t size = type < 0 ? 0 : H5Tget_size(type);
    bool good = type >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
                is_single(attribute) && size > 0 && size < n_bytes;
    if (good) {
        memset(out, 0, n_bytes);
        good = H5Aread(attribute, type, out) >= 0;
    }
    dl_h5_close_id(type);
    return good;
}

dl_status dl_h5_attribute_text(dl_h5 *file, const char *object, const char *name, char *out, size_t n_bytes,
                               bool *found) {
    hid_t id = -1;
    dl_h5_lock();
    dl_status status = open_attribute(file, object, name, &id);
    *found = id >= 0;
    if (status == DL_OK && *found && !read_text(id, out, n_bytes)) {
        status = dl_error_raise(DL_ERR_DATA, __FILE__, __LINE__, __func__,
                                "%s: attribute %s of %s is not a text of fixed length below %zu bytes",
                                file->path, name, object, n_bytes);
    }
    dl_h5_close_id(id);
    dl_h5_unlock();
    return status;
}
