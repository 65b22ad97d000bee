#define _GNU_SOURCE
#include "train/run_dir.h"

#include "base/json.h"
#include "base/mem.h"
#include "train/resume.h"
#include "train/run_leftovers.h"
#include "train/run_lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUFFIX_BYTES = 64, MAX_EARLIER_RUNS = 100000 };

struct dl_run_dir {
    char path[PATH_MAX - SUFFIX_BYTES];
    char moved_to[PATH_MAX];
    char audit_path[PATH_MAX];
    int log, metrics, audit;
    dl_run_lock *lock;    /* rank 0's */
    dl_run_lock *earlier; /* of the run that was moved away, until there is that of this one */
    dl_run_status *status;
    dl_text line; /* reused for every line of the audit */
};

/* What is at the place of the run directory. */
typedef enum found { NOTHING, EMPTY /* but for what a start leaves */, EARLIER_RUN, OTHER_FILES } found;

/* What there is of a run before its status.json: a start that was killed leaves it. */
static bool is_of_a_start(const char *name) {
    static const char unfinished[] = "status.json.tmp";
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lock") == 0 ||
           strncmp(name, unfinished, sizeof unfinished - 1) == 0;
}

static dl_status look(const char *path, found *out) {
    *out = NOTHING;
    DIR *folder = opendir(path);
    if (folder == NULL && errno == ENOENT) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(folder == NULL && errno == ENOTDIR, DL_ERR_USAGE,
                       "the run directory %s is a file; choose another 'run.dir'", path);
    DL_RETURN_ERROR_IF(folder == NULL, DL_ERR_IO, "cannot read the run directory %s: %s", path,
                       strerror(errno));
    *out = EMPTY;
    errno = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, "status.json") == 0 || strcmp(entry->d_name, "metrics.jsonl") == 0) {
            *out = EARLIER_RUN;
            break;
        }
        if (!is_of_a_start(entry->d_name)) {
            *out = OTHER_FILES;
        }
    }
    const int failure = errno;
    (void)closedir(folder);
    DL_RETURN_ERROR_IF(*out != EARLIER_RUN && failure != 0, DL_ERR_IO, "cannot read the run directory %s: %s",
                       path, strerror(failure));
    return DL_OK;
}

/* rename() that refuses to replace; for file systems without it, a check before. */
static int rename_to_new(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    struct stat info;
    if (lstat(to, &info) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

static dl_status move_away(dl_run_dir *run) {
    const char *slash = strrchr(run->path, '/');
    const char *name = slash != NULL ? slash + 1 : run->path;
    DL_RETURN_ERROR_IF(strcmp(name, ".") == 0 || strcmp(name, "..") == 0, DL_ERR_USAGE,
                       "there is an earlier run in %s, which cannot be moved away by that name; "
                       "choose another 'run.dir'",
                       run->path);
    DL_RETURN_IF_ERROR(dl_run_lock_take(run->path, &run->earlier));
    for (int i = 1; i < MAX_EARLIER_RUNS; i++) {
        (void)snprintf(run->moved_to, sizeof run->moved_to, "%s.%d", run->path, i);
        if (rename_to_new(run->path, run->moved_to) == 0) {
            return dl_sync_entry(run->path);
        }
        DL_RETURN_ERROR_IF(errno != EEXIST && errno != ENOTEMPTY, DL_ERR_IO,
                           "cannot move the earlier run %s to %s: %s", run->path, run->moved_to,
                           strerror(errno));
    }
    DL_RETURN_ERROR(DL_ERR_USAGE,
                    "there are %d earlier runs beside %s; remove some or choose another 'run.dir'",
                    MAX_EARLIER_RUNS, run->path);
}

/* What a run leaves is nobody else's: mode 0750 at most. A folder that is another user's stays as it is,
 * unless others may change what is in it. */
static dl_status make_private(const char *path) {
    struct stat info;
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, DL_ERR_IO, "cannot look at %s: %s", path, strerror(errno));
    const mode_t others = S_IWGRP | S_IRWXO;
    const bool done = (info.st_mode & others) == 0 || chmod(path, info.st_mode & 07777 & ~others) == 0;
    DL_RETURN_ERROR_IF(
        !done && (info.st_mode & (S_IWGRP | S_IWOTH)) != 0, DL_ERR_USAGE,
        "the run directory %s can be changed by other users and is not yours to close; choose another "
        "'run.dir'",
        path);
    return DL_OK;
}

static dl_status make_room(dl_run_dir *run) {
    found what = NOTHING;
    DL_RETURN_IF_ERROR(look(run->path, &what));
    DL_RETURN_ERROR_IF(what == OTHER_FILES, DL_ERR_USAGE,
                       "the run directory %s holds files that are not a run; nothing was changed there. "
                       "Choose another 'run.dir' or an empty folder",
                       run->path);
    if (what == EARLIER_RUN) {
        DL_RETURN_IF_ERROR(move_away(run));
    }
    DL_RETURN_IF_ERROR(dl_make_folders(run->path));
    return make_private(run->path);
}

static dl_status open_file(const dl_run_dir *run, const char *name, char *path, int *out) {
    DL_RETURN_IF_ERROR(dl_run_dir_file(run, name, path, PATH_MAX));
    *out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
    DL_RETURN_ERROR_IF(*out < 0, DL_ERR_IO, "cannot create %s: %s", path, strerror(errno));
    return DL_OK;
}

static dl_status open_audit(dl_run_dir *run, int rank, bool audit) {
    if (!audit) {
        return DL_OK;
    }
    char name[SUFFIX_BYTES];
    (void)snprintf(name, sizeof name, "audit.rank%05d.jsonl", rank);
    DL_RETURN_IF_ERROR(open_file(run, name, run->audit_path, &run->audit));
    return DL_OK;
}

/* A run directory object with a cleaned-up path and nothing open. */
static dl_status allocate(const char *path, dl_run_dir **out) {
    *out = NULL;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    dl_run_dir *run = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *run, &run));
    run->log = run->metrics = run->audit = -1;
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, n == 0 || n >= sizeof run->path, fail, DL_ERR_USAGE,
                     "'%.60s' is not a usable run directory: 1 to %zu bytes are", path, sizeof run->path - 1);
    memcpy(run->path, path, n);
    DL_GOTO_IF_ERROR(status, dl_run_status_create(run->path, &run->status), fail);
    *out = run;
    return DL_OK;
fail:
    dl_free(&run);
    return status;
}

static dl_status fill(dl_run_dir *run, const char *config_text, bool audit) {
    char path[PATH_MAX];
    DL_RETURN_IF_ERROR(make_room(run));
    DL_RETURN_IF_ERROR(dl_run_lock_take(run->path, &run->lock));
    dl_run_lock_release(&run->earlier);
    dl_run_leftovers_remove(run->path);
    /* First of all what tells that this is a run, so that an early end leaves nothing to clean up by hand. */
    DL_RETURN_IF_ERROR(dl_run_status_write(run->status, DL_RUN_RUNNING, 0, 0, ""));
    DL_RETURN_IF_ERROR(open_file(run, "log.txt", path, &run->log));
    DL_RETURN_IF_ERROR(dl_run_dir_file(run, "config.yaml", path, sizeof path));
    DL_RETURN_IF_ERROR(dl_file_replace(path, config_text, strlen(config_text)));
    DL_RETURN_IF_ERROR(open_file(run, "metrics.jsonl", path, &run->metrics));
    DL_RETURN_IF_ERROR(open_audit(run, 0, audit));
    return DL_OK;
}

dl_status dl_run_dir_create(const char *path, const char *config_text, bool audit, dl_run_dir **out) {
    DL_RETURN_IF_ERROR(allocate(path, out));
    const dl_status status = fill(*out, config_text, audit);
    if (status != DL_OK) {
        dl_run_dir_close(out);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "creating run directory %s", path);
    }
    return DL_OK;
}

/* Files of lines with steps: metrics.jsonl and those of the audit. */
static bool has_steps(const char *name) {
    const size_t n = strlen(name);
    return strcmp(name, "metrics.jsonl") == 0 ||
           (strncmp(name, "audit.rank", 10) == 0 && n > 6 && strcmp(name + n - 6, ".jsonl") == 0);
}

static dl_status cut_files(const dl_run_dir *run, int64_t step, int64_t epochs) {
    char path[PATH_MAX];
    dl_status status = DL_OK;
    DIR *folder = opendir(run->path);
    DL_RETURN_ERROR_IF(folder == NULL, DL_ERR_IO, "cannot read the run directory %s: %s", run->path,
                       strerror(errno));
    for (const struct dirent *entry; status == DL_OK && (entry = readdir(folder)) != NULL;) {
        if (has_steps(entry->d_name)) {
            status = dl_run_dir_file(run, entry->d_name, path, sizeof path);
            status = status == DL_OK ? dl_resume_cut_lines(path, step, epochs) : status;
        }
    }
    (void)closedir(folder);
    return status;
}

dl_status dl_run_dir_open(const char *path, dl_run_dir **out) {
    DL_RETURN_IF_ERROR(allocate(path, out));
    dl_status status = make_private((*out)->path);
    status = status == DL_OK ? dl_run_lock_take((*out)->path, &(*out)->lock) : status;
    if (status != DL_OK) {
        dl_run_dir_close(out);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "going on in %s", path);
    }
    return DL_OK;
}

static dl_status go_on(dl_run_dir *run, const char *config_text, bool audit, int64_t step, int64_t epochs) {
    char path[PATH_MAX];
    dl_run_leftovers_remove(run->path);
    DL_RETURN_IF_ERROR(cut_files(run, step, epochs));
    DL_RETURN_IF_ERROR(open_file(run, "log.txt", path, &run->log));
    DL_RETURN_IF_ERROR(dl_run_status_write(run->status, DL_RUN_RUNNING, 0, step, ""));
    DL_RETURN_IF_ERROR(dl_run_dir_file(run, "config.yaml", path, sizeof path));
    DL_RETURN_IF_ERROR(dl_file_replace(path, config_text, strlen(config_text)));
    DL_RETURN_IF_ERROR(open_file(run, "metrics.jsonl", path, &run->metrics));
    return open_audit(run, 0, audit);
}

dl_status dl_run_dir_continue(dl_run_dir *run, const char *config_text, bool audit, int64_t step,
                              int64_t epochs) {
    DL_RETURN_IF_ERROR_DOING(go_on(run, config_text, audit, step, epochs), "going on in %s", run->path);
    return DL_OK;
}

dl_status dl_run_dir_join(const char *path, int rank, bool audit, dl_run_dir **out) {
    DL_RETURN_IF_ERROR(allocate(path, out));
    const dl_status status = open_audit(*out, rank, audit);
    if (status != DL_OK) {
        dl_run_dir_close(out);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "joining run directory %s", path);
    }
    return DL_OK;
}

static void close_file(int fd) {
    if (fd >= 0) {
        (void)close(fd); /* every write was checked when it was made */
    }
}

void dl_run_dir_close(dl_run_dir **run) {
    if (*run == NULL) {
        return;
    }
    close_file((*run)->audit);
    close_file((*run)->metrics);
    close_file((*run)->log);
    dl_run_lock_release(&(*run)->lock);
    dl_run_lock_release(&(*run)->earlier);
    dl_text_free(&(*run)->line);
    dl_run_status_destroy(&(*run)->status);
    dl_free(run);
}

const char *dl_run_dir_path(const dl_run_dir *run) {
    return run->path;
}

const char *dl_run_dir_moved_to(const dl_run_dir *run) {
    return run->moved_to[0] != '\0' ? run->moved_to : NULL;
}

int dl_run_dir_log_fd(const dl_run_dir *run) {
    return run->log;
}

int dl_run_dir_metrics_fd(const dl_run_dir *run) {
    return run->metrics;
}

dl_status dl_run_dir_checkpoints(const char *path, char *out, size_t n_bytes) {
    return dl_path_join(out, n_bytes, path, "checkpoints");
}

dl_status dl_run_dir_file(const dl_run_dir *run, const char *name, char *out, size_t n_bytes) {
    DL_RETURN_IF_ERROR(dl_path_join(out, n_bytes, run->path, name));
    return DL_OK;
}

dl_run_status *dl_run_dir_status(const dl_run_dir *run) {
    return run->status;
}

dl_status dl_run_dir_audit(dl_run_dir *run, const char *split, int64_t epoch, int64_t step,
                           const int64_t *ids, int64_t n_ids) {
    if (run->audit < 0) {
        return DL_OK;
    }
    dl_json json = dl_json_begin(&run->line);
    dl_json_string(&json, "split", split);
    dl_json_int(&json, "epoch", epoch);
    dl_json_int(&json, "step", step);
    dl_json_ints(&json, "ids", ids, n_ids);
    DL_RETURN_IF_ERROR(dl_json_end(&json));
    DL_RETURN_IF_ERROR(dl_write_all(run->audit, run->audit_path, run->line.data, run->line.size));
    return DL_OK;
}
