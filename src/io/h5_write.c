/* Writing: libhdf5 makes the metadata of a file whose space is all allocated, our own checked writes bring
 * the bytes. libhdf5 reports a full disk badly and a half-written file not at all; so it never writes data
 * here, and the file gets its name only when everything is on disk. */
#define _GNU_SOURCE
#include "io/h5_writer.h"

#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
    dl_h5_declared *new = &writer->dataset[writer->n_datasets];
    *new = (dl_h5_declared){.dataset = {.dtype = dtype, .shape = *shape, .offset = -1},
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
        (dl_h5_attribute){.object = copy[0], .name = copy[1], .text = copy[2], .number = number};
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

/* --- the bytes --- */

/* Most datasets are written from front to back, and are digested on the way. */
static dl_status digest_written(dl_h5_declared *target, int64_t offset, const void *bytes, size_t n_bytes) {
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
    dl_h5_declared *target = &writer->dataset[index];
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
static dl_status complete_digest(dl_h5_writer *writer, dl_h5_declared *each) {
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
        dl_h5_declared *each = &writer->dataset[i];
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
    DL_RETURN_ERROR_IF(writer->fd < 0 || writer->in_memory, DL_ERR_INTERNAL,
                       "%s was never laid out in a folder", writer->path);
    if (writer->keep_digests) {
        DL_RETURN_IF_ERROR(write_digests(writer));
    }
    for (int64_t i = 0; i < writer->n_datasets; i++) {
        const dl_h5_declared *each = &writer->dataset[i];
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

dl_status dl_h5_writer_commit(dl_h5_writer *writer) {
    DL_RETURN_IF_ERROR(dl_h5_writer_finish(writer));
    DL_RETURN_ERROR_IF(rename(writer->temporary, writer->path) != 0, DL_ERR_IO, "cannot rename %s to %s: %s",
                       writer->temporary, writer->path, strerror(errno));
    writer->committed = true;
    return dl_sync_entry(writer->path);
}

void dl_h5_writer_destroy(dl_h5_writer **writer) {
    if (*writer == NULL) {
        return;
    }
    if ((*writer)->fd >= 0) {
        (void)close((*writer)->fd);
    }
    if ((*writer)->made && !(*writer)->committed && !(*writer)->in_memory) {
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
