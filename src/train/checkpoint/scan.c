/* Which checkpoints there are; what earlier jobs left; what stood in the way. */
#define _GNU_SOURCE
#include "train/checkpoint/checkpoint_private.h"
#include "train/checkpoint/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ASIDE = 100000 };

typedef struct step_list {
    int64_t *step;
    int64_t n, capacity;
    dl_status status;
} step_list;

static bool note_step(const char *name, void *context) {
    step_list *list = context;
    int64_t step = 0;
    if (dl_checkpoint_parse_step(name, &step)) {
        list->status = dl_grow(&list->step, &list->capacity, list->n + 1, sizeof *list->step);
        if (list->status == DL_OK) {
            list->step[list->n++] = step;
        }
    }
    return list->status == DL_OK;
}

static int newest_first(const void *left, const void *right) {
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? 1 : a > b ? -1 : 0;
}

/* All folders named as steps, newest first. */
static dl_status list_steps(int folder, const char *path, step_list *out) {
    *out = (step_list){0};
    dl_status status = dl_checkpoint_each_entry(folder, path, note_step, out);
    status = status == DL_OK ? out->status : status;
    if (status != DL_OK) {
        dl_free(&out->step);
        return status;
    }
    if (out->n > 0) {
        qsort(out->step, (size_t)out->n, sizeof *out->step, newest_first);
    }
    return DL_OK;
}

static bool has_manifest(int folder, int64_t step) {
    char name[DL_CHECKPOINT_STEP_NAME_BYTES], path[sizeof name + sizeof DL_CHECKPOINT_MANIFEST];
    dl_checkpoint_step_name(step, name);
    (void)snprintf(path, sizeof path, "%s/%s", name, DL_CHECKPOINT_MANIFEST);
    return dl_checkpoint_has(folder, path);
}

/* Opens the folder of checkpoints; *folder = -1 when it is missing. */
static dl_status open_if_there(const char *checkpoints, int *folder) {
    struct stat info;
    *folder = -1;
    if (lstat(checkpoints, &info) != 0 && errno == ENOENT) {
        return DL_OK;
    }
    return dl_checkpoint_open_folder(checkpoints, folder);
}

dl_status dl_checkpoint_scan(const char *checkpoints, int64_t **steps, int *n) {
    step_list list = {0};
    int folder = -1;
    *steps = NULL;
    *n = 0;
    DL_RETURN_IF_ERROR(open_if_there(checkpoints, &folder));
    if (folder < 0) {
        return DL_OK;
    }
    const dl_status status = list_steps(folder, checkpoints, &list);
    for (int64_t i = 0; status == DL_OK && i < list.n; i++) {
        if (has_manifest(folder, list.step[i])) {
            list.step[(*n)++] = list.step[i];
        }
    }
    (void)close(folder);
    *steps = list.step;
    return status;
}

dl_status dl_checkpoint_clean(const char *checkpoints, int *n_removed) {
    step_list list = {0};
    int folder = -1;
    *n_removed = 0;
    DL_RETURN_IF_ERROR(open_if_there(checkpoints, &folder));
    if (folder < 0) {
        return DL_OK;
    }
    const dl_status status = list_steps(folder, checkpoints, &list);
    for (int64_t i = 0; status == DL_OK && i < list.n; i++) {
        dl_checkpoint_folder each;
        if (dl_checkpoint_enter_existing(checkpoints, list.step[i], &each) == DL_OK) {
            /* An empty folder is one whose mark was not made yet. */
            *n_removed += dl_checkpoint_remove(&each, -1) || rmdir(each.path) == 0;
        }
        dl_checkpoint_leave(&each);
    }
    (void)close(folder);
    dl_free(&list.step);
    return status;
}

dl_status dl_checkpoint_set_aside(const char *checkpoints, int64_t step) {
    char from[PATH_MAX], to[PATH_MAX];
    int folder = -1;
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, step, from, sizeof from));
    DL_RETURN_IF_ERROR(dl_checkpoint_open_folder(checkpoints, &folder));
    dl_status status = DL_ERR_IO;
    int i = 1;
    /* rename() replaces no folder that holds anything. */
    for (; i < MAX_ASIDE && status != DL_OK; i++) {
        const int n = snprintf(to, sizeof to, "%s.aside-%d", from, i);
        if (n > 0 && (size_t)n < sizeof to && rename(from, to) == 0) {
            status = DL_OK;
        } else if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) {
            break;
        }
    }
    const int why = errno;
    if (status == DL_OK) {
        status = dl_sync_folder(folder, checkpoints);
    } else {
        status = dl_error_raise(why == ENOENT ? DL_ERR_USAGE : DL_ERR_IO, __FILE__, __LINE__, __func__,
                                "cannot rename %s to %s: %s", from, to, strerror(why));
    }
    (void)close(folder);
    return status;
}
