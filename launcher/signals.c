#define _GNU_SOURCE
#include "launcher/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t pending;

/* The first signal asks, the second INT or TERM insists: the program may be stuck where nobody asks. */
static void on_signal(int number) {
    if (pending != 0 && (number == SIGINT || number == SIGTERM)) {
        _exit(128 + number);
    }
    if (pending == 0) {
        pending = number;
    }
}

dl_status dl_signals_install(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        DL_RETURN_ERROR_IF(sigaction(numbers[i], &action, NULL) != 0, DL_ERR_INTERNAL,
                           "cannot catch signal %d: %s", numbers[i], strerror(errno));
    }
    /* A write beyond the limit of a file's size is then an error, which is told. */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    DL_RETURN_ERROR_IF(sigaction(SIGXFSZ, &ignore, NULL) != 0, DL_ERR_INTERNAL, "cannot ignore signal %d: %s",
                       SIGXFSZ, strerror(errno));
    return DL_OK;
}

int dl_signals_pending(void) {
    return pending;
}
