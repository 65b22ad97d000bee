/* Opening files and reading rows. What a dataset may look like is decided in h5_describe.c. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "io/h5_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Decoded chunks kept per dataset: the whole of a small one, so that it is decompressed once. */
enum { CACHE_BYTES = 256 << 20, MAX_CACHE_SLOTS = 200003 };

static dl_status check_plain_file(const char *path, int64_t *n_bytes) {
    struct stat info;
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, errno == ENOENT ? DL_ERR_USAGE : DL_ERR_IO,
                       "cannot open %s: %s", path, strerror(errno));
    DL_RETURN_ERROR_IF(!S_ISREG(info.st_mode), DL_ERR_DATA, "%s is not a file", path);
    DL_RETURN_ERROR_IF(info.st_size == 0, DL_ERR_DATA, "%s is empty", path);
    *n_bytes = (int64_t)info.st_size;
    return DL_OK;
}

static hid_t open_read_only(const char *path, char *reason) {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0) {
        return access;
    }
#if H5_VERSION_GE(1, 10, 7)
    /* Readers need no lock, and some network file systems have none. */
    (void)H5Pset_file_locking(access, false, true);
#endif
    const hid_t id = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (id < 0) {
        (void)dl_h5_reason(reason);
    }
    dl_h5_close_id(access);
    return id;
}

static dl_status open_file(dl_h5 *file) {
    char reason[DL_H5_REASON_BYTES] = "out of memory";
    const char *path = file->path;
    DL_RETURN_ERROR_IF(H5Fis_hdf5(path) <= 0, DL_ERR_DATA, "%s is not an HDF5 file", path);
    file->id = open_read_only(path, reason);
    DL_RETURN_ERROR_IF(file->id < 0, DL_ERR_DATA, "%s is damaged or cut off: %s", path, reason);
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    DL_RETURN_ERROR_IF(file->fd < 0, DL_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    hsize_t user_block = 0;
    const hid_t creation = H5Fget_create_plist(file->id);
    const bool known = creation >= 0 && H5Pget_userblock(creation, &user_block) >= 0;
    dl_h5_close_id(creation);
    DL_RETURN_ERROR_IF(!known || user_block != 0, DL_ERR_DATA,
                       "%s has a user block in front of its HDF5 content, which is not supported", path);
    return DL_OK;
}

dl_status dl_h5_open(const char *path, dl_h5 **out) {
    *out = NULL;
    int64_t n_bytes = 0;
    DL_RETURN_IF_ERROR(check_plain_file(path, &n_bytes));
    dl_h5 *file = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *file, &file));
    file->id = -1;
    file->fd = -1;
    file->n_bytes = n_bytes;
    dl_status status = DL_OK;
    const int n = snprintf(file->path, sizeof file->path, "%s", path);
    DL_GOTO_ERROR_IF(status, n < 0 || (size_t)n >= sizeof file->path, fail, DL_ERR_USAGE,
                     "the path %.80s... is too long", path);
    dl_h5_lock();
    status = open_file(file);
    dl_h5_unlock();
    if (status == DL_OK) {
        *out = file;
        return DL_OK;
    }
fail:
    dl_h5_close(&file);
    return status;
}

void dl_h5_close(dl_h5 **file) {
    if (*file == NULL) {
        return;
    }
    dl_h5_lock();
    for (int i = 0; i < (*file)->n_open; i++) {
        dl_h5_close_id((*file)->open[i].id);
    }
    dl_h5_close_id((*file)->id);
    dl_h5_unlock();
    if ((*file)->fd >= 0) {
        (void)close((*file)->fd);
    }
    dl_free(file);
}

static dl_status find_locked(dl_h5 *file, const char *name, dl_h5_dataset *out, bool *found) {
    DL_RETURN_IF_ERROR(dl_h5_check_path(file, name, found));
    if (!*found) {
        return DL_OK;
    }
    char reason[DL_H5_REASON_BYTES];
    const hid_t id = H5Oopen(file->id, name, H5P_DEFAULT);
    DL_RETURN_ERROR_IF(id < 0, DL_ERR_DATA, "%s: cannot open %s: %s", file->path, name, dl_h5_reason(reason));
    bool supported = true;
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, H5Iget_type(id) != H5I_DATASET, done, DL_ERR_DATA, "%s: %s is not a dataset",
                     file->path, name);
    DL_GOTO_IF_ERROR(status, dl_h5_describe(file, id, name, out, &supported), done);
    DL_GOTO_ERROR_IF(
        status, !supported, done, DL_ERR_DATA,
        "%s: %s has an element type that is not supported; supported are uint8, uint16, int32, int64, "
        "float16, float32, float64",
        file->path, name);
done:
    dl_h5_close_id(id);
    return status;
}

dl_status dl_h5_find(dl_h5 *file, const char *name, dl_h5_dataset *out, bool *found) {
    *found = false;
    dl_h5_lock();
    const dl_status status = find_locked(file, name, out, found);
    dl_h5_unlock();
    return status;
}

/* Access properties with a chunk cache that holds the dataset, or at least a chunk of it. */
static hid_t cached_access(const dl_h5_dataset *dataset) {
    const hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    if (access < 0 || dataset->chunk_rows <= 0) {
        return access;
    }
    const size_t row = (size_t)dl_shape_stride(&dataset->shape, 1) * dl_dtype_bytes(dataset->dtype);
    const size_t chunk = row * (size_t)dataset->chunk_rows, all = row * (size_t)dataset->shape.dim[0];
    size_t cache = all + chunk < CACHE_BYTES ? all + chunk : CACHE_BYTES;
    cache = cache > chunk ? cache : chunk;
    /* A multiple of the chunks' number keeps them from driving each other out. */
    const size_t slots = 1 + 10 * (all / chunk + 1);
    (void)H5Pset_chunk_cache(access, slots < MAX_CACHE_SLOTS ? slots : MAX_CACHE_SLOTS, cache, 1.0);
    return access;
}

/* The dataset's handle, opened at its first use and kept. */
static hid_t handle_of(dl_h5 *file, const dl_h5_dataset *dataset) {
    for (int i = 0; i < file->n_open; i++) {
        if (strcmp(file->open[i].name, dataset->name) == 0) {
            return file->open[i].id;
        }
    }
    if (file->n_open == DL_H5_MAX_OPEN) {
        file->n_open--;
        dl_h5_close_id(file->open[file->n_open].id);
    }
    const hid_t access = cached_access(dataset);
    const hid_t id = H5Dopen2(file->id, dataset->name, access < 0 ? H5P_DEFAULT : access);
    if (id >= 0) {
        dl_h5_handle *handle = &file->open[file->n_open++];
        memcpy(handle->name, dataset->name, sizeof handle->name);
        handle->id = id;
    }
    dl_h5_close_id(access);
    return id;
}

static bool read_selection(hid_t id, const dl_h5_dataset *dataset, int64_t first, int64_t n, void *out,
                           char *reason) {
    const int rank = dataset->shape.n_dims;
    hsize_t start[DL_MAX_DIMS] = {0}, count[DL_MAX_DIMS] = {1};
    for (int i = 0; i < rank; i++) {
        count[i] = (hsize_t)dataset->shape.dim[i];
    }
    start[0] = (hsize_t)first;
    count[0] = rank > 0 ? (hsize_t)n : 1;
    const hid_t in_file = H5Dget_space(id), in_memory = H5Screate_simple(rank, count, NULL);
    const hid_t type = dl_h5_type_of(dataset->dtype);
    bool good = in_file >= 0 && in_memory >= 0 && type >= 0;
    if (good && rank > 0) {
        good = H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL) >= 0;
    }
    good = good && H5Dread(id, type, in_memory, in_file, H5P_DEFAULT, out) >= 0;
    if (!good) {
        (void)dl_h5_reason(reason);
    }
    dl_h5_close_id(type);
    dl_h5_close_id(in_memory);
    dl_h5_close_id(in_file);
    return good;
}

static dl_status read_rows_locked(dl_h5 *file, const dl_h5_dataset *dataset, int64_t first, int64_t n,
                                  void *out) {
    char reason[DL_H5_REASON_BYTES] = "cannot open it";
    const hid_t id = handle_of(file, dataset);
    DL_RETURN_ERROR_IF(id < 0 || !read_selection(id, dataset, first, n, out, reason), DL_ERR_DATA,
                       "%s: cannot read rows %lld to %lld of %s: %s", file->path, (long long)first,
                       (long long)(first + n), dataset->name, reason);
    return DL_OK;
}

/* Bytes that lie in the file as they are wanted. */
dl_status dl_h5_read_bytes(dl_h5 *file, const dl_h5_dataset *dataset, int64_t first, size_t n_bytes,
                           void *out) {
    const int64_t size = dl_shape_elements(&dataset->shape) * (int64_t)dl_dtype_bytes(dataset->dtype);
    DL_RETURN_ERROR_IF(dataset->offset < 0 || first < 0 || first > size || (int64_t)n_bytes > size - first,
                       DL_ERR_INTERNAL, "%s: bytes %lld to %lld of %s cannot be read", file->path,
                       (long long)first, (long long)first + (long long)n_bytes, dataset->name);
    int64_t position = dataset->offset + first;
    size_t left = n_bytes;
    char *next = out;
    while (left > 0) {
        const ssize_t got = pread(file->fd, next, left, position);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        DL_RETURN_ERROR_IF(got < 0, DL_ERR_IO, "cannot read %s: %s", file->path, strerror(errno));
        DL_RETURN_ERROR_IF(got == 0, DL_ERR_DATA, "%s became shorter while %s was read", file->path,
                           dataset->name);
        next += got;
        position += got;
        left -= (size_t)got;
    }
    return DL_OK;
}

dl_status dl_h5_read_rows(dl_h5 *file, const dl_h5_dataset *dataset, int64_t first, int64_t n, void *out) {
    const int64_t rows = dataset->shape.n_dims > 0 ? dataset->shape.dim[0] : 1;
    DL_RETURN_ERROR_IF(first < 0 || n < 0 || first > rows - n, DL_ERR_INTERNAL,
                       "%s: rows %lld to %lld of %s do not exist", file->path, (long long)first,
                       (long long)(first + n), dataset->name);
    if (n == 0) {
        return DL_OK;
    }
    if (dataset->offset >= 0) {
        const int64_t row = dl_shape_stride(&dataset->shape, 1) * (int64_t)dl_dtype_bytes(dataset->dtype);
        return dl_h5_read_bytes(file, dataset, first * row, (size_t)(n * row), out);
    }
    dl_h5_lock();
    const dl_status status = read_rows_locked(file, dataset, first, n, out);
    dl_h5_unlock();
    return status;
}
