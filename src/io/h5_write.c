/* Writing: libhdf5 makes the metadata of a file whose space is all allocated, our own checked writes bring
 * the bytes. libhdf5 reports a full disk badly and a half-written file not at all; so it never writes data
 * here, and the file gets its name only when everything is on disk. */
#define _GNU_SOURCE
#include "base/digest.h"
#include "base/mem.h"
#include "io/h5_private.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct declared {
    dl_h5_dataset dataset; /* of texts: uint8 [n, width] */
    bool texts;
    int64_t n_bytes, written;
    dl_digest *digest; /* of the first n_digested bytes; NULL: none is kept */
    int64_t n_digested;
} declared;

static const char digests_name[] = "/meta/digests";

typedef struct attribute {
    const char *object, *name, *text; /* text NULL: the integer */
    int64_t number;
} attribute;

struct dl_h5_writer {
    char path[PATH_MAX], temporary[PATH_MAX];
    dl_pool *pool;
    declared *dataset;
    attribute *attribute;
    int64_t n_datasets, dataset_capacity, n_attributes, attribute_capacity;
    int fd;
    bool made, finished, committed, keep_digests;
};

dl_status dl_h5_writer_create(const char *path, dl_h5_writer **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof(dl_h5_writer), out));
    dl_h5_writer *writer = *out;
    writer->fd = -1;
    dl_status status = DL_OK;
    const int n = snprintf(writer->path, sizeof writer->path, "%s", path);
    const int m = snprintf(writer->temporary, sizeof writer->temporary, "%s.tmp%ld", path, (long)getpid());
    DL_GOTO_ERROR_IF(status, n < 0 || m < 0 || (size_t)m >= sizeof writer->temporary, fail, DL_ERR_USAGE,
                     "the path %.80s... is too long", path);
    DL_GOTO_IF_ERROR(status, dl_pool_create(&writer->pool), fail);
    return DL_OK;
fail:
    dl_h5_writer_destroy(out);
    return status;
}

dl_status dl_h5_writer_dataset(dl_h5_writer *writer, const char *name, dl_dtype dtype, const dl_shape *shape,
                               int *index) {
    DL_RETURN_ERROR_IF(writer->made, DL_ERR_INTERNAL, "%s is already laid out", writer->path);
    DL_RETURN_ERROR_IF(name[0] != '/' || strlen(name) >= sizeof writer->dataset->dataset.name,
                       DL_ERR_INTERNAL, "'%.60s' is not a usable dataset name", name);
    DL_RETURN_IF_ERROR(dl_shape_check(shape));
    DL_RETURN_IF_ERROR(dl_grow(&writer->dataset, &writer->dataset_capacity, writer->n_datasets + 1,
                               sizeof *writer->dataset));
    declared *new = &writer->dataset[writer->n_datasets];
    *new = (declared){.dataset = {.dtype = dtype, .shape = *shape, .offset = -1},
                      .n_bytes = dl_shape_elements(shape) * (int64_t)dl_dtype_bytes(dtype)};
    memcpy(new->dataset.name, name, strlen(name) + 1);
    *index = (int)writer->n_datasets++;
    return DL_OK;
}

dl_status dl_h5_writer_texts(dl_h5_writer *writer, const char *name, int64_t n, int64_t width, int *index) {
    const dl_shape shape = DL_SHAPE(n, width);
    DL_RETURN_IF_ERROR(dl_h5_writer_dataset(writer, name, DL_U8, &shape, index));
    writer->dataset[*index].texts = true;
    return DL_OK;
}

void dl_h5_writer_keep_digests(dl_h5_writer *writer) {
    writer->keep_digests = true;
}

static dl_status add_attribute(dl_h5_writer *writer, const char *object, const char *name, const char *text,
                               int64_t number) {
    DL_RETURN_ERROR_IF(writer->made, DL_ERR_INTERNAL, "%s is already laid out", writer->path);
    DL_RETURN_IF_ERROR(dl_grow(&writer->attribute, &writer->attribute_capacity, writer->n_attributes + 1,
                               sizeof *writer->attribute));
    char *copy[3] = {NULL};
    const char *const original[3] = {object, name, text};
    for (int i = 0; i < 3; i++) {
        if (original[i] != NULL) {
            DL_RETURN_IF_ERROR(dl_pool_strdup(writer->pool, original[i], &copy[i]));
        }
    }
    writer->attribute[writer->n_attributes++] =
        (attribute){.object = copy[0], .name = copy[1], .text = copy[2], .number = number};
    return DL_OK;
}

dl_status dl_h5_writer_attribute_int(dl_h5_writer *writer, const char *object, const char *name,
                                     int64_t value) {
    return add_attribute(writer, object, name, NULL, value);
}

dl_status dl_h5_writer_attribute_text(dl_h5_writer *writer, const char *object, const char *name,
                                      const char *value) {
    return add_attribute(writer, object, name, value, 0);
}

/* --- the layout --- */

static bool make_groups(hid_t file, const char *name) {
    char partial[sizeof((dl_h5_dataset *)0)->name];
    memcpy(partial, name, strlen(name) + 1);
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const htri_t exists = H5Lexists(file, partial, H5P_DEFAULT);
        const hid_t group =
            exists == 0 ? H5Gcreate2(file, partial, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) : -1;
        dl_h5_close_id(group);
        if (exists < 0 || (exists == 0 && group < 0)) {
            return false;
        }
        *slash = '/';
    }
    return true;
}

/* Texts of exactly `width` bytes; shorter ones are padded with zeros. */
static hid_t text_type(int64_t width) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && (H5Tset_size(type, (size_t)width) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
                      H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        dl_h5_close_id(type);
        return -1;
    }
    return type;
}

static bool make_dataset(hid_t file, const declared *each) {
    const dl_h5_dataset *dataset = &each->dataset;
    const int rank = each->texts ? 1 : dataset->shape.n_dims;
    hsize_t dim[DL_MAX_DIMS] = {0};
    for (int i = 0; i < dataset->shape.n_dims; i++) {
        dim[i] = (hsize_t)dataset->shape.dim[i];
    }
    const hid_t type = each->texts ? text_type(dataset->shape.dim[1]) : dl_h5_type_of(dataset->dtype);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t space = rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dim, NULL);
    /* No times: the same content is the same file. */
    const bool ready = type >= 0 && creation >= 0 && space >= 0 &&
                       H5Pset_layout(creation, H5D_CONTIGUOUS) >= 0 &&
                       H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) >= 0 &&
                       H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0 &&
                       H5Pset_obj_track_times(creation, false) >= 0 && make_groups(file, dataset->name);
    const hid_t id =
        ready ? H5Dcreate2(file, dataset->name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT) : -1;
    const bool good = id >= 0 && H5Dclose(id) >= 0;
    dl_h5_close_id(space);
    dl_h5_close_id(creation);
    dl_h5_close_id(type);
    return good;
}

static bool make_attribute(hid_t file, const attribute *value) {
    const bool is_text = value->text != NULL;
    const hid_t type = H5Tcopy(is_text ? H5T_C_S1 : H5T_STD_I64LE), space = H5Screate(H5S_SCALAR);
    bool good = type >= 0 && space >= 0;
    if (good && is_text) {
        good = H5Tset_size(type, strlen(value->text) + 1) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0;
    }
    const hid_t id = good ? H5Acreate_by_name(file, value->object, value->name, type, space, H5P_DEFAULT,
                                              H5P_DEFAULT, H5P_DEFAULT)
                          : -1;
    good = id >= 0;
    if (good) {
        good = is_text ? H5Awrite(id, type, value->text) >= 0
                       : H5Awrite(id, H5T_NATIVE_INT64, &value->number) >= 0;
    }
    dl_h5_close_id(id);
    dl_h5_close_id(space);
    dl_h5_close_id(type);
    return good;
}

/* Makes the temporary file with everything but the data. */
static dl_status make_file(dl_h5_writer *writer) {
    char reason[DL_H5_REASON_BYTES] = "out of memory";
    (void)unlink(writer->temporary);
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    bool good = access >= 0 && H5Pset_alignment(access, DL_PAGE_BYTES, DL_PAGE_BYTES) >= 0;
    const hid_t file = good ? H5Fcreate(writer->temporary, H5F_ACC_EXCL, H5P_DEFAULT, access) : -1;
    /* A failed creation may leave a file, too. */
    writer->made = true;
    good = file >= 0;
    for (int64_t i = 0; good && i < writer->n_datasets; i++) {
        good = make_dataset(file, &writer->dataset[i]);
    }
    for (int64_t i = 0; good && i < writer->n_attributes; i++) {
        good = make_attribute(file, &writer->attribute[i]);
    }
    if (!good) {
        (void)dl_h5_reason(reason);
    }
    if (file >= 0 && H5Fclose(file) < 0) {
        (void)(good && dl_h5_reason(reason));
        good = false;
    }
    dl_h5_close_id(access);
    DL_RETURN_ERROR_IF(!good, DL_ERR_IO, "cannot create %s: %s (%s)", writer->temporary, strerror(errno),
                       reason);
    return DL_OK;
}

/* Reads the metadata back, as any reader would, and takes the offsets. */
static dl_status take_offsets(dl_h5_writer *writer) {
    dl_h5 *file = NULL;
    DL_RETURN_IF_ERROR(dl_h5_open(writer->temporary, &file));
    dl_status status = DL_OK;
    for (int64_t i = 0; i < writer->n_datasets; i++) {
        declared *want = &writer->dataset[i];
        dl_h5_dataset found;
        bool exists = false;
        DL_GOTO_IF_ERROR(status,
                         want->texts ? dl_h5_find_texts(file, want->dataset.name, &found, &exists)
                                     : dl_h5_find(file, want->dataset.name, &found, &exists),
                         done);
        const bool same = exists && found.dtype == want->dataset.dtype &&
                          dl_shape_equal(&found.shape, &want->dataset.shape) &&
                          (found.offset >= 0 || want->n_bytes == 0);
        DL_GOTO_ERROR_IF(status, !same, done, DL_ERR_IO, "%s: %s did not reach the disk", writer->temporary,
                         want->dataset.name);
        want->dataset.offset = found.offset;
    }
done:
    dl_h5_close(&file);
    return status;
}

/* Declares where the digests go and begins them: one for every dataset declared so far. */
static dl_status declare_digests(dl_h5_writer *writer) {
    size_t longest = 0;
    const int64_t n = writer->n_datasets;
    int index = 0;
    for (int64_t i = 0; i < n; i++) {
        const size_t length = strlen(writer->dataset[i].dataset.name);
        longest = length > longest ? length : longest;
        DL_RETURN_IF_ERROR(dl_digest_create(&writer->dataset[i].digest));
    }
    return dl_h5_writer_texts(writer, digests_name, n, (int64_t)longest + DL_DIGEST_TEXT_BYTES, &index);
}

dl_status dl_h5_writer_layout(dl_h5_writer *writer) {
    DL_RETURN_ERROR_IF(writer->made, DL_ERR_INTERNAL, "%s is already laid out", writer->path);
    if (writer->keep_digests) {
        DL_RETURN_IF_ERROR(declare_digests(writer));
    }
    dl_h5_lock();
    errno = 0;
    const dl_status status = make_file(writer);
    dl_h5_unlock();
    DL_RETURN_IF_ERROR(status);
    DL_RETURN_IF_ERROR(take_offsets(writer));
    writer->fd = open(writer->temporary, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    DL_RETURN_ERROR_IF(writer->fd < 0, DL_ERR_IO, "cannot open %s: %s", writer->temporary, strerror(errno));
    return DL_OK;
}

/* --- the bytes --- */

/* Most datasets are written from front to back, and are digested on the way. */
static dl_status digest_written(declared *target, int64_t offset, const void *bytes, size_t n_bytes) {
    if (target->digest == NULL) {
        return DL_OK;
    }
    if (offset < target->n_digested) {
        dl_digest_destroy(&target->digest);
        target->n_digested = 0;
        return dl_digest_create(&target->digest);
    }
    if (offset == target->n_digested) {
        dl_digest_add(target->digest, bytes, n_bytes);
        target->n_digested += (int64_t)n_bytes;
    }
    return DL_OK;
}

dl_status dl_h5_writer_write(dl_h5_writer *writer, int index, int64_t offset, const void *bytes,
                             size_t n_bytes) {
    DL_RETURN_ERROR_IF(writer->fd < 0 || index < 0 || index >= writer->n_datasets, DL_ERR_INTERNAL,
                       "%s is not open for dataset %d", writer->path, index);
    declared *target = &writer->dataset[index];
    DL_RETURN_ERROR_IF(offset < 0 || n_bytes > (size_t)target->n_bytes ||
                           offset > target->n_bytes - (int64_t)n_bytes,
                       DL_ERR_INTERNAL, "%s: %zu bytes at %lld do not fit %s", writer->path, n_bytes,
                       (long long)offset, target->dataset.name);
    const char *next = bytes;
    int64_t position = target->dataset.offset + offset;
    size_t left = n_bytes;
    while (left > 0) {
        const ssize_t n = pwrite(writer->fd, next, left, position);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        DL_RETURN_ERROR_IF(n <= 0, DL_ERR_IO, "cannot write %s: %s", writer->path,
                           strerror(n < 0 ? errno : EIO));
        next += n;
        position += n;
        left -= (size_t)n;
    }
    target->written += (int64_t)n_bytes;
    return digest_written(target, offset, bytes, n_bytes);
}

/* Digests what was not written in order, from the file. */
static dl_status complete_digest(dl_h5_writer *writer, declared *each) {
    char block[1 << 16];
    while (each->n_digested < each->n_bytes) {
        const int64_t left = each->n_bytes - each->n_digested;
        const size_t wanted = left < (int64_t)sizeof block ? (size_t)left : sizeof block;
        const ssize_t n = pread(writer->fd, block, wanted, each->dataset.offset + each->n_digested);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        DL_RETURN_ERROR_IF(n <= 0, DL_ERR_IO, "cannot read %s back: %s", writer->temporary,
                           strerror(n < 0 ? errno : EIO));
        dl_digest_add(each->digest, block, (size_t)n);
        each->n_digested += n;
    }
    return DL_OK;
}

static dl_status write_digests(dl_h5_writer *writer) {
    const int64_t n = writer->n_datasets - 1, width = writer->dataset[n].dataset.shape.dim[1];
    for (int64_t i = 0; i < n; i++) {
        declared *each = &writer->dataset[i];
        char hex[DL_DIGEST_TEXT_BYTES], row[sizeof each->dataset.name + DL_DIGEST_TEXT_BYTES + 1] = "";
        DL_RETURN_IF_ERROR(complete_digest(writer, each));
        dl_digest_text(each->digest, hex);
        (void)snprintf(row, sizeof row, "%s %s", each->dataset.name, hex);
        DL_RETURN_IF_ERROR(dl_h5_writer_write(writer, (int)n, i * width, row, (size_t)width));
    }
    return DL_OK;
}

dl_status dl_h5_writer_finish(dl_h5_writer *writer) {
    if (writer->finished) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(writer->fd < 0, DL_ERR_INTERNAL, "%s was never laid out", writer->path);
    if (writer->keep_digests) {
        DL_RETURN_IF_ERROR(write_digests(writer));
    }
    for (int64_t i = 0; i < writer->n_datasets; i++) {
        const declared *each = &writer->dataset[i];
        DL_RETURN_ERROR_IF(each->written < each->n_bytes, DL_ERR_INTERNAL,
                           "%s: %s got %lld of its %lld bytes", writer->path, each->dataset.name,
                           (long long)each->written, (long long)each->n_bytes);
    }
    DL_RETURN_ERROR_IF(fsync(writer->fd) != 0, DL_ERR_IO, "cannot write %s to disk: %s", writer->path,
                       strerror(errno));
    const int fd = writer->fd;
    writer->fd = -1;
    DL_RETURN_ERROR_IF(close(fd) != 0, DL_ERR_IO, "cannot close %s: %s", writer->path, strerror(errno));
    writer->finished = true;
    return DL_OK;
}

static dl_status sync_folder_of(const char *path) {
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DL_RETURN_ERROR_IF(fd < 0, DL_ERR_IO, "cannot open folder %s: %s", folder, strerror(errno));
    /* Some network file systems cannot sync a folder and say EINVAL. */
    const bool failed = fsync(fd) != 0 && errno != EINVAL;
    const int why = errno;
    (void)close(fd);
    DL_RETURN_ERROR_IF(failed, DL_ERR_IO, "cannot write folder %s to disk: %s", folder, strerror(why));
    return DL_OK;
}

dl_status dl_h5_writer_commit(dl_h5_writer *writer) {
    DL_RETURN_IF_ERROR(dl_h5_writer_finish(writer));
    DL_RETURN_ERROR_IF(rename(writer->temporary, writer->path) != 0, DL_ERR_IO, "cannot rename %s to %s: %s",
                       writer->temporary, writer->path, strerror(errno));
    writer->committed = true;
    return sync_folder_of(writer->path);
}

void dl_h5_writer_destroy(dl_h5_writer **writer) {
    if (*writer == NULL) {
        return;
    }
    if ((*writer)->fd >= 0) {
        (void)close((*writer)->fd);
    }
    if ((*writer)->made && !(*writer)->committed) {
        (void)unlink((*writer)->temporary);
    }
    for (int64_t i = 0; i < (*writer)->n_datasets; i++) {
        dl_digest_destroy(&(*writer)->dataset[i].digest);
    }
    dl_pool_destroy(&(*writer)->pool);
    dl_free(&(*writer)->dataset);
    dl_free(&(*writer)->attribute);
    dl_free(writer);
}
