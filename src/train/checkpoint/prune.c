/* Deleting old checkpoints: only behind a newer one that the disk is known to have. */
#define _GNU_SOURCE
#include "base/thread.h"
#include "train/checkpoint/checkpoint_private.h"
#include "train/checkpoint/unfinished.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Takes the commit back and deletes what the manifest names. A crash leaves an unfinished folder, which
 * dl_checkpoint_clean removes. */
static dl_status delete_checkpoint(const char *checkpoints, const dl_checkpoint *c) {
    dl_checkpoint_folder folder;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_checkpoint_enter_existing(checkpoints, c->about.step, &folder), done);
    DL_GOTO_ERROR_IF(status,
                     renameat(folder.fd, DL_CHECKPOINT_MANIFEST, folder.fd, DL_CHECKPOINT_UNFINISHED) != 0,
                     done, DL_ERR_IO, "cannot delete %s: %s", folder.path, strerror(errno));
    /* No power loss may leave a manifest without its parts. */
    DL_GOTO_IF_ERROR(status, dl_sync_folder(folder.fd, folder.path), done);
    for (int i = 0; i < c->n_files; i++) {
        DL_GOTO_ERROR_IF(status, unlinkat(folder.fd, c->file[i].name, 0) != 0 && errno != ENOENT, done,
                         DL_ERR_IO, "cannot delete %s/%s: %s", folder.path, c->file[i].name, strerror(errno));
        dl_thread_rest();
    }
    DL_GOTO_ERROR_IF(status, unlinkat(folder.fd, DL_CHECKPOINT_UNFINISHED, 0) != 0, done, DL_ERR_IO,
                     "cannot delete %s: %s", folder.path, strerror(errno));
    (void)rmdir(folder.path); /* it stays when there are files of others in it */
done:
    dl_checkpoint_leave(&folder);
    return status;
}

static bool is_pinned(const dl_checkpoint_keep *keep, int64_t step) {
    for (int i = 0; i < keep->n_pinned; i++) {
        if (keep->pinned[i] == step) {
            return true;
        }
    }
    return false;
}

/* Is there one beyond those that are kept? By names: of those that turn out not to be whole none goes. */
static bool any_goes(const dl_checkpoint_keep *keep, const int64_t *steps, int n) {
    for (int i = keep->newest; i < n; i++) {
        if (!is_pinned(keep, steps[i])) {
            return true;
        }
    }
    return false;
}

static dl_status list(const char *checkpoints, const dl_checkpoint_keep *keep, int64_t **steps, int *n) {
    DL_RETURN_ERROR_IF(keep->newest < 1, DL_ERR_USAGE, "at least 1 checkpoint must be kept, not %d",
                       keep->newest);
    return dl_checkpoint_scan(checkpoints, steps, n);
}

dl_status dl_checkpoint_prunes(const char *checkpoints, const dl_checkpoint_keep *keep, bool *out) {
    int64_t *steps = NULL;
    int n = 0;
    *out = false;
    DL_RETURN_IF_ERROR(list(checkpoints, keep, &steps, &n));
    *out = any_goes(keep, steps, n);
    dl_free(&steps);
    return DL_OK;
}

/* The manifest and the presence and sizes of the parts are looked at in any case. */
static dl_status check_newest(const char *checkpoints, const dl_checkpoint_keep *keep, int64_t step) {
    char path[PATH_MAX];
    dl_checkpoint *c = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, step, path, sizeof path));
    dl_status status = dl_checkpoint_open(path, &c);
    if (status == DL_OK && step != keep->read_again) {
        c->from_disk = true;
        status = dl_checkpoint_verify(c, 0, 1);
    }
    dl_checkpoint_close(&c);
    return status;
}

/* One of the older ones: counted, kept or deleted. */
static dl_status prune_one(const char *checkpoints, int64_t step, bool may_delete, int *n_whole, bool *gone) {
    char path[PATH_MAX];
    dl_checkpoint *c = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, step, path, sizeof path));
    dl_status status = dl_checkpoint_open(path, &c);
    if (status == DL_ERR_CORRUPT || status == DL_ERR_USAGE) {
        return DL_OK; /* not whole: not counted, not deleted */
    }
    *n_whole += status == DL_OK;
    if (status == DL_OK && may_delete) {
        status = delete_checkpoint(checkpoints, c);
        *gone = status == DL_OK;
    }
    dl_checkpoint_close(&c);
    dl_thread_rest();
    return status;
}

dl_status dl_checkpoint_prune(const char *checkpoints, const dl_checkpoint_keep *keep, int64_t **deleted,
                              int *n_deleted) {
    int64_t *steps = NULL;
    int n = 0, n_whole = 1, n_gone = 0;
    DL_RETURN_IF_ERROR(list(checkpoints, keep, &steps, &n));
    n = any_goes(keep, steps, n) ? n : 0;
    dl_status status = n > 0 ? check_newest(checkpoints, keep, steps[0]) : DL_OK;
    for (int i = 1; i < n && status == DL_OK; i++) {
        bool gone = false;
        const bool may_delete = n_whole >= keep->newest && !is_pinned(keep, steps[i]);
        const int64_t step = steps[i];
        status = prune_one(checkpoints, step, may_delete, &n_whole, &gone);
        if (gone) {
            steps[n_gone++] = step; /* the array is reused for the result: n_gone <= i */
        }
    }
    *n_deleted = n_gone;
    if (deleted != NULL) {
        *deleted = steps;
    } else {
        dl_free(&steps);
    }
    return status;
}
