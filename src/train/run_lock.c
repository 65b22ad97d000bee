#define _GNU_SOURCE
#include "train/run_lock.h"

#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOLDER_BYTES = 128 };

struct dl_run_lock {
    int fd;
};

/* "process 123 on host n1" of the lock file's "n1 123", or what can be said without it. */
static void read_holder(int fd, char out[HOLDER_BYTES]) {
    char text[HOLDER_BYTES / 2] = "", host[HOLDER_BYTES / 2];
    long process = 0;
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%63s %ld", host, &process) == 2) {
        (void)snprintf(out, HOLDER_BYTES, "process %ld on host %s", process, host);
    } else {
        (void)snprintf(out, HOLDER_BYTES, "a process that has not said its name yet");
    }
}

/* Takes the lock of an open lock file. File systems without locks do without. */
static dl_status try_lock(int fd, const char *path) {
    char holder[HOLDER_BYTES];
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(errno != EWOULDBLOCK, DL_ERR_IO, "cannot lock %s/lock: %s", path, strerror(errno));
    read_holder(fd, holder);
    DL_RETURN_ERROR(DL_ERR_USAGE,
                    "another run is going on in %s (%s); choose another 'run.dir' or wait until it has ended",
                    path, holder);
}

static dl_status write_holder(int fd, const char *lock_path) {
    char host[HOLDER_BYTES / 2] = "", text[HOLDER_BYTES];
    (void)gethostname(host, sizeof host - 1);
    const int n = snprintf(text, sizeof text, "%s %ld\n", host[0] != '\0' ? host : "unknown", (long)getpid());
    DL_RETURN_ERROR_IF(ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n, DL_ERR_IO,
                       "cannot write %s: %s", lock_path, strerror(errno));
    return DL_OK;
}

/* The file may have been moved away with its directory before it was locked. */
static dl_status is_in_place(int fd, const char *lock_path, const char *path) {
    struct stat held, there;
    DL_RETURN_ERROR_IF(
        fstat(fd, &held) != 0 || stat(lock_path, &there) != 0 || held.st_ino != there.st_ino ||
            held.st_dev != there.st_dev,
        DL_ERR_USAGE,
        "another run has just moved %s away to begin there; choose another 'run.dir' or wait until it "
        "has ended",
        path);
    return DL_OK;
}

dl_status dl_run_lock_take(const char *path, dl_run_lock **out) {
    char lock_path[PATH_MAX];
    DL_RETURN_IF_ERROR(dl_path_join(lock_path, sizeof lock_path, path, "lock"));
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    dl_status status = DL_OK;
    /* The file stays for good: were it deleted, two jobs could hold the locks of two files of its name. */
    const int fd = open(lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    (*out)->fd = fd;
    DL_GOTO_ERROR_IF(status, fd < 0, fail, DL_ERR_IO, "cannot create %s: %s", lock_path, strerror(errno));
    DL_GOTO_IF_ERROR(status, try_lock(fd, path), fail);
    DL_GOTO_IF_ERROR(status, is_in_place(fd, lock_path, path), fail);
    DL_GOTO_IF_ERROR(status, write_holder(fd, lock_path), fail);
    return DL_OK;
fail:
    dl_run_lock_release(out);
    return status;
}

void dl_run_lock_release(dl_run_lock **lock) {
    if (*lock != NULL && (*lock)->fd >= 0) {
        (void)close((*lock)->fd);
    }
    dl_free(lock);
}
