#define _GNU_SOURCE
#include "train/checkpoint/unfinished.h"

#include "base/text.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* *made: it was missing. */
static dl_status make_folder(const char *path, bool *made) {
    *made = mkdir(path, 0750) == 0;
    DL_RETURN_ERROR_IF(!*made && errno != EEXIST, DL_ERR_IO, "cannot create folder %s: %s", path,
                       strerror(errno));
    return DL_OK;
}

static dl_status name_folders(const char *checkpoints, int64_t step, dl_checkpoint_folder *out) {
    *out = (dl_checkpoint_folder){.parent = -1, .fd = -1};
    DL_RETURN_ERROR_IF(strlen(checkpoints) >= sizeof out->parent_path, DL_ERR_USAGE,
                       "the path %.80s... is too long", checkpoints);
    (void)snprintf(out->parent_path, sizeof out->parent_path, "%s", checkpoints);
    return dl_checkpoint_path(checkpoints, step, out->path, sizeof out->path);
}

static dl_status open_folders(dl_checkpoint_folder *out) {
    DL_RETURN_IF_ERROR(dl_checkpoint_open_folder(out->parent_path, &out->parent));
    const char *name = strrchr(out->path, '/') + 1;
    out->fd = openat(out->parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DL_RETURN_ERROR_IF(out->fd < 0 && errno == ENOENT, DL_ERR_USAGE, "there is no folder %s", out->path);
    DL_RETURN_ERROR_IF(out->fd < 0, DL_ERR_IO, "cannot open folder %s: %s", out->path, strerror(errno));
    return DL_OK;
}

static bool note_any(const char *name, void *context) {
    (void)name;
    *(bool *)context = true;
    return false;
}

/* Other ranks may be at it, too: whoever creates the mark brings it to disk, and so does who finds it, for
 * its creator may not have done it yet. */
static dl_status mark(const dl_checkpoint_folder *folder) {
    if (!dl_checkpoint_has(folder->fd, DL_CHECKPOINT_UNFINISHED)) {
        bool any = false;
        DL_RETURN_IF_ERROR(dl_checkpoint_each_entry(folder->fd, folder->path, note_any, &any));
        DL_RETURN_ERROR_IF(
            any && !dl_checkpoint_has(folder->fd, DL_CHECKPOINT_UNFINISHED), DL_ERR_USAGE,
            "%s holds files that are no unfinished checkpoint, which stay as they are; move the folder "
            "away",
            folder->path);
        const int fd = openat(folder->fd, DL_CHECKPOINT_UNFINISHED,
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
        DL_RETURN_ERROR_IF(fd < 0 && errno != EEXIST, DL_ERR_IO, "cannot create %s/%s: %s", folder->path,
                           DL_CHECKPOINT_UNFINISHED, strerror(errno));
        DL_RETURN_ERROR_IF(fd >= 0 && close(fd) != 0, DL_ERR_IO, "cannot close %s/%s: %s", folder->path,
                           DL_CHECKPOINT_UNFINISHED, strerror(errno));
    }
    return dl_sync_folder(folder->fd, folder->path);
}

dl_status dl_checkpoint_enter(const char *checkpoints, int64_t step, dl_checkpoint_folder *out) {
    bool made = false;
    DL_RETURN_IF_ERROR(name_folders(checkpoints, step, out));
    DL_RETURN_IF_ERROR(make_folder(out->parent_path, &made));
    if (made) {
        DL_RETURN_IF_ERROR(dl_sync_entry(out->parent_path));
    }
    DL_RETURN_IF_ERROR(make_folder(out->path, &made));
    dl_thread_rest();
    DL_RETURN_IF_ERROR(open_folders(out));
    DL_RETURN_ERROR_IF(dl_checkpoint_has(out->fd, DL_CHECKPOINT_MANIFEST), DL_ERR_USAGE,
                       "%s is committed already; set it aside before this step is saved again", out->path);
    return mark(out);
}

dl_status dl_checkpoint_enter_existing(const char *checkpoints, int64_t step, dl_checkpoint_folder *out) {
    DL_RETURN_IF_ERROR(name_folders(checkpoints, step, out));
    return open_folders(out);
}

void dl_checkpoint_leave(dl_checkpoint_folder *folder) {
    if (folder->fd >= 0) {
        (void)close(folder->fd);
    }
    if (folder->parent >= 0) {
        (void)close(folder->parent);
    }
    folder->fd = folder->parent = -1;
}

bool dl_checkpoint_is_unfinished(int folder) {
    return dl_checkpoint_has(folder, DL_CHECKPOINT_UNFINISHED) &&
           !dl_checkpoint_has(folder, DL_CHECKPOINT_MANIFEST);
}

typedef struct removal {
    int folder;
    bool remove_parts, part_left;
} removal;

static bool remove_part(const char *name, void *context) {
    removal *r = context;
    if (dl_checkpoint_is_part(name) && !(r->remove_parts && unlinkat(r->folder, name, 0) == 0)) {
        r->part_left = true;
    }
    return true;
}

void dl_checkpoint_remove_part(const dl_checkpoint_folder *folder, int rank) {
    char name[DL_CHECKPOINT_PART_NAME_BYTES];
    dl_checkpoint_part_name(rank, name);
    if (dl_checkpoint_is_unfinished(folder->fd)) {
        (void)unlinkat(folder->fd, name, 0);
    }
}

bool dl_checkpoint_remove(const dl_checkpoint_folder *folder, int rank) {
    if (!dl_checkpoint_is_unfinished(folder->fd)) {
        return false;
    }
    if (rank >= 0) {
        dl_checkpoint_remove_part(folder, rank);
    }
    removal r = {.folder = folder->fd, .remove_parts = rank < 0};
    if (dl_checkpoint_each_entry(folder->fd, folder->path, remove_part, &r) != DL_OK || r.part_left) {
        return false;
    }
    (void)unlinkat(folder->fd, DL_CHECKPOINT_UNFINISHED, 0);
    return rmdir(folder->path) == 0;
}

void dl_checkpoint_abandon(const char *checkpoints, int64_t step, int rank) {
    dl_error error;
    dl_checkpoint_folder folder;
    dl_error_take(&error); /* the failure that led here is what is to be told */
    if (dl_checkpoint_enter_existing(checkpoints, step, &folder) == DL_OK) {
        (void)dl_checkpoint_remove(&folder, rank);
    }
    dl_checkpoint_leave(&folder);
    (void)dl_error_restore(&error);
}
