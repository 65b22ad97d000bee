/* Preloaded (LD_PRELOAD) into the program: a signal, or a failure, at a place in the run instead of a time.
 *
 * SIGNAL_AT="NUMBER:RANK:TEXT": when rank RANK has written bytes that hold TEXT, to any file, it gets the
 * signal NUMBER, once. A NUMBER below zero: just before. 0: there is no room for any such bytes (ENOSPC).
 * 1000: the disk keeps other bytes, and nobody says so. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DAMAGE = 1000 };

static struct {
    int number, before;
    const char *text; /* NULL: nothing to do, here or any more */
} at;

__attribute__((constructor)) static void read_environment(void) {
    const char *wanted = getenv("SIGNAL_AT"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    int number = 0, of_rank = 0, n_read = 0;
    if (wanted == NULL || sscanf(wanted, "%d:%d:%n", &number, &of_rank, &n_read) != 2 || n_read == 0 ||
        of_rank != (rank == NULL ? 0 : atoi(rank))) {
        return;
    }
    at.before = number < 0;
    at.number = at.before ? -number : number;
    at.text = wanted + n_read;
}

static void send_signal(void) {
    at.text = NULL;
    (void)raise(at.number);
}

/* One byte of the text is not what was written. */
static void damage(int fd, const char *bytes, size_t n_bytes, off_t offset) {
    const char *text = memmem(bytes, n_bytes, at.text, strlen(at.text));
    const char other = (char)(text[0] ^ 0x10);
    if (offset >= 0) {
        (void)syscall(SYS_pwrite64, fd, &other, (size_t)1, offset + (text - bytes));
    }
}

/* offset < 0: where the file stands. */
static ssize_t write_bytes(int fd, const void *bytes, size_t n_bytes, off_t offset) {
    const char *text = at.text;
    const int is_there = text != NULL && memmem(bytes, n_bytes, text, strlen(text)) != NULL;
    if (is_there && at.number == 0) {
        errno = ENOSPC;
        return -1;
    }
    if (is_there && at.before) {
        send_signal();
    }
    const ssize_t n = offset < 0 ? syscall(SYS_write, fd, bytes, n_bytes)
                                 : syscall(SYS_pwrite64, fd, bytes, n_bytes, offset);
    if (is_there && at.number == DAMAGE) {
        damage(fd, bytes, n_bytes, offset);
    } else if (is_there && !at.before) {
        send_signal();
    }
    return n;
}

ssize_t write(int fd, const void *bytes, size_t n_bytes) {
    return write_bytes(fd, bytes, n_bytes, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t n_bytes, off_t offset) {
    return write_bytes(fd, bytes, n_bytes, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n_bytes, off64_t offset) {
    return write_bytes(fd, bytes, n_bytes, offset);
}
