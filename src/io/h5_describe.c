/* What is accepted in a file: hard links, plain storage, few filters, fixed-size numbers. */
#define _GNU_SOURCE
#include "io/h5_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CHUNK_BYTES = 1 << 30, MAX_DEPTH = 16, MAX_OBJECTS = 65536 };
/* A chunked dataset above this size must hold at least a thousandth of what it declares. */
static const int64_t suspicious_bytes = (int64_t)4 << 30;

static const char *link_kind(H5L_type_t type) {
    return type == H5L_TYPE_SOFT       ? "a soft link"
           : type == H5L_TYPE_EXTERNAL ? "an external link"
                                       : "an unknown link";
}

dl_status dl_h5_check_path(const dl_h5 *file, const char *name, bool *found) {
    char partial[sizeof((dl_h5_dataset *)0)->name];
    *found = false;
    const size_t n = strlen(name);
    if (n == 0 || n >= sizeof partial) {
        return DL_OK;
    }
    memcpy(partial, name, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (partial[i] != '/' && partial[i] != '\0') {
            continue;
        }
        partial[i] = '\0';
        if (strcmp(partial, "/") != 0) {
            H5L_info_t info;
            if (H5Lexists(file->id, partial, H5P_DEFAULT) <= 0 ||
                H5Lget_info(file->id, partial, &info, H5P_DEFAULT) < 0) {
                return DL_OK;
            }
            DL_RETURN_ERROR_IF(info.type != H5L_TYPE_HARD, DL_ERR_DATA,
                               "%s: %s is %s; links are not followed: copy the data in its place", file->path,
                               partial, link_kind(info.type));
        }
        partial[i] = name[i];
    }
    *found = true;
    return DL_OK;
}

static dl_status check_filters(const dl_h5 *file, hid_t creation, const char *name) {
    const int n = H5Pget_nfilters(creation);
    for (int i = 0; i < n; i++) {
        unsigned flags = 0;
        char text[40] = "";
        const H5Z_filter_t filter =
            H5Pget_filter2(creation, (unsigned)i, &flags, NULL, NULL, sizeof text, text, NULL);
        const bool known =
            filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_FLETCHER32;
        DL_RETURN_ERROR_IF(
            !known || H5Zfilter_avail(filter) <= 0, DL_ERR_DATA,
            "%s: %s is stored with filter %d (%.39s), which cannot be read here; write it without "
            "compression or with gzip",
            file->path, name, (int)filter, text[0] != '\0' ? text : "unnamed");
    }
    return DL_OK;
}

/* Layouts that reach outside the file are refused before anything is read through them. */
dl_status dl_h5_check_storage(const dl_h5 *file, hid_t creation, const char *name) {
    const H5D_layout_t layout = H5Pget_layout(creation);
    DL_RETURN_ERROR_IF(layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED && layout != H5D_COMPACT,
                       DL_ERR_DATA, "%s: %s is %s; only data within the file is read", file->path, name,
                       layout == H5D_VIRTUAL ? "a virtual dataset" : "stored in an unknown layout");
    DL_RETURN_ERROR_IF(H5Pget_external_count(creation) != 0, DL_ERR_DATA,
                       "%s: %s is stored in another file; only data within the file is read", file->path,
                       name);
    return check_filters(file, creation, name);
}

dl_status dl_h5_take_shape(const dl_h5 *file, hid_t dataset, const char *name, dl_shape *out) {
    hsize_t dim[H5S_MAX_RANK];
    const hid_t space = H5Dget_space(dataset);
    const int rank =
        space < 0 || H5Sget_simple_extent_type(space) == H5S_NULL ? -1 : H5Sget_simple_extent_ndims(space);
    const bool known = rank >= 0 && rank <= H5S_MAX_RANK && H5Sget_simple_extent_dims(space, dim, NULL) >= 0;
    dl_h5_close_id(space);
    DL_RETURN_ERROR_IF(!known, DL_ERR_DATA, "%s: %s has no dimensions", file->path, name);
    DL_RETURN_ERROR_IF(rank > DL_MAX_DIMS, DL_ERR_DATA, "%s: %s has %d dimensions, at most %d are supported",
                       file->path, name, rank, DL_MAX_DIMS);
    memset(out, 0, sizeof *out);
    out->n_dims = rank;
    int64_t elements = 1;
    for (int i = 0; i < rank; i++) {
        const bool fits =
            dim[i] < ((hsize_t)1 << 48) && !__builtin_mul_overflow(elements, (int64_t)dim[i], &elements);
        DL_RETURN_ERROR_IF(!fits || elements > (int64_t)1 << 48, DL_ERR_DATA,
                           "%s: %s declares more than 2^48 elements", file->path, name);
        out->dim[i] = (int64_t)dim[i];
    }
    return DL_OK;
}

/* libhdf5 believes the shape even where the layout holds fewer bytes. */
static dl_status check_stored(const dl_h5 *file, hid_t dataset, const dl_h5_dataset *out) {
    const int64_t needed = dl_shape_elements(&out->shape) * (int64_t)dl_dtype_bytes(out->dtype);
    const hsize_t stored = H5Dget_storage_size(dataset);
    DL_RETURN_ERROR_IF(stored != 0 && stored < (hsize_t)needed, DL_ERR_DATA,
                       "%s: %s needs %" PRId64 " bytes but %" PRIu64 " are stored", file->path, out->name,
                       needed, (uint64_t)stored);
    return DL_OK;
}

dl_status dl_h5_check_contiguous(const dl_h5 *file, hid_t dataset, bool native, dl_h5_dataset *out) {
    const int64_t n_bytes = dl_shape_elements(&out->shape) * (int64_t)dl_dtype_bytes(out->dtype);
    const haddr_t offset = H5Dget_offset(dataset);
    if (n_bytes == 0) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(offset == HADDR_UNDEF, DL_ERR_DATA, "%s: %s was declared but never written",
                       file->path, out->name);
    DL_RETURN_ERROR_IF(
        offset > (haddr_t)file->n_bytes || n_bytes > file->n_bytes - (int64_t)offset, DL_ERR_DATA,
        "%s is cut off: %s needs bytes %" PRIuMAX " to %" PRIuMAX " but the file has %" PRId64, file->path,
        out->name, (uintmax_t)offset, (uintmax_t)offset + (uintmax_t)n_bytes, file->n_bytes);
    out->offset = native ? (int64_t)offset : -1;
    return DL_OK;
}

static dl_status check_chunks(const dl_h5 *file, hid_t dataset, hid_t creation, dl_h5_dataset *out) {
    hsize_t chunk[DL_MAX_DIMS] = {0};
    const int rank = H5Pget_chunk(creation, DL_MAX_DIMS, chunk);
    DL_RETURN_ERROR_IF(rank != out->shape.n_dims || rank < 1, DL_ERR_DATA, "%s: the chunks of %s are damaged",
                       file->path, out->name);
    int64_t n_bytes = (int64_t)dl_dtype_bytes(out->dtype);
    for (int i = 0; i < rank; i++) {
        DL_RETURN_ERROR_IF(chunk[i] == 0 || chunk[i] > MAX_CHUNK_BYTES ||
                               (n_bytes *= (int64_t)chunk[i]) > MAX_CHUNK_BYTES,
                           DL_ERR_DATA, "%s: the chunks of %s are larger than 1 GiB", file->path, out->name);
    }
    out->chunk_rows = (int64_t)chunk[0];
    const int64_t declared = dl_shape_elements(&out->shape) * (int64_t)dl_dtype_bytes(out->dtype);
    const int64_t stored = (int64_t)H5Dget_storage_size(dataset);
    DL_RETURN_ERROR_IF(declared > suspicious_bytes && declared / 1000 > stored, DL_ERR_DATA,
                       "%s: %s declares %" PRId64 " bytes but stores only %" PRId64, file->path, out->name,
                       declared, stored);
    return DL_OK;
}

dl_status dl_h5_describe(const dl_h5 *file, hid_t dataset, const char *name, dl_h5_dataset *out,
                         bool *supported) {
    memset(out, 0, sizeof *out);
    out->offset = -1;
    const int n = snprintf(out->name, sizeof out->name, "%s", name);
    DL_RETURN_ERROR_IF(n < 0 || (size_t)n >= sizeof out->name, DL_ERR_DATA,
                       "%s: the dataset name %.40s... is too long", file->path, name);
    bool native = false;
    dl_status status = DL_OK;
    const hid_t creation = H5Dget_create_plist(dataset), type = H5Dget_type(dataset);
    DL_GOTO_ERROR_IF(status, creation < 0 || type < 0, done, DL_ERR_DATA, "%s: %s is damaged", file->path,
                     name);
    *supported = dl_h5_dtype_of(type, &out->dtype, &native);
    if (!*supported) {
        goto done;
    }
    DL_GOTO_IF_ERROR(status, dl_h5_check_storage(file, creation, name), done);
    DL_GOTO_IF_ERROR(status, dl_h5_take_shape(file, dataset, name, &out->shape), done);
    if (H5Pget_layout(creation) == H5D_CHUNKED) {
        DL_GOTO_IF_ERROR(status, check_chunks(file, dataset, creation, out), done);
    } else {
        DL_GOTO_IF_ERROR(status, check_stored(file, dataset, out), done);
    }
    if (H5Pget_layout(creation) == H5D_CONTIGUOUS) {
        DL_GOTO_IF_ERROR(status, dl_h5_check_contiguous(file, dataset, native, out), done);
    }
done:
    dl_h5_close_id(type);
    dl_h5_close_id(creation);
    return status;
}

/* --- all datasets of a file --- */

typedef struct walk {
    dl_h5 *file;
    dl_h5_dataset *out;
    int capacity, n, n_objects, depth;
    char path[sizeof((dl_h5_dataset *)0)->name]; /* of the group being walked, "" for the root */
    dl_status status;
} walk;

static herr_t walk_link(hid_t group, const char *name, const H5L_info_t *info, void *context);

static dl_status walk_group(walk *state, hid_t group, const char *path) {
    char reason[DL_H5_REASON_BYTES], outer[sizeof state->path];
    DL_RETURN_ERROR_IF(state->depth >= MAX_DEPTH, DL_ERR_DATA, "%s: groups are nested deeper than %d",
                       state->file->path, MAX_DEPTH);
    memcpy(outer, state->path, sizeof outer);
    (void)snprintf(state->path, sizeof state->path, "%s", path);
    state->depth++;
    const herr_t result = H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, walk_link, state);
    state->depth--;
    memcpy(state->path, outer, sizeof outer);
    if (state->status != DL_OK) {
        return state->status;
    }
    DL_RETURN_ERROR_IF(result < 0, DL_ERR_DATA, "%s: cannot list group %s: %s", state->file->path,
                       path[0] != '\0' ? path : "/", dl_h5_reason(reason));
    return DL_OK;
}

static dl_status walk_dataset(walk *state, hid_t id, const char *path) {
    dl_h5_dataset found;
    bool supported = false;
    DL_RETURN_IF_ERROR(dl_h5_describe(state->file, id, path, &found, &supported));
    if (!supported) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(state->n == state->capacity, DL_ERR_DATA, "%s holds more than %d datasets",
                       state->file->path, state->capacity);
    state->out[state->n++] = found;
    return DL_OK;
}

static dl_status walk_object(walk *state, hid_t group, const char *name, H5L_type_t type) {
    char path[sizeof state->path], reason[DL_H5_REASON_BYTES];
    const int n = snprintf(path, sizeof path, "%s/%s", state->path, name);
    DL_RETURN_ERROR_IF(n < 0 || (size_t)n >= sizeof path, DL_ERR_DATA, "%s: the name %s/%.40s... is too long",
                       state->file->path, state->path, name);
    DL_RETURN_ERROR_IF(type != H5L_TYPE_HARD, DL_ERR_DATA,
                       "%s: %s is %s; links are not followed: copy the data in its place", state->file->path,
                       path, link_kind(type));
    DL_RETURN_ERROR_IF(++state->n_objects > MAX_OBJECTS, DL_ERR_DATA, "%s holds more than %d objects",
                       state->file->path, MAX_OBJECTS);
    const hid_t id = H5Oopen(group, name, H5P_DEFAULT);
    DL_RETURN_ERROR_IF(id < 0, DL_ERR_DATA, "%s: cannot open %s: %s", state->file->path, path,
                       dl_h5_reason(reason));
    dl_status status = DL_OK;
    if (H5Iget_type(id) == H5I_GROUP) {
        status = walk_group(state, id, path);
    } else if (H5Iget_type(id) == H5I_DATASET) {
        status = walk_dataset(state, id, path);
    }
    dl_h5_close_id(id);
    return status;
}

static herr_t walk_link(hid_t group, const char *name, const H5L_info_t *info, void *context) {
    walk *state = context;
    state->status = walk_object(state, group, name, info->type);
    return state->status == DL_OK ? 0 : -1;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const dl_h5_dataset *)a)->name, ((const dl_h5_dataset *)b)->name);
}

dl_status dl_h5_list(dl_h5 *file, dl_h5_dataset *out, int capacity, int *n) {
    walk state = {.file = file, .out = out, .capacity = capacity};
    dl_h5_lock();
    const dl_status status = walk_group(&state, file->id, "");
    dl_h5_unlock();
    *n = status == DL_OK ? state.n : 0;
    qsort(out, (size_t)*n, sizeof *out, by_name);
    return status;
}
