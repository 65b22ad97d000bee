/* Writing a part. libhdf5 lays out an empty file in memory; what goes to disk are blocks of 1 MiB from front
 * to back, written here. Digests are of the bytes in memory that were handed to the system, not of what a
 * file gives back: so they also tell of a byte that changed, or landed elsewhere, on its way to the disk.
 * (That the disk has them is what dl_checkpoint_prune looks at, before anything older is deleted.) */
#define _GNU_SOURCE
#include "train/checkpoint/checkpoint_private.h"
#include "train/checkpoint/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES_AHEAD = 8 * DL_CHECKPOINT_BLOCK_BYTES };

/* A slice and its place in the file. */
typedef struct placed {
    const dl_checkpoint_slice *slice;
    char path[DL_CHECKPOINT_NAME_BYTES]; /* of its dataset */
    int index;                           /* in the layout */
    int64_t offset, n_bytes;             /* in the file; n_bytes may be 0 */
} placed;

typedef struct part_writer {
    char name[DL_CHECKPOINT_PART_NAME_BYTES], path[PATH_MAX];
    dl_checkpoint_folder folder;
    dl_h5_writer *layout;
    placed *item; /* [n], by place in the file once it is laid out */
    int n, next;  /* the first item that does not end before the block at hand */
    int64_t n_bytes;
    int fd;
    char *buffer; /* a block that is not all of one slice */
    dl_digest *digest;
    json_t *blocks;
    const atomic_bool *stop;
} part_writer;

static dl_status check_slice(const dl_checkpoint_slice *slice) {
    DL_RETURN_ERROR_IF(!dl_checkpoint_is_tensor_name(slice->name), DL_ERR_INTERNAL,
                       "'%.60s' is not a usable name of a tensor in a checkpoint", slice->name);
    DL_RETURN_IF_ERROR(dl_shape_check(&slice->whole));
    bool inside = slice->shape.n_dims == slice->whole.n_dims;
    for (int i = 0; i < slice->whole.n_dims && inside; i++) {
        const int64_t all = slice->whole.dim[i], size = slice->shape.dim[i];
        inside = slice->offset[i] >= 0 && size >= 0 && size <= all && slice->offset[i] <= all - size;
    }
    char box[DL_SHAPE_TEXT_BYTES], whole[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(!inside, DL_ERR_INTERNAL, "a slice %s of %s does not lie in its tensor %s",
                       dl_shape_text(&slice->shape, box), slice->name, dl_shape_text(&slice->whole, whole));
    return DL_OK;
}

/* The dataset has the tensor's name; further slices of one tensor in a part, and names that HDF5 files cannot
 * have here, get others. The manifest says which. */
static void name_dataset(part_writer *w, int i) {
    placed *item = &w->item[i];
    int n_before = 0;
    for (int k = 0; k < i; k++) {
        n_before += strcmp(w->item[k].slice->name, item->slice->name) == 0;
    }
    const bool plain = n_before == 0 && strlen(item->slice->name) < sizeof((dl_h5_dataset *)0)->name;
    if (plain) {
        (void)snprintf(item->path, sizeof item->path, "%s", item->slice->name);
    } else {
        (void)snprintf(item->path, sizeof item->path, "/slices/%05d", i);
    }
}

static int by_offset(const void *left, const void *right) {
    const placed *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset ? 1 : a->index - b->index;
}

static dl_status lay_out(part_writer *w, const dl_checkpoint_slice *slices, int64_t step, int rank) {
    DL_RETURN_IF_ERROR(dl_alloc((size_t)w->n, sizeof *w->item, &w->item));
    DL_RETURN_IF_ERROR(dl_h5_writer_create_in_memory(w->path, &w->layout));
    for (int i = 0; i < w->n; i++) {
        placed *item = &w->item[i];
        DL_RETURN_IF_ERROR(check_slice(&slices[i]));
        item->slice = &slices[i];
        item->n_bytes = dl_shape_elements(&slices[i].shape) * (int64_t)dl_dtype_bytes(slices[i].dtype);
        name_dataset(w, i);
        DL_RETURN_IF_ERROR(
            dl_h5_writer_dataset(w->layout, item->path, slices[i].dtype, &slices[i].shape, &item->index));
    }
    DL_RETURN_IF_ERROR(
        dl_h5_writer_attribute_int(w->layout, "/", "dltrain_checkpoint_format", DL_CHECKPOINT_FORMAT));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(w->layout, "/", "step", step));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(w->layout, "/", "rank", rank));
    DL_RETURN_IF_ERROR(dl_h5_writer_layout(w->layout));
    DL_RETURN_IF_ERROR(dl_h5_writer_size(w->layout, &w->n_bytes));
    for (int i = 0; i < w->n; i++) {
        w->item[i].offset = dl_h5_writer_offset(w->layout, w->item[i].index);
    }
    qsort(w->item, (size_t)w->n, sizeof *w->item, by_offset);
    return DL_OK;
}

/* The bytes first .. first + n of the file: where they lie in a slice, or put together in the buffer. */
static dl_status take_block(part_writer *w, int64_t first, size_t n, const void **out) {
    const int64_t end = first + (int64_t)n;
    while (w->next < w->n && w->item[w->next].offset + w->item[w->next].n_bytes <= first) {
        w->next++;
    }
    const placed *item = w->next < w->n ? &w->item[w->next] : NULL;
    if (item != NULL && item->offset <= first && item->offset + item->n_bytes >= end) {
        *out = (const char *)item->slice->bytes + (first - item->offset);
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_h5_writer_image(w->layout, first, n, w->buffer));
    for (int i = w->next; i < w->n && w->item[i].offset < end; i++) {
        const int64_t from = w->item[i].offset > first ? w->item[i].offset : first;
        const int64_t last = w->item[i].offset + w->item[i].n_bytes, to = last < end ? last : end;
        if (from < to) {
            memcpy(w->buffer + (from - first),
                   (const char *)w->item[i].slice->bytes + (from - w->item[i].offset), (size_t)(to - from));
        }
    }
    *out = w->buffer;
    return DL_OK;
}

/* The disk begins while the rest is being written. Advice only: whether it arrived is what fsync says. */
static void begin_writing_back(const part_writer *w, int64_t written) {
    if (written % BYTES_AHEAD == 0) {
        (void)sync_file_range(w->fd, written - BYTES_AHEAD, BYTES_AHEAD, SYNC_FILE_RANGE_WRITE);
    }
}

static dl_status write_blocks(part_writer *w) {
    for (int64_t first = 0; first < w->n_bytes; first += DL_CHECKPOINT_BLOCK_BYTES) {
        const int64_t left = w->n_bytes - first;
        const size_t n = left < DL_CHECKPOINT_BLOCK_BYTES ? (size_t)left : DL_CHECKPOINT_BLOCK_BYTES;
        const void *bytes = NULL;
        char hex[DL_DIGEST_TEXT_BYTES];
        DL_RETURN_ERROR_IF(w->stop != NULL && atomic_load(w->stop), DL_INTERRUPTED,
                           "writing %s was stopped after %lld of %lld bytes", w->path, (long long)first,
                           (long long)w->n_bytes);
        DL_RETURN_IF_ERROR(take_block(w, first, n, &bytes));
        DL_RETURN_IF_ERROR(dl_checkpoint_write_at(w->fd, w->path, bytes, n, first, left));
        begin_writing_back(w, first + (int64_t)n);
        dl_digest_of(bytes, n, hex);
        dl_digest_add(w->digest, bytes, n);
        DL_RETURN_ERROR_IF(json_array_append_new(w->blocks, json_string(hex)) != 0, DL_ERR_MEMORY,
                           "cannot describe %s: out of memory", w->path);
    }
    return DL_OK;
}

static dl_status write_file(part_writer *w) {
    DL_RETURN_IF_ERROR(dl_alloc(1, DL_CHECKPOINT_BLOCK_BYTES, &w->buffer));
    DL_RETURN_IF_ERROR(dl_digest_create(&w->digest));
    w->blocks = json_array();
    DL_RETURN_ERROR_IF(w->blocks == NULL, DL_ERR_MEMORY, "cannot describe %s: out of memory", w->path);
    /* Of an earlier save of this step that this rank could not clean up: the folder's mark says so. */
    (void)unlinkat(w->folder.fd, w->name, 0);
    w->fd = openat(w->folder.fd, w->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    DL_RETURN_ERROR_IF(w->fd < 0, DL_ERR_IO, "cannot create %s: %s", w->path, strerror(errno));
    DL_RETURN_IF_ERROR(write_blocks(w));
    const int fd = w->fd;
    w->fd = -1;
    DL_RETURN_IF_ERROR(dl_checkpoint_finish_file(fd, w->path));
    return dl_checkpoint_sync_folder(w->folder.fd, w->folder.path);
}

static json_t *describe_slice(const part_writer *w, const placed *item) {
    const dl_checkpoint_slice *slice = item->slice;
    const int n = slice->whole.n_dims;
    return json_pack("{s:s, s:s, s:o, s:[{s:s, s:s, s:o, s:o}]}", "name", slice->name, "dtype",
                     dl_dtype_name(slice->dtype), "shape", dl_checkpoint_json_ints(slice->whole.dim, n),
                     "slices", "file", w->name, "path", item->path, "offset",
                     dl_checkpoint_json_ints(slice->offset, n), "shape",
                     dl_checkpoint_json_ints(slice->shape.dim, n));
}

/* {"file": ..., "tensors": [...]} of the manifest, a tensor for each slice. */
static dl_status describe(const part_writer *w, dl_text *out) {
    char hex[DL_DIGEST_TEXT_BYTES];
    dl_digest_text(w->digest, hex);
    json_t *tensors = json_array();
    bool good = tensors != NULL;
    for (int i = 0; i < w->n && good; i++) {
        good = json_array_append_new(tensors, describe_slice(w, &w->item[i])) == 0;
    }
    json_t *all =
        good ? json_pack("{s:{s:s, s:I, s:s, s:O}, s:O}", "file", "name", w->name, "bytes",
                         (json_int_t)w->n_bytes, "digest", hex, "blocks", w->blocks, "tensors", tensors)
             : NULL;
    char *text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(tensors);
    json_decref(all);
    DL_RETURN_ERROR_IF(text == NULL, DL_ERR_MEMORY,
                       "cannot describe %s: out of memory, or a name that is not UTF-8", w->path);
    const dl_status status = dl_text_append(out, "%s", text);
    free(text);
    return status;
}

static void release(part_writer *w) {
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    dl_checkpoint_leave(&w->folder);
    dl_h5_writer_destroy(&w->layout);
    dl_digest_destroy(&w->digest);
    json_decref(w->blocks);
    dl_free(&w->buffer);
    dl_free(&w->item);
}

dl_status dl_checkpoint_write_part(const char *checkpoints, int64_t step, int rank,
                                   const dl_checkpoint_slice *slices, int n_slices, const atomic_bool *stop,
                                   dl_text *part) {
    part_writer w = {.n = n_slices, .fd = -1, .stop = stop, .folder = {.fd = -1, .parent = -1}};
    *part = (dl_text){0};
    DL_RETURN_ERROR_IF(step < 0 || rank < 0 || rank >= DL_CHECKPOINT_MAX_RANKS || n_slices < 0,
                       DL_ERR_INTERNAL, "step %lld, rank %d: out of range", (long long)step, rank);
    dl_checkpoint_signals signals;
    dl_status status = DL_OK;
    dl_checkpoint_hold_signals(&signals);
    DL_GOTO_IF_ERROR(status, dl_checkpoint_enter(checkpoints, step, &w.folder), done);
    dl_checkpoint_part_name(rank, w.name);
    DL_GOTO_IF_ERROR(status, dl_path_join(w.path, sizeof w.path, w.folder.path, w.name), done);
    DL_GOTO_IF_ERROR(status, lay_out(&w, slices, step, rank), done);
    DL_GOTO_IF_ERROR(status, write_file(&w), done);
    dl_checkpoint_json_begin();
    DL_GOTO_IF_ERROR(status, dl_checkpoint_json_end(describe(&w, part), w.path), done);
done:
    if (status != DL_OK) {
        dl_text_free(part);
        if (w.folder.fd >= 0) {
            dl_checkpoint_remove_part(&w.folder, rank);
        }
    }
    release(&w);
    dl_checkpoint_release_signals(&signals);
    return status;
}
