/* Whole files: reading, and replacing by rename. Declared in base/text.h. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static dl_status read_all(int fd, const char *path, size_t max_bytes, dl_text *out) {
    char chunk[16384];
    for (;;) {
        const ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        DL_RETURN_ERROR_IF(n < 0 && errno == EISDIR, DL_ERR_USAGE, "%s is a folder; a file is expected",
                           path);
        DL_RETURN_ERROR_IF(n < 0, DL_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        if (n == 0) {
            return DL_OK;
        }
        DL_RETURN_ERROR_IF(out->size + (size_t)n > max_bytes, DL_ERR_USAGE, "%s is larger than %zu bytes",
                           path, max_bytes);
        DL_RETURN_IF_ERROR(dl_text_append_bytes(out, chunk, (size_t)n));
    }
}

dl_status dl_file_read(const char *path, size_t max_bytes, dl_text *out) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    DL_RETURN_ERROR_IF(fd < 0, errno == ENOENT || errno == EACCES ? DL_ERR_USAGE : DL_ERR_IO,
                       "cannot open %s: %s", path, strerror(errno));
    dl_status status = dl_text_append_bytes(out, "", 0);
    if (status == DL_OK) {
        status = read_all(fd, path, max_bytes, out);
    }
    (void)close(fd);
    return status;
}

dl_status dl_write_some(int fd, const char *path, const void *bytes, size_t n_bytes, size_t *n_written) {
    const char *at = bytes;
    *n_written = 0;
    while (*n_written < n_bytes) {
        const ssize_t n = write(fd, at + *n_written, n_bytes - *n_written);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        DL_RETURN_ERROR_IF(n <= 0, DL_ERR_IO, "cannot write %s: %s", path, strerror(n < 0 ? errno : EIO));
        *n_written += (size_t)n;
    }
    return DL_OK;
}

dl_status dl_write_all(int fd, const char *path, const void *bytes, size_t n_bytes) {
    size_t n_written = 0;
    return dl_write_some(fd, path, bytes, n_bytes, &n_written);
}

static dl_status write_synced(int fd, const char *path, const void *bytes, size_t n_bytes) {
    DL_RETURN_IF_ERROR(dl_write_all(fd, path, bytes, n_bytes));
    DL_RETURN_ERROR_IF(fsync(fd) != 0, DL_ERR_IO, "cannot write %s to disk: %s", path, strerror(errno));
    return DL_OK;
}

dl_status dl_file_replace(const char *path, const void *bytes, size_t n_bytes) {
    char temporary[PATH_MAX];
    const int n = snprintf(temporary, sizeof temporary, "%s.tmp%ld", path, (long)getpid());
    DL_RETURN_ERROR_IF(n < 0 || (size_t)n >= sizeof temporary, DL_ERR_USAGE, "the path %s is too long", path);
    (void)unlink(temporary);
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    DL_RETURN_ERROR_IF(fd < 0, DL_ERR_IO, "cannot create %s: %s", temporary, strerror(errno));
    dl_status status = write_synced(fd, temporary, bytes, n_bytes);
    if (close(fd) != 0 && status == DL_OK) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "cannot close %s: %s", temporary,
                                strerror(errno));
    }
    if (status == DL_OK && rename(temporary, path) != 0) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "cannot rename %s to %s: %s",
                                temporary, path, strerror(errno));
    }
    if (status != DL_OK) {
        (void)unlink(temporary);
    }
    return status;
}

dl_status dl_sync_folder(int fd, const char *path) {
    int failed = fsync(fd);
    while (failed != 0 && errno == EINTR) {
        failed = fsync(fd);
    }
    /* Some network file systems cannot sync a folder and say EINVAL. */
    DL_RETURN_ERROR_IF(failed != 0 && errno != EINVAL, DL_ERR_IO, "cannot write folder %s to disk: %s", path,
                       strerror(errno));
    return DL_OK;
}

dl_status dl_sync_entry(const char *path) {
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DL_RETURN_ERROR_IF(fd < 0, DL_ERR_IO, "cannot open folder %s: %s", folder, strerror(errno));
    const dl_status status = dl_sync_folder(fd, folder);
    (void)close(fd);
    return status;
}

/* Its parent exists; others may be making it, too. */
static dl_status make_one(const char *path) {
    const int failed = mkdir(path, 0750) != 0 ? errno : 0;
    DL_RETURN_ERROR_IF(failed != 0 && failed != EEXIST, DL_ERR_IO, "cannot create folder %s: %s", path,
                       strerror(failed));
    return failed == 0 ? dl_sync_entry(path) : DL_OK;
}

dl_status dl_make_folders(const char *path) {
    char partial[PATH_MAX];
    const size_t n = strlen(path);
    DL_RETURN_ERROR_IF(n == 0 || n >= sizeof partial, DL_ERR_USAGE, "'%.60s' is not a usable folder name",
                       path);
    memcpy(partial, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (partial[i] != '/' && partial[i] != '\0') {
            continue;
        }
        partial[i] = '\0';
        DL_RETURN_IF_ERROR(make_one(partial));
        partial[i] = path[i];
    }
    struct stat info;
    DL_RETURN_ERROR_IF(stat(path, &info) != 0 || !S_ISDIR(info.st_mode), DL_ERR_IO, "%s is not a folder",
                       path);
    return DL_OK;
}

bool dl_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}
