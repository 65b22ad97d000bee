#define _GNU_SOURCE
#include "train/result_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

dl_status dl_result_file_take(int fd, const char *name, dl_result_file *file) {
    *file = DL_RESULT_FILE_NONE;
    (void)snprintf(file->unfinished, sizeof file->unfinished, "%s", name);
    file->in_place = true;
    file->fd = dup(fd);
    DL_RETURN_ERROR_IF(file->fd < 0, DL_ERR_IO, "cannot write to %s: %s", name, strerror(errno));
    return DL_OK;
}

static bool is_hdf5(const char *path) {
    static const unsigned char signature[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char begin[sizeof signature];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool same = fd >= 0 && read(fd, begin, sizeof begin) == (ssize_t)sizeof begin &&
                      memcmp(begin, signature, sizeof begin) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return same;
}

dl_status dl_result_file_check(const char *path, const char *what, const char *const *source, int n) {
    struct stat target, other;
    if (stat(path, &target) != 0 || !S_ISREG(target.st_mode)) {
        return DL_OK;
    }
    for (int i = 0; i < n; i++) {
        const bool same = source[i] != NULL && stat(source[i], &other) == 0 &&
                          other.st_dev == target.st_dev && other.st_ino == target.st_ino;
        DL_RETURN_ERROR_IF(same, DL_ERR_USAGE, "%s is read by this command; name another file for the %s",
                           path, what);
    }
    DL_RETURN_ERROR_IF(is_hdf5(path), DL_ERR_USAGE,
                       "%s is an HDF5 file, as data, weights and checkpoints are, which %s do not replace; "
                       "name another file, or remove that one",
                       path, what);
    return DL_OK;
}

dl_status dl_result_file_open(const char *path, const char *what, dl_result_file *file) {
    struct stat target, name;
    *file = DL_RESULT_FILE_NONE;
    DL_RETURN_ERROR_IF(stat(path, &target) == 0 && S_ISDIR(target.st_mode), DL_ERR_USAGE,
                       "%s is a folder; name a file for the %s", path, what);
    file->in_place = lstat(path, &name) == 0 && !S_ISREG(name.st_mode);
    const int n = snprintf(file->path, sizeof file->path, "%s", path);
    const int m = file->in_place ? snprintf(file->unfinished, sizeof file->unfinished, "%s", path)
                                 : snprintf(file->unfinished, sizeof file->unfinished, "%s.tmp%ld", path,
                                            (long)getpid());
    DL_RETURN_ERROR_IF(n < 1 || m < 0 || (size_t)m >= sizeof file->unfinished, DL_ERR_USAGE,
                       "'%.60s' cannot be the name of a file for %s", path, what);
    const int flags = file->in_place ? O_TRUNC : O_EXCL | O_NOFOLLOW;
    file->fd = open(file->unfinished, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    if (file->fd < 0) {
        const dl_status status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__,
                                                "cannot create %s: %s", file->unfinished, strerror(errno));
        file->unfinished[0] = '\0'; /* it is not ours to remove */
        return status;
    }
    return DL_OK;
}

dl_status dl_result_file_write(const dl_result_file *file, const dl_text *text) {
    return text->size == 0 ? DL_OK : dl_write_all(file->fd, file->unfinished, text->data, text->size);
}

dl_status dl_result_file_finish(dl_result_file *file) {
    if (file->fd < 0) {
        return DL_OK;
    }
    const int failed = close(file->fd);
    file->fd = -1;
    DL_RETURN_ERROR_IF(failed != 0, DL_ERR_IO, "cannot write %s: %s", file->unfinished, strerror(errno));
    DL_RETURN_ERROR_IF(!file->in_place && rename(file->unfinished, file->path) != 0, DL_ERR_IO,
                       "cannot rename %s to %s: %s", file->unfinished, file->path, strerror(errno));
    file->unfinished[0] = '\0';
    return DL_OK;
}

void dl_result_file_discard(dl_result_file *file) {
    if (file->fd >= 0) {
        (void)close(file->fd);
        file->fd = -1;
    }
    if (file->unfinished[0] != '\0' && !file->in_place) {
        (void)unlink(file->unfinished);
    }
}
