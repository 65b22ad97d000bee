/* Writing a part. What goes to disk are blocks of 1 MiB from front to back, of a layout that libhdf5 made in
 * memory, written here. Digests are of the bytes in memory that were handed to the system, not of what a
 * file gives back: so they also tell of a byte that changed, or landed elsewhere, on its way to the disk.
 * (That the disk has them is what dl_checkpoint_prune looks at, before anything older is deleted.) */
#define _GNU_SOURCE
#include "base/thread.h"
#include "train/checkpoint/part_layout.h"
#include "train/checkpoint/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES_AHEAD = 8 * DL_CHECKPOINT_BLOCK_BYTES };

typedef struct part_writer {
    const dl_checkpoint_layout *layout;
    char path[PATH_MAX];
    dl_checkpoint_folder folder;
    int next; /* the first item that does not end before the block at hand */
    int fd;
    dl_digest *digest;
    json_t *blocks;
    const atomic_bool *stop;
} part_writer;

/* The bytes first .. first + n of the file: where they lie in a slice, or put together in the buffer. */
static dl_status take_block(part_writer *w, int64_t first, size_t n, const void **out) {
    const dl_checkpoint_layout *l = w->layout;
    const int64_t end = first + (int64_t)n;
    while (w->next < l->n && l->item[w->next].offset + l->item[w->next].n_bytes <= first) {
        w->next++;
    }
    const dl_checkpoint_placed *item = w->next < l->n ? &l->item[w->next] : NULL;
    if (item != NULL && item->offset <= first && item->offset + item->n_bytes >= end) {
        *out = (const char *)item->slice->bytes + (first - item->offset);
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_h5_writer_image(l->file, first, n, l->buffer));
    for (int i = w->next; i < l->n && l->item[i].offset < end; i++) {
        const int64_t from = l->item[i].offset > first ? l->item[i].offset : first;
        const int64_t last = l->item[i].offset + l->item[i].n_bytes, to = last < end ? last : end;
        if (from < to) {
            memcpy(l->buffer + (from - first),
                   (const char *)l->item[i].slice->bytes + (from - l->item[i].offset), (size_t)(to - from));
        }
    }
    *out = l->buffer;
    return DL_OK;
}

/* The disk begins while the rest is being written. Advice only: whether it arrived is what fsync says. */
static void begin_writing_back(const part_writer *w, int64_t written) {
    if (written % BYTES_AHEAD == 0) {
        (void)sync_file_range(w->fd, written - BYTES_AHEAD, BYTES_AHEAD, SYNC_FILE_RANGE_WRITE);
    }
}

static dl_status write_block(const part_writer *w, const char *bytes, size_t n, int64_t first) {
    for (size_t done = 0; done < n; done += DL_CHECKPOINT_PIECE_BYTES) {
        const size_t piece = n - done < DL_CHECKPOINT_PIECE_BYTES ? n - done : DL_CHECKPOINT_PIECE_BYTES;
        const int64_t at = first + (int64_t)done, left = w->layout->n_bytes - at;
        DL_RETURN_ERROR_IF(w->stop != NULL && atomic_load(w->stop), DL_INTERRUPTED,
                           "writing %s was stopped after %lld of %lld bytes", w->path, (long long)at,
                           (long long)w->layout->n_bytes);
        DL_RETURN_IF_ERROR(dl_checkpoint_write_at(w->fd, w->path, bytes + done, piece, at, left));
        dl_thread_rest();
    }
    return DL_OK;
}

static dl_status write_blocks(part_writer *w) {
    for (int64_t first = 0; first < w->layout->n_bytes; first += DL_CHECKPOINT_BLOCK_BYTES) {
        const int64_t left = w->layout->n_bytes - first;
        const size_t n = left < DL_CHECKPOINT_BLOCK_BYTES ? (size_t)left : DL_CHECKPOINT_BLOCK_BYTES;
        const void *bytes = NULL;
        char hex[DL_DIGEST_TEXT_BYTES];
        DL_RETURN_IF_ERROR(take_block(w, first, n, &bytes));
        DL_RETURN_IF_ERROR(write_block(w, bytes, n, first));
        begin_writing_back(w, first + (int64_t)n);
        dl_checkpoint_digest_block(w->digest, bytes, n, hex);
        DL_RETURN_ERROR_IF(json_array_append_new(w->blocks, json_string(hex)) != 0, DL_ERR_MEMORY,
                           "cannot describe %s: out of memory", w->path);
    }
    return DL_OK;
}

static dl_status write_file(part_writer *w) {
    DL_RETURN_IF_ERROR(dl_digest_create(&w->digest));
    w->blocks = json_array();
    DL_RETURN_ERROR_IF(w->blocks == NULL, DL_ERR_MEMORY, "cannot describe %s: out of memory", w->path);
    /* Of an earlier save of this step that this rank could not clean up: the folder's mark says so. */
    (void)unlinkat(w->folder.fd, w->layout->name, 0);
    w->fd = openat(w->folder.fd, w->layout->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    DL_RETURN_ERROR_IF(w->fd < 0, DL_ERR_IO, "cannot create %s: %s", w->path, strerror(errno));
    DL_RETURN_IF_ERROR(write_blocks(w));
    const int fd = w->fd;
    w->fd = -1;
    DL_RETURN_IF_ERROR(dl_checkpoint_finish_file(fd, w->path));
    return dl_sync_folder(w->folder.fd, w->folder.path);
}

/* {"file": ..., "tensors": [...]} of the manifest. */
static dl_status describe(const part_writer *w, dl_text *out) {
    char hex[DL_DIGEST_TEXT_BYTES];
    dl_digest_text(w->digest, hex);
    json_t *all = json_pack("{s:{s:s, s:I, s:s, s:O}, s:O}", "file", "name", w->layout->name, "bytes",
                            (json_int_t)w->layout->n_bytes, "digest", hex, "blocks", w->blocks, "tensors",
                            w->layout->tensors);
    char *text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    DL_RETURN_ERROR_IF(text == NULL, DL_ERR_MEMORY, "cannot describe %s: out of memory", w->path);
    const dl_status status = dl_text_append(out, "%s", text);
    free(text);
    return status;
}

static void release(part_writer *w) {
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    dl_checkpoint_leave(&w->folder);
    dl_digest_destroy(&w->digest);
    json_decref(w->blocks);
}

dl_status dl_checkpoint_write_part(const char *checkpoints, int64_t step, dl_checkpoint_layout *layout,
                                   const atomic_bool *stop, dl_text *part) {
    part_writer w = {.layout = layout, .fd = -1, .stop = stop, .folder = {.fd = -1, .parent = -1}};
    *part = (dl_text){0};
    DL_RETURN_ERROR_IF(step < 0, DL_ERR_INTERNAL, "step %lld: out of range", (long long)step);
    dl_checkpoint_signals signals;
    dl_status status = DL_OK;
    dl_checkpoint_hold_signals(&signals);
    DL_GOTO_IF_ERROR(status, dl_checkpoint_enter(checkpoints, step, &w.folder), done);
    dl_thread_rest();
    DL_GOTO_IF_ERROR(status, dl_path_join(w.path, sizeof w.path, w.folder.path, layout->name), done);
    DL_GOTO_IF_ERROR(status, dl_checkpoint_lay_out(layout, step, w.path), done);
    dl_thread_rest();
    DL_GOTO_IF_ERROR(status, write_file(&w), done);
    dl_checkpoint_json_begin();
    DL_GOTO_IF_ERROR(status, dl_checkpoint_json_end(describe(&w, part), w.path), done);
done:
    if (status != DL_OK) {
        dl_text_free(part);
        if (w.folder.fd >= 0) {
            dl_checkpoint_remove_part(&w.folder, layout->rank);
        }
    }
    release(&w);
    dl_checkpoint_release_signals(&signals);
    return status;
}
