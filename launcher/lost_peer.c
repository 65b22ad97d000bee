#define _GNU_SOURCE
#include "launcher/lost_peer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { ORDERLY_END_MICROSECONDS = 150000 };

static dl_comm *volatile watched;
static const dl_runtime *runtime_watched;

/* A short line of numbers and a short name: snprintf takes no lock and no memory for that. */
static void tell(int rank, int process) {
    char line[256];
    const int n = snprintf(line, sizeof line, "dltrain: [rank %d, %s] error: " DL_LOST_PEER_MESSAGE "\n",
                           watched->rank, runtime_watched->host, rank, process);
    if (n > 0 && (size_t)n < sizeof line) {
        const ssize_t ignored = write(STDERR_FILENO, line, (size_t)n);
        (void)ignored;
    }
}

static void on_alarm(int number) {
    (void)number;
    int process = 0;
    const int lost = watched != NULL ? watched->functions->lost_peer(watched, &process) : -1;
    if (lost >= 0) {
        if (watched->functions->claim(watched)) {
            tell(lost, process);
        }
        _exit(DL_ERR_PEER);
    }
}

static void on_continue(int number) {
    (void)number;
    const int kept = errno;
    int process = 0;
    if (watched != NULL && watched->functions->lost_peer(watched, &process) >= 0) {
        const struct itimerval soon = {.it_value = {.tv_usec = ORDERLY_END_MICROSECONDS}};
        (void)setitimer(ITIMER_REAL, &soon, NULL);
    }
    errno = kept;
}

dl_status dl_lost_peer_watch(const dl_runtime *runtime) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    DL_RETURN_ERROR_IF(sigaction(SIGALRM, &action, NULL) != 0, DL_ERR_INTERNAL, "cannot catch SIGALRM: %s",
                       strerror(errno));
    action.sa_handler = on_continue;
    DL_RETURN_ERROR_IF(sigaction(SIGCONT, &action, NULL) != 0, DL_ERR_INTERNAL, "cannot catch SIGCONT: %s",
                       strerror(errno));
    runtime_watched = runtime;
    watched = runtime->world;
    return DL_OK;
}

void dl_lost_peer_ignore(void) {
    watched = NULL;
}
