/* Preloaded (LD_PRELOAD) into a program: while the file $SLOW_DISK exists, each MiB written to a checkpoint's
 * part takes $SLOW_DISK_SECONDS (default 0.5). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int is_part(int fd) {
    char link[64], path[PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return strstr(path, "/part-") != NULL;
}

ssize_t pwrite(int fd, const void *bytes, size_t n_bytes, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    }
    const char *when = getenv("SLOW_DISK"), *seconds = getenv("SLOW_DISK_SECONDS");
    if (when != NULL && access(when, F_OK) == 0 && is_part(fd)) {
        const double t = (seconds != NULL ? atof(seconds) : 0.5) * (double)n_bytes / (1 << 20);
        struct timespec left = {.tv_sec = (time_t)t, .tv_nsec = (long)(1e9 * (t - (double)(time_t)t))};
        while (nanosleep(&left, &left) != 0) {
        }
    }
    return real(fd, bytes, n_bytes, offset);
}
