#define _GNU_SOURCE
#include "launcher/ckpt_paths.h"
#include "launcher/command.h"

#include <limits.h>
#include <stdio.h>

static dl_status verify(const char *path) {
    dl_checkpoint *c = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_open(path, &c));
    const dl_status status = dl_checkpoint_verify(c, 0, 1);
    dl_checkpoint_close(&c);
    return status;
}

/* A job that is going on deletes its older ones: manifest first. */
static bool was_deleted(const char *path) {
    char manifest[PATH_MAX];
    return dl_path_join(manifest, sizeof manifest, path, "manifest.json") == DL_OK &&
           !dl_file_exists(manifest);
}

/* Prints, or appends to the list, what one checkpoint is, unless it was `listed` and is gone; *n_damaged
 * grows by one when it is damaged. */
static dl_status report(const char *path, bool listed, json_t *list, int *n_damaged) {
    const dl_status status = verify(path);
    if (status != DL_OK && listed && was_deleted(path)) {
        return DL_OK;
    }
    const char *damage = status == DL_ERR_CORRUPT ? dl_error_last()->message : NULL;
    if (status != DL_OK && damage == NULL) {
        return status;
    }
    *n_damaged += damage != NULL;
    if (list == NULL) {
        return dl_ckpt_printed(damage != NULL ? printf("%s  DAMAGED: %s\n", path, damage)
                                              : printf("%s  as it was written\n", path));
    }
    json_t *each = json_pack("{s:s, s:b, s:s?}", "path", path, "good", damage == NULL, "damage", damage);
    DL_RETURN_ERROR_IF(json_array_append_new(list, each) != 0, DL_ERR_MEMORY,
                       "cannot print JSON: out of memory");
    return DL_OK;
}

static dl_status verify_all(const dl_arguments *arguments, const dl_ckpt_paths *paths) {
    json_t *list = dl_arguments_flag(arguments, "json") != NULL ? json_array() : NULL;
    dl_status status = DL_OK;
    int n_damaged = 0;
    for (int i = 0; i < paths->n && status == DL_OK; i++) {
        char path[PATH_MAX];
        status = dl_ckpt_paths_at(paths, i, path);
        if (status == DL_OK) {
            status = report(path, !paths->single, list, &n_damaged);
        }
    }
    if (status == DL_OK && list != NULL) {
        status = dl_ckpt_print_json(json_pack("{s:s, s:i, s:O}", "path", arguments->positional[0], "damaged",
                                              n_damaged, "checkpoints", list));
    } else if (status == DL_OK && paths->n == 0) {
        status = dl_ckpt_printed(printf("%s has no checkpoint\n", arguments->positional[0]));
    }
    json_decref(list);
    DL_RETURN_IF_ERROR(status);
    DL_RETURN_ERROR_IF(n_damaged > 0, DL_ERR_CORRUPT, "%d of %d checkpoints in %s %s damaged", n_damaged,
                       paths->n, arguments->positional[0], n_damaged == 1 ? "is" : "are");
    return DL_OK;
}

static dl_status run(const dl_arguments *arguments) {
    return dl_ckpt_paths_do(arguments, verify_all);
}

const dl_command dl_command_ckpt_verify = {
    .name = "ckpt verify",
    .usage = "PATH [--json]",
    .doc = "compare every byte of checkpoints with the digests they were written with",
    .help =
        "PATH is a run, its folder of checkpoints, or one checkpoint. Damage is named with file and bytes and ends\n"
        "with exit status 78. Digests (XXH3-128 of each MiB) tell of damage, not of malice. Saves that were broken\n"
        "off are no checkpoints, and no damage. With --json: {\"path\", \"damaged\": N, \"checkpoints\": [{\"path\",\n"
        "\"good\", \"damage\"}]}.",
    .flags =
        (const dl_flag[]){
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
