#define _GNU_SOURCE
#include "launcher/terminal.h"

#include "comm/comm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool dl_stdout_is_watched(void) {
    if (!isatty(STDOUT_FILENO)) {
        return false;
    }
    if (!dl_comm_mpi_launched()) {
        return true;
    }
    char path[64], target[256];
    (void)snprintf(path, sizeof path, "/proc/%ld/fd/1", (long)getppid());
    const ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) {
        return false; /* a remote daemon's child, or another user's: nobody known to watch */
    }
    target[n] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}
