#define _GNU_SOURCE
#include "base/mem.h"
#include "launcher/ckpt_paths.h"
#include "launcher/command.h"
#include "train/resume.h"
#include "train/run_lock.h"

#include <stdio.h>

static dl_status print_deleted(const dl_arguments *arguments, const dl_ckpt_paths *paths,
                               const int64_t *deleted, int n) {
    char path[PATH_MAX];
    json_t *list = json_array();
    const bool as_json = dl_arguments_flag(arguments, "json") != NULL;
    dl_status status = DL_OK;
    for (int i = 0; i < n && status == DL_OK; i++) {
        status = dl_checkpoint_path(paths->folder, deleted[i], path, sizeof path);
        if (status == DL_OK && as_json) {
            (void)json_array_append_new(list, json_string(path));
        } else if (status == DL_OK) {
            status = dl_ckpt_printed(printf("deleted %s\n", path));
        }
    }
    if (status == DL_OK && as_json) {
        return dl_ckpt_print_json(json_pack("{s:s, s:i, s:o}", "path", arguments->positional[0], "kept",
                                            paths->n - n, "deleted", list));
    }
    json_decref(list);
    DL_RETURN_IF_ERROR(status);
    return dl_ckpt_printed(printf("%d deleted, %d kept\n", n, paths->n - n));
}

static dl_status prune(const dl_arguments *arguments, const dl_ckpt_paths *paths) {
    int64_t keep = 0, best = 0, *deleted = NULL;
    int n = 0;
    dl_run_lock *lock = NULL;
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "keep", 1, INT32_MAX, 2, &keep));
    DL_RETURN_ERROR_IF(paths->single, DL_ERR_USAGE,
                       "%s is one checkpoint; name its run or the folder it is in", arguments->positional[0]);
    if (paths->run[0] != '\0') {
        DL_RETURN_IF_ERROR(dl_run_lock_take(paths->run, &lock));
    }
    dl_status status = dl_resume_best_step(paths->folder, &best);
    if (status == DL_OK) {
        const dl_checkpoint_keep kept = {.newest = (int)keep, .pinned = &best, .n_pinned = best > 0};
        status = dl_checkpoint_prune(paths->folder, &kept, &deleted, &n);
    }
    /* What is gone is said, also when not all went well. */
    const dl_status printed = n > 0 || status == DL_OK ? print_deleted(arguments, paths, deleted, n) : DL_OK;
    status = status != DL_OK ? status : printed;
    dl_free(&deleted);
    dl_run_lock_release(&lock);
    return status;
}

static dl_status run(const dl_arguments *arguments) {
    return dl_ckpt_paths_do(arguments, prune);
}

const dl_command dl_command_ckpt_prune = {
    .name = "ckpt prune",
    .usage = "PATH [--keep N] [--json]",
    .doc = "delete all but the newest checkpoints of a run and that of its best epoch",
    .help =
        "PATH is a run, which must not be going on, or its folder of checkpoints. Nothing is deleted before\n"
        "every byte of the newest was compared with its digest (damage: exit status 78). Damaged checkpoints,\n"
        "saves that were broken off and files that no manifest names stay. With --json: {\"path\", \"kept\": N,\n"
        "\"deleted\": [PATH, ...]}.",
    .flags =
        (const dl_flag[]){
            {"keep", "N", "so many stay; 2 without it, 1 at least"},
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
