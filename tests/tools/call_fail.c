/* Preloaded (LD_PRELOAD) into a program: lets its n-th system call or allocation fail, be cut short or kill
 * it, and writes down what it does to files.
 *
 * A test program finds call_fail_arm and the others by dlsym. For programs that do not know of it,
 * CALL_FAIL="HOW:N" arms from the start: HOW is fail, always (the n-th and all after it), short, kill, cut
 * (short, then kill). CALL_FAIL_ERRNO is the error's number (default 28, ENOSPC), CALL_FAIL_KINDS the kinds
 * of calls (default 1).
 *
 * The trace has one line for each change of a file, for tests that replay it: create, write, truncate, sync,
 * rename, unlink, mkdir, rmdir, with absolute paths, and marks of the program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "call_fail.h"

void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *memory, size_t n_bytes);

static struct {
    call_fail_how how;
    unsigned kinds;
    long at, count;
    int error;
} armed;
static int trace = -1;
/* Where the code of libhdf5 and of the C library lies. */
static struct { size_t start, end; } library[2];

static int note_library(struct dl_phdr_info *info, size_t size, void *context) {
    static const char *const names[] = {"/libhdf5", "/libc."};
    (void)size;
    (void)context;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (int k = 0; strstr(info->dlpi_name, names[i]) != NULL && k < info->dlpi_phnum; k++) {
            if (info->dlpi_phdr[k].p_type == PT_LOAD && (info->dlpi_phdr[k].p_flags & PF_X) != 0) {
                library[i].start = info->dlpi_addr + info->dlpi_phdr[k].p_vaddr;
                library[i].end = library[i].start + info->dlpi_phdr[k].p_memsz;
            }
        }
    }
    return 0;
}

/* Who asks for memory. */
static unsigned kind_of_caller(const void *caller) {
    for (size_t i = 0; i < 2; i++) {
        if ((size_t)caller >= library[i].start && (size_t)caller < library[i].end) {
            return CALL_FAIL_LIBRARY_MEMORY;
        }
    }
    return CALL_FAIL_MEMORY;
}

void call_fail_arm(call_fail_how how, unsigned kinds, long at, int error) {
    (void)dl_iterate_phdr(note_library, NULL);
    armed.how = how;
    armed.kinds = kinds;
    armed.at = at;
    armed.error = error;
    armed.count = 0;
}

long call_fail_disarm(void) {
    armed.how = CALL_FAIL_NOT;
    armed.kinds = 0;
    return armed.count;
}

static void die(void) {
    (void)syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) {
        (void)syscall(SYS_pause);
    }
}

/* True when this call shall fail; *cut when it shall do half of its work. Does not return when it shall kill.
 */
static int hit(unsigned kind, int is_write, int *cut) {
    *cut = 0;
    if ((armed.kinds & kind) == 0 || ++armed.count < armed.at ||
        (armed.count > armed.at && armed.how != CALL_FAIL_ALWAYS)) {
        return 0;
    }
    switch (armed.how) {
    case CALL_FAIL_ONCE:
    case CALL_FAIL_ALWAYS:
        errno = armed.error;
        return 1;
    case CALL_FAIL_SHORT:
        *cut = is_write;
        return 0;
    case CALL_FAIL_CUT:
        *cut = is_write;
        return 0;
    case CALL_FAIL_KILL:
        die();
        return 1;
    default:
        return 0;
    }
}

/* --- the trace --- */

void call_fail_trace(int fd) {
    trace = fd;
}

static void put(const char *text, size_t n) {
    while (n > 0) {
        const long written = syscall(SYS_write, trace, text, n);
        if (written <= 0) {
            die();
        }
        text += written;
        n -= (size_t)written;
    }
}

void call_fail_mark(const char *text) {
    char line[200];
    const int n = snprintf(line, sizeof line, "mark %s\n", text);
    if (trace >= 0) {
        put(line, (size_t)n);
    }
}

/* The absolute path of an open file. */
static void path_of(int fd, char out[PATH_MAX]) {
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const long n = syscall(SYS_readlink, link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
}

static void path_at(int folder, const char *name, char out[PATH_MAX]) {
    char base[PATH_MAX] = "";
    if (name[0] != '/' && folder == AT_FDCWD) {
        (void)syscall(SYS_getcwd, base, sizeof base);
    } else if (name[0] != '/') {
        path_of(folder, base);
    }
    if (snprintf(out, PATH_MAX, "%.2000s%s%.2000s", base, base[0] != '\0' ? "/" : "", name) < 0) {
        die();
    }
}

/* "WHAT PATH NUMBER", the number only when it is not negative. */
static void note(const char *what, int folder, const char *name, long number) {
    char line[PATH_MAX + 64], path[PATH_MAX];
    if (trace < 0) {
        return;
    }
    if (name != NULL) {
        path_at(folder, name, path);
    } else {
        path_of(folder, path);
    }
    int n = number < 0 ? snprintf(line, sizeof line, "%s %s\n", what, path)
                       : snprintf(line, sizeof line, "%s %s %ld\n", what, path, number);
    put(line, (size_t)n);
}

static void note_write(int fd, const void *bytes, size_t n_bytes, long offset) {
    char line[PATH_MAX + 64], path[PATH_MAX], hex[2 * 512];
    const unsigned char *from = bytes;
    if (trace < 0) {
        return;
    }
    path_of(fd, path);
    put(line, (size_t)snprintf(line, sizeof line, "write %s %ld ", path, offset));
    while (n_bytes > 0) {
        const size_t n = n_bytes < 512 ? n_bytes : 512;
        for (size_t i = 0; i < n; i++) {
            hex[2 * i] = "0123456789abcdef"[from[i] >> 4];
            hex[2 * i + 1] = "0123456789abcdef"[from[i] & 15];
        }
        put(hex, 2 * n);
        from += n;
        n_bytes -= n;
    }
    put("\n", 1);
}

/* --- the calls --- */

static int open_at(int folder, const char *name, int flags, mode_t mode) {
    int cut = 0;
    if (hit(CALL_FAIL_FILES, 0, &cut)) {
        return -1;
    }
    const int was_there = trace >= 0 && syscall(SYS_faccessat, folder, name, F_OK) == 0;
    const long fd = syscall(SYS_openat, folder, name, flags, mode);
    if (fd < 0) {
        return -1;
    }
    if (trace >= 0 && (flags & O_CREAT) != 0 && !was_there) {
        note("create", folder, name, -1);
    }
    if (trace >= 0 && (flags & O_TRUNC) != 0) {
        note("truncate", folder, name, 0);
    }
    return (int)fd;
}

#define TAKE_MODE(flags, mode)                                                                               \
    mode_t mode = 0;                                                                                         \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                                            \
        va_list args;                                                                                        \
        va_start(args, flags);                                                                               \
        mode = va_arg(args, mode_t);                                                                         \
        va_end(args);                                                                                        \
    }

int open(const char *name, int flags, ...) {
    TAKE_MODE(flags, mode)
    return open_at(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    TAKE_MODE(flags, mode)
    return open_at(AT_FDCWD, name, flags, mode);
}

int openat(int folder, const char *name, int flags, ...) {
    TAKE_MODE(flags, mode)
    return open_at(folder, name, flags, mode);
}

int openat64(int folder, const char *name, int flags, ...) {
    TAKE_MODE(flags, mode)
    return open_at(folder, name, flags, mode);
}

int creat(const char *name, mode_t mode) {
    return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* offset -1: at the file's position. */
static ssize_t write_at(int fd, const void *bytes, size_t n_bytes, long offset) {
    int cut = 0;
    if (hit(CALL_FAIL_FILES, 1, &cut)) {
        return -1;
    }
    const size_t n = cut && n_bytes > 1 ? n_bytes / 2 : n_bytes;
    const long at = offset >= 0 ? offset : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    const long done =
        offset >= 0 ? syscall(SYS_pwrite64, fd, bytes, n, offset) : syscall(SYS_write, fd, bytes, n);
    if (cut && armed.how == CALL_FAIL_CUT) {
        die();
    }
    if (done > 0) {
        note_write(fd, bytes, (size_t)done, at);
    }
    return done;
}

ssize_t write(int fd, const void *bytes, size_t n_bytes) {
    return write_at(fd, bytes, n_bytes, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t n_bytes, off_t offset) {
    return write_at(fd, bytes, n_bytes, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n_bytes, off64_t offset) {
    return write_at(fd, bytes, n_bytes, offset);
}

/* A call that either happens or fails: returns what the system says, then notes it. */
#define CALL_OR_FAIL(note_it, ...)                                                                           \
    int cut = 0;                                                                                             \
    if (hit(CALL_FAIL_FILES, 0, &cut)) {                                                                     \
        return -1;                                                                                           \
    }                                                                                                        \
    const long result = syscall(__VA_ARGS__);                                                                \
    if (result == 0) {                                                                                       \
        note_it;                                                                                             \
    }                                                                                                        \
    return (int)result

int ftruncate(int fd, off_t n_bytes) {
    CALL_OR_FAIL(note("truncate", fd, NULL, n_bytes), SYS_ftruncate, fd, n_bytes);
}

int ftruncate64(int fd, off64_t n_bytes) {
    CALL_OR_FAIL(note("truncate", fd, NULL, n_bytes), SYS_ftruncate, fd, n_bytes);
}

int fsync(int fd) {
    CALL_OR_FAIL(note("sync", fd, NULL, -1), SYS_fsync, fd);
}

int fdatasync(int fd) {
    CALL_OR_FAIL(note("sync", fd, NULL, -1), SYS_fdatasync, fd);
}

/* A close that fails has closed all the same, as on Linux. */
int close(int fd) {
    int cut = 0;
    const int fails = hit(CALL_FAIL_FILES, 0, &cut), why = errno;
    const long result = syscall(SYS_close, fd);
    if (fails) {
        errno = why;
        return -1;
    }
    return (int)result;
}

static void note_rename(int from_folder, const char *from, int to_folder, const char *to) {
    char line[2 * PATH_MAX + 16], old[PATH_MAX], new[PATH_MAX];
    if (trace >= 0) {
        path_at(from_folder, from, old);
        path_at(to_folder, to, new);
        put(line, (size_t)snprintf(line, sizeof line, "rename %s %s\n", old, new));
    }
}

int rename(const char *from, const char *to) {
    CALL_OR_FAIL(note_rename(AT_FDCWD, from, AT_FDCWD, to), SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    CALL_OR_FAIL(note_rename(from_folder, from, to_folder, to), SYS_renameat2, from_folder, from, to_folder,
                 to, 0);
}

int unlink(const char *name) {
    CALL_OR_FAIL(note("unlink", AT_FDCWD, name, -1), SYS_unlinkat, AT_FDCWD, name, 0);
}

int unlinkat(int folder, const char *name, int flags) {
    CALL_OR_FAIL(note(flags != 0 ? "rmdir" : "unlink", folder, name, -1), SYS_unlinkat, folder, name, flags);
}

int rmdir(const char *name) {
    CALL_OR_FAIL(note("rmdir", AT_FDCWD, name, -1), SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR);
}

int mkdir(const char *name, mode_t mode) {
    CALL_OR_FAIL(note("mkdir", AT_FDCWD, name, -1), SYS_mkdirat, AT_FDCWD, name, mode);
}

int mkdirat(int folder, const char *name, mode_t mode) {
    CALL_OR_FAIL(note("mkdir", folder, name, -1), SYS_mkdirat, folder, name, mode);
}

void *malloc(size_t n_bytes) {
    int cut = 0;
    return hit(kind_of_caller(__builtin_return_address(0)), 0, &cut) ? NULL : __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t n_bytes) {
    int cut = 0;
    return hit(kind_of_caller(__builtin_return_address(0)), 0, &cut) ? NULL : __libc_calloc(n, n_bytes);
}

void *realloc(void *memory, size_t n_bytes) {
    int cut = 0;
    return hit(kind_of_caller(__builtin_return_address(0)), 0, &cut) ? NULL : __libc_realloc(memory, n_bytes);
}

/* --- for programs that do not know of this --- */

static long number_in(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtol(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void arm_from_environment(void) {
    static const char *const names[] = {[CALL_FAIL_ONCE] = "fail:",
                                        [CALL_FAIL_ALWAYS] = "always:",
                                        [CALL_FAIL_SHORT] = "short:",
                                        [CALL_FAIL_KILL] = "kill:",
                                        [CALL_FAIL_CUT] = "cut:"};
    const char *text = getenv("CALL_FAIL");
    for (int how = CALL_FAIL_ONCE; text != NULL && how <= CALL_FAIL_CUT; how++) {
        const size_t n = strlen(names[how]);
        if (strncmp(text, names[how], n) == 0) {
            call_fail_arm((call_fail_how)how, (unsigned)number_in("CALL_FAIL_KINDS", CALL_FAIL_FILES),
                          strtol(text + n, NULL, 10), (int)number_in("CALL_FAIL_ERRNO", ENOSPC));
        }
    }
}
