#define _GNU_SOURCE
#include "launcher/lost_peer.h"

#include "base/clock.h"
#include "launcher/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { ORDERLY_END_MICROSECONDS = 150000 };
static const double end_seconds = 4; /* of mpirun's, on a slow machine */

static dl_comm *volatile watched;
static const dl_runtime *runtime_watched;
static _Atomic double continued_at; /* with all ranks of this host there; 0: never */

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

/* A shell's SIGCONT comes without SIGTERM. */
bool dl_lost_peer_was_ended(void) {
    const double at = atomic_load(&continued_at);
    return at > 0 && dl_clock_seconds() - at < end_seconds && dl_signals_pending() != 0;
}

static void on_alarm(int number) {
    (void)number;
    int process = 0;
    const int lost = watched != NULL ? watched->functions->lost_peer(watched, &process) : -1;
    if (lost >= 0) {
        if (!dl_lost_peer_was_ended() && watched->functions->claim(watched)) {
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
    } else {
        atomic_store(&continued_at, dl_clock_seconds());
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
