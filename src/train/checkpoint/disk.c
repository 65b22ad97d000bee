/* Checked system calls, with messages that say what was wanted. */
#define _GNU_SOURCE
#include "base/thread.h"
#include "train/checkpoint/checkpoint_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

dl_status dl_checkpoint_open_folder(const char *path, int *fd) {
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DL_RETURN_ERROR_IF(*fd < 0 && errno == ENOENT, DL_ERR_USAGE, "there is no folder %s", path);
    DL_RETURN_ERROR_IF(*fd < 0, DL_ERR_IO, "cannot open folder %s: %s", path, strerror(errno));
    return DL_OK;
}

static int sync_again(int fd) {
    dl_thread_rest();
    int result = -1;
    do {
        result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    return result;
}

dl_status dl_checkpoint_finish_file(int fd, const char *path) {
    /* Not tried again after EIO: the kernel may have dropped the pages, and say so only once. */
    const int failed = sync_again(fd) != 0 ? errno : 0;
    const int not_closed = close(fd) != 0 ? errno : 0;
    DL_RETURN_ERROR_IF(failed != 0, DL_ERR_IO, "cannot write %s to disk: %s", path, strerror(failed));
    DL_RETURN_ERROR_IF(not_closed != 0 && not_closed != EINTR, DL_ERR_IO, "cannot close %s: %s", path,
                       strerror(not_closed));
    return DL_OK;
}

static dl_status write_failed(int fd, const char *path, int why, int64_t n_wanted) {
    char wanted[32], free_bytes[32] = "an unknown number of";
    struct statvfs info;
    if (fstatvfs(fd, &info) == 0) {
        (void)dl_thousands((int64_t)(info.f_bavail * info.f_frsize), free_bytes);
    }
    DL_RETURN_ERROR(DL_ERR_IO, "cannot write %s: %s; %s more bytes are wanted, %s are free", path,
                    strerror(why), dl_thousands(n_wanted, wanted), free_bytes);
}

dl_status dl_checkpoint_write_at(int fd, const char *path, const void *bytes, size_t n_bytes, int64_t offset,
                                 int64_t n_wanted) {
    const char *next = bytes;
    while (n_bytes > 0) {
        const ssize_t n = pwrite(fd, next, n_bytes, offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return write_failed(fd, path, n < 0 ? errno : EIO, n_wanted);
        }
        next += n;
        offset += n;
        n_wanted -= n;
        n_bytes -= (size_t)n;
    }
    return DL_OK;
}

void dl_checkpoint_digest_block(dl_digest *file, const void *bytes, size_t n,
                                char hex[DL_DIGEST_TEXT_BYTES]) {
    dl_digest_of(bytes, n, hex);
    dl_thread_rest();
    dl_digest_add(file, bytes, n);
    dl_thread_rest();
}

bool dl_checkpoint_has(int folder, const char *name) {
    struct stat info;
    return fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

dl_status dl_checkpoint_each_entry(int folder, const char *path, bool (*visit)(const char *, void *),
                                   void *context) {
    const int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (list == NULL) {
        const int why = errno;
        if (copy >= 0) {
            (void)close(copy);
        }
        DL_RETURN_ERROR(why == ENOMEM ? DL_ERR_MEMORY : DL_ERR_IO, "cannot list folder %s: %s", path,
                        strerror(why));
    }
    bool more = true;
    errno = 0;
    for (const struct dirent *entry; more && (entry = readdir(list)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            more = visit(entry->d_name, context);
        }
    }
    const int why = more ? errno : 0;
    (void)closedir(list);
    DL_RETURN_ERROR_IF(why != 0, DL_ERR_IO, "cannot list folder %s: %s", path, strerror(why));
    return DL_OK;
}

/* Without this, the first byte above RLIMIT_FSIZE would end the process. */
void dl_checkpoint_hold_signals(dl_checkpoint_signals *signals) {
    sigset_t limit, pending;
    (void)sigemptyset(&limit);
    (void)sigaddset(&limit, SIGXFSZ);
    (void)sigemptyset(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &limit, &signals->before);
    (void)sigpending(&pending);
    signals->was_pending = sigismember(&pending, SIGXFSZ) == 1;
}

void dl_checkpoint_release_signals(const dl_checkpoint_signals *signals) {
    sigset_t limit;
    const struct timespec at_once = {0};
    (void)sigemptyset(&limit);
    (void)sigaddset(&limit, SIGXFSZ);
    if (!signals->was_pending) {
        (void)sigtimedwait(&limit, NULL, &at_once);
    }
    (void)pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}
