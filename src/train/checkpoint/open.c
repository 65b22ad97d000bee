/* Opening: the manifest as a whole, then presence and sizes of the files it names. */
#define _GNU_SOURCE
#include "train/checkpoint/checkpoint_private.h"
#include "train/checkpoint/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static dl_status read_bytes(int fd, const char *path, int64_t n_bytes, dl_text *out) {
    char chunk[16384];
    while ((int64_t)out->size < n_bytes) {
        const ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        DL_RETURN_ERROR_IF(n < 0, errno == EIO ? DL_ERR_CORRUPT : DL_ERR_IO, "cannot read %s: %s", path,
                           strerror(errno));
        DL_RETURN_ERROR_IF(n == 0, DL_ERR_CORRUPT, "%s became shorter while it was read", path);
        DL_RETURN_IF_ERROR(dl_text_append_bytes(out, chunk, (size_t)n));
    }
    return DL_OK;
}

static dl_status read_manifest(int folder, const char *folder_path, const char *path, dl_text *out) {
    struct stat info;
    const int fd = openat(folder, DL_CHECKPOINT_MANIFEST, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    DL_RETURN_ERROR_IF(fd < 0 && errno == ENOENT && dl_checkpoint_is_unfinished(folder), DL_ERR_USAGE,
                       "%s is no checkpoint: its save is going on or was broken off", folder_path);
    DL_RETURN_ERROR_IF(fd < 0 && errno == ENOENT, DL_ERR_USAGE, "%s is no checkpoint: there is no %s in it",
                       folder_path, DL_CHECKPOINT_MANIFEST);
    DL_RETURN_ERROR_IF(fd < 0, errno == ELOOP ? DL_ERR_CORRUPT : DL_ERR_IO, "cannot open %s: %s", path,
                       strerror(errno));
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, fstat(fd, &info) != 0, done, DL_ERR_IO, "cannot read %s: %s", path,
                     strerror(errno));
    DL_GOTO_ERROR_IF(status, !S_ISREG(info.st_mode) || info.st_size > DL_CHECKPOINT_MAX_MANIFEST_BYTES, done,
                     DL_ERR_CORRUPT, "%s is damaged: it is not a file of at most %d bytes", path,
                     DL_CHECKPOINT_MAX_MANIFEST_BYTES);
    DL_GOTO_IF_ERROR(status, dl_text_append_bytes(out, "", 0), done);
    DL_GOTO_IF_ERROR(status, read_bytes(fd, path, (int64_t)info.st_size, out), done);
done:
    (void)close(fd);
    return status;
}

/* A manifest of another step is none of this one. Folders of other names, copies, may hold any step. */
static dl_status check_step(const dl_checkpoint *c) {
    const char *slash = strrchr(c->path, '/');
    int64_t step = 0;
    DL_RETURN_ERROR_IF(
        dl_checkpoint_parse_step(slash != NULL ? slash + 1 : c->path, &step) && step != c->about.step,
        DL_ERR_CORRUPT, "%s is damaged: its manifest is of step %" PRId64, c->path, c->about.step);
    return DL_OK;
}

static dl_status check_sizes(const dl_checkpoint *c) {
    for (int i = 0; i < c->n_files; i++) {
        struct stat info;
        const dl_checkpoint_file *file = &c->file[i];
        const bool there = fstatat(c->folder, file->name, &info, AT_SYMLINK_NOFOLLOW) == 0;
        DL_RETURN_ERROR_IF(!there && errno != ENOENT, DL_ERR_IO, "cannot look at %s/%s: %s", c->path,
                           file->name, strerror(errno));
        DL_RETURN_ERROR_IF(!there, DL_ERR_CORRUPT, "%s/%s is missing (bytes 0-%" PRId64 ")", c->path,
                           file->name, file->n_bytes - 1);
        DL_RETURN_ERROR_IF(!S_ISREG(info.st_mode), DL_ERR_CORRUPT, "%s/%s is not a file", c->path,
                           file->name);
        DL_RETURN_ERROR_IF((int64_t)info.st_size < file->n_bytes, DL_ERR_CORRUPT,
                           "%s/%s is cut off: bytes %" PRId64 "-%" PRId64 " are missing", c->path, file->name,
                           (int64_t)info.st_size, file->n_bytes - 1);
        DL_RETURN_ERROR_IF((int64_t)info.st_size > file->n_bytes, DL_ERR_CORRUPT,
                           "%s/%s is damaged: bytes %" PRId64 "-%" PRId64 " do not belong to it", c->path,
                           file->name, file->n_bytes, (int64_t)info.st_size - 1);
    }
    return DL_OK;
}

static dl_status open_all(const char *folder_path, int folder, dl_checkpoint **out) {
    char path[PATH_MAX];
    dl_text text = {0};
    DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, folder_path, DL_CHECKPOINT_MANIFEST));
    dl_status status = read_manifest(folder, folder_path, path, &text);
    if (status == DL_OK) {
        status = dl_checkpoint_manifest_parse(path, text.data, text.size, out);
    }
    dl_text_free(&text);
    DL_RETURN_IF_ERROR(status);
    dl_checkpoint *c = *out;
    (void)snprintf(c->path, sizeof c->path, "%s", folder_path);
    c->folder = folder;
    DL_RETURN_IF_ERROR(check_step(c));
    return check_sizes(c);
}

dl_status dl_checkpoint_open(const char *path, dl_checkpoint **out) {
    char clean[PATH_MAX];
    size_t n = strlen(path);
    int folder = -1;
    *out = NULL;
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    DL_RETURN_ERROR_IF(n == 0 || n >= sizeof clean, DL_ERR_USAGE,
                       "'%.80s' is not a usable path of a checkpoint", path);
    (void)snprintf(clean, sizeof clean, "%.*s", (int)n, path);
    DL_RETURN_IF_ERROR(dl_checkpoint_open_folder(clean, &folder));
    const dl_status status = open_all(clean, folder, out);
    if (status != DL_OK) {
        if (*out == NULL || (*out)->folder < 0) {
            (void)close(folder);
        }
        dl_checkpoint_close(out);
    }
    return status;
}

void dl_checkpoint_close(dl_checkpoint **checkpoint) {
    dl_checkpoint *c = *checkpoint;
    if (c == NULL) {
        return;
    }
    for (int i = 0; i < c->n_files; i++) {
        dl_h5_close(&c->file[i].h5);
    }
    if (c->folder >= 0) {
        (void)close(c->folder);
    }
    json_decref(c->root);
    dl_pool_destroy(&c->pool);
    dl_free(checkpoint);
}

const dl_checkpoint_about *dl_checkpoint_about_of(const dl_checkpoint *checkpoint) {
    return &checkpoint->about;
}

int dl_checkpoint_n_tensors(const dl_checkpoint *checkpoint) {
    return checkpoint->n_tensors;
}

dl_checkpoint_tensor dl_checkpoint_tensor_at(const dl_checkpoint *checkpoint, int index) {
    return checkpoint->entry[index].tensor;
}

int dl_checkpoint_find(const dl_checkpoint *checkpoint, const char *name) {
    int low = 0, high = checkpoint->n_tensors;
    while (low < high) {
        const int middle = low + (high - low) / 2,
                  order = strcmp(name, checkpoint->entry[middle].tensor.name);
        if (order == 0) {
            return middle;
        }
        low = order > 0 ? middle + 1 : low;
        high = order < 0 ? middle : high;
    }
    return -1;
}

int dl_checkpoint_n_files(const dl_checkpoint *checkpoint) {
    return checkpoint->n_files;
}

int64_t dl_checkpoint_n_bytes(const dl_checkpoint *checkpoint) {
    int64_t n = 0;
    for (int i = 0; i < checkpoint->n_files; i++) {
        n += checkpoint->file[i].n_bytes;
    }
    return n;
}
