/* Committing: the manifest, written under the name of the mark and renamed. What is written was parsed
 * before, by the code that will read it. */
#define _GNU_SOURCE
#include "base/thread.h"
#include "train/checkpoint/checkpoint_private.h"
#include "train/checkpoint/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the manifest's text --- */

static json_t *name_of(json_t *object) {
    return json_object_get(object, "name");
}

static int by_name(const void *left, const void *right) {
    const char *a = json_string_value(name_of(*(json_t *const *)left));
    const char *b = json_string_value(name_of(*(json_t *const *)right));
    return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

/* A new array of the same objects in order of their names, NULL: out of memory. */
static json_t *sorted(const json_t *list) {
    const size_t n = json_array_size(list);
    json_t **item = NULL, *out = json_array();
    bool good = out != NULL && dl_alloc(n, sizeof(json_t *), &item) == DL_OK;
    for (size_t i = 0; i < n && good; i++) {
        item[i] = json_array_get(list, i);
    }
    if (good) {
        qsort(item, n, sizeof(json_t *), by_name);
    }
    for (size_t i = 0; i < n && good; i++) {
        good = json_array_append(out, item[i]) == 0;
    }
    dl_free(&item);
    if (!good) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* Neighbours of one name become one tensor with the slices of both. Where they disagree on more than slices
 * both stay, and are refused as two tensors of one name. */
static json_t *joined(const json_t *tensors) {
    json_t *out = json_array(), *last = NULL;
    bool good = out != NULL;
    for (size_t i = 0; i < json_array_size(tensors) && good; i++) {
        json_t *each = json_array_get(tensors, i);
        if (last != NULL && json_equal(name_of(last), name_of(each)) == 1 &&
            json_equal(json_object_get(last, "dtype"), json_object_get(each, "dtype")) == 1 &&
            json_equal(json_object_get(last, "shape"), json_object_get(each, "shape")) == 1) {
            good = json_array_extend(json_object_get(last, "slices"), json_object_get(each, "slices")) == 0;
        } else {
            good = json_array_append(out, each) == 0;
            last = each;
        }
    }
    if (!good) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* Collects the parts' files and tensors. */
static dl_status collect(const char *const *part, int n, json_t *files, json_t *tensors) {
    for (int i = 0; i < n; i++) {
        json_t *each = json_loads(part[i], JSON_REJECT_DUPLICATES, NULL);
        const bool good = each != NULL && json_array_append(files, json_object_get(each, "file")) == 0 &&
                          json_array_extend(tensors, json_object_get(each, "tensors")) == 0;
        json_decref(each);
        dl_thread_rest();
        DL_RETURN_ERROR_IF(!good, DL_ERR_INTERNAL,
                           "the description of part %d is damaged, or memory is short", i);
    }
    return DL_OK;
}

static json_t *copy_or_empty(const json_t *object) {
    return object != NULL ? json_deep_copy(object) : json_object();
}

static dl_status make_text(const dl_checkpoint_about *about, const char *const *part, dl_text *out) {
    dl_checkpoint_json_begin();
    json_t *files = json_array(), *tensors = json_array(), *in_order = NULL, *root = NULL;
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, files == NULL || tensors == NULL, done, DL_ERR_MEMORY,
                     "cannot write a manifest: out of memory");
    DL_GOTO_IF_ERROR(status, collect(part, about->ranks, files, tensors), done);
    in_order = sorted(tensors);
    root = json_pack("{s:i, s:I, s:I, s:I, s:i, s:s, s:s, s:o, s:o, s:o, s:o}", "format",
                     DL_CHECKPOINT_FORMAT, "step", (json_int_t)about->step, "epoch", (json_int_t)about->epoch,
                     "samples", (json_int_t)about->samples, "ranks", about->ranks, "config_digest",
                     about->config_digest, "data_digest", about->data_digest, "versions",
                     copy_or_empty(about->versions), "state", copy_or_empty(about->state), "files",
                     sorted(files), "tensors", in_order != NULL ? joined(in_order) : NULL);
    DL_GOTO_ERROR_IF(status, root == NULL, done, DL_ERR_MEMORY,
                     "cannot write a manifest: out of memory, or a text that is not UTF-8");
    dl_thread_rest();
    DL_GOTO_IF_ERROR(status, dl_checkpoint_manifest_text(root, out), done);
    dl_thread_rest();
done:
    json_decref(root);
    json_decref(in_order);
    json_decref(files);
    json_decref(tensors);
    return dl_checkpoint_json_end(status, DL_CHECKPOINT_MANIFEST);
}

/* A manifest that could not be read again is a mistake of the program's, or of who called. */
static dl_status check_text(const char *path, const dl_text *text) {
    dl_checkpoint *again = NULL;
    const dl_status status = dl_checkpoint_manifest_parse(path, text->data, text->size, &again);
    dl_checkpoint_close(&again);
    if (status == DL_ERR_CORRUPT) {
        DL_RETURN_ERROR(DL_ERR_INTERNAL, "no checkpoint can be made of these parts: %s",
                        dl_error_last()->message);
    }
    return status;
}

/* --- on disk --- */

static dl_status write_manifest(const dl_checkpoint_folder *folder, const dl_text *text) {
    char path[PATH_MAX];
    struct stat info;
    DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, folder->path, DL_CHECKPOINT_UNFINISHED));
    const int fd = openat(folder->fd, DL_CHECKPOINT_UNFINISHED, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
    DL_RETURN_ERROR_IF(fd < 0, DL_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    dl_status status = DL_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "%s is not a file", path);
    } else {
        status = dl_checkpoint_write_at(fd, path, text->data, text->size, 0, (int64_t)text->size);
    }
    if (status != DL_OK) {
        (void)close(fd);
        return status;
    }
    return dl_checkpoint_finish_file(fd, path);
}

static dl_status publish(const dl_checkpoint_folder *folder) {
    DL_RETURN_ERROR_IF(dl_checkpoint_has(folder->fd, DL_CHECKPOINT_MANIFEST), DL_ERR_USAGE,
                       "%s is committed already", folder->path);
    /* The name of the step's folder first: once there is a manifest, nothing above it may get lost. */
    DL_RETURN_IF_ERROR(dl_sync_folder(folder->parent, folder->parent_path));
    DL_RETURN_ERROR_IF(renameat(folder->fd, DL_CHECKPOINT_UNFINISHED, folder->fd, DL_CHECKPOINT_MANIFEST) !=
                           0,
                       DL_ERR_IO, "cannot rename %s/%s to %s: %s", folder->path, DL_CHECKPOINT_UNFINISHED,
                       DL_CHECKPOINT_MANIFEST, strerror(errno));
    const dl_status status = dl_sync_folder(folder->fd, folder->path);
    if (status != DL_OK) { /* the caller takes it for failed: so it must be */
        (void)renameat(folder->fd, DL_CHECKPOINT_MANIFEST, folder->fd, DL_CHECKPOINT_UNFINISHED);
    }
    return status;
}

static dl_status check_about(const dl_checkpoint_about *about) {
    DL_RETURN_ERROR_IF(about->ranks < 1 || about->ranks > DL_CHECKPOINT_MAX_RANKS ||
                           about->config_digest == NULL || about->data_digest == NULL,
                       DL_ERR_INTERNAL, "a checkpoint of %d ranks, or without digests", about->ranks);
    return DL_OK;
}

dl_status dl_checkpoint_commit(const char *checkpoints, const dl_checkpoint_about *about,
                               const char *const *part) {
    dl_text text = {0};
    dl_checkpoint_folder folder = {.fd = -1, .parent = -1};
    dl_checkpoint_signals signals;
    dl_status status = DL_OK;
    DL_RETURN_IF_ERROR(check_about(about));
    dl_checkpoint_hold_signals(&signals);
    DL_GOTO_IF_ERROR(status, dl_checkpoint_enter_existing(checkpoints, about->step, &folder), done);
    DL_GOTO_IF_ERROR(status, make_text(about, part, &text), done);
    DL_GOTO_IF_ERROR(status, check_text(folder.path, &text), done);
    DL_GOTO_IF_ERROR(status, write_manifest(&folder, &text), done);
    DL_GOTO_IF_ERROR(status, publish(&folder), done);
done:
    dl_checkpoint_release_signals(&signals);
    dl_checkpoint_leave(&folder);
    dl_text_free(&text);
    return status;
}
