#define _GNU_SOURCE
#include "launcher/ckpt_paths.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_in(const char *folder, const char *name) {
    char path[PATH_MAX];
    return dl_path_join(path, sizeof path, folder, name) == DL_OK && dl_file_exists(path);
}

static bool is_run(const char *path) {
    return is_in(path, "status.json") || is_in(path, "metrics.jsonl");
}

/* The folder above, "" when there is none. */
static void take_parent(const char *path, char out[PATH_MAX]) {
    (void)snprintf(out, PATH_MAX, "%s", path);
    char *slash = strrchr(out, '/');
    if (slash == NULL) {
        (void)snprintf(out, PATH_MAX, ".");
    } else {
        slash[slash == out] = '\0';
    }
}

/* The run that a folder of checkpoints belongs to: by its name, or where it is ("." in it; a link to it is
 * the run's). */
static void find_run(dl_ckpt_paths *out) {
    char above[PATH_MAX], real[PATH_MAX];
    take_parent(out->folder, above);
    if (!is_run(above) && realpath(out->folder, real) != NULL) {
        take_parent(real, above);
    }
    if (is_run(above)) {
        (void)snprintf(out->run, sizeof out->run, "%s", above);
    }
}

/* Sets folder and kind. */
static dl_status classify(const char *path, dl_ckpt_paths *out) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    DL_RETURN_ERROR_IF(n == 0 || n >= sizeof out->folder, DL_ERR_USAGE, "'%.80s' is not a usable path", path);
    (void)snprintf(out->folder, sizeof out->folder, "%.*s", (int)n, path);
    if (is_in(out->folder, "manifest.json") || is_in(out->folder, "manifest.json.unfinished")) {
        out->single = true;
        return DL_OK;
    }
    if (is_in(out->folder, "checkpoints") || is_run(out->folder)) {
        (void)snprintf(out->run, sizeof out->run, "%s", out->folder);
        return dl_path_join(out->folder, sizeof out->folder, out->run, "checkpoints");
    }
    find_run(out);
    return DL_OK;
}

dl_status dl_ckpt_paths_find(const char *path, dl_ckpt_paths *out) {
    struct stat info;
    *out = (dl_ckpt_paths){0};
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, DL_ERR_USAGE, "there is no run or checkpoint %s", path);
    DL_RETURN_ERROR_IF(!S_ISDIR(info.st_mode), DL_ERR_USAGE,
                       "%s is a file; name a run, its folder of checkpoints, or a checkpoint's folder", path);
    DL_RETURN_IF_ERROR(classify(path, out));
    if (out->single) {
        out->n = 1;
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_checkpoint_scan(out->folder, &out->step, &out->n));
    DL_RETURN_ERROR_IF(out->n == 0 && out->run[0] == '\0', DL_ERR_USAGE,
                       "%s is no run and no checkpoint, and holds none (step-00001200, say)", path);
    return DL_OK;
}

void dl_ckpt_paths_free(dl_ckpt_paths *paths) {
    dl_free(&paths->step);
}

dl_status dl_ckpt_paths_at(const dl_ckpt_paths *paths, int i, char out[PATH_MAX]) {
    if (paths->single) {
        (void)snprintf(out, PATH_MAX, "%s", paths->folder);
        return DL_OK;
    }
    return dl_checkpoint_path(paths->folder, paths->step[i], out, PATH_MAX);
}

dl_status dl_ckpt_paths_do(const dl_arguments *arguments,
                           dl_status (*work)(const dl_arguments *arguments, const dl_ckpt_paths *paths)) {
    dl_ckpt_paths paths;
    dl_status status = dl_ckpt_paths_find(arguments->positional[0], &paths);
    if (status == DL_OK) {
        status = work(arguments, &paths);
    }
    dl_ckpt_paths_free(&paths);
    return status;
}

dl_status dl_ckpt_paths_open(const char *path, dl_checkpoint **out) {
    dl_ckpt_paths paths;
    char found[PATH_MAX];
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_ckpt_paths_find(path, &paths), done);
    DL_GOTO_ERROR_IF(status, paths.n == 0, done, DL_ERR_USAGE, "the run %s has no checkpoint", path);
    DL_GOTO_IF_ERROR(status, dl_ckpt_paths_at(&paths, 0, found), done);
    DL_GOTO_IF_ERROR(status, dl_checkpoint_open(found, out), done);
done:
    dl_ckpt_paths_free(&paths);
    return status;
}

dl_status dl_ckpt_printed(int result) {
    DL_RETURN_ERROR_IF(result < 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

dl_status dl_ckpt_print_json(json_t *object) {
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    json_decref(object);
    DL_RETURN_ERROR_IF(text == NULL, DL_ERR_MEMORY, "cannot print JSON: out of memory");
    const dl_status status = dl_ckpt_printed(printf("%s\n", text));
    free(text);
    return status;
}
