#define _GNU_SOURCE
#include "launcher/signals.h"

#include "base/clock.h"
#include "train/trainer.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* timeout(1) sends its signal to the process and then to the group of processes, that is twice. */
#define SAME_REQUEST_SECONDS 0.05

/* One signal for all ranks, forwarded by mpirun or Slurm, has reached all of them so much after the first
 * stops. */
#define SPREAD_SECONDS 1.0

static volatile sig_atomic_t pending, stops;
static volatile double stops_since; /* valid when `stops` */
static atomic_bool insists;
static sem_t *_Atomic told;
static double counted_at; /* the handler's alone: it blocks the other signals */

static void on_signal(int number) {
    const double now = dl_clock_seconds();
    if (pending == number && now - counted_at < SAME_REQUEST_SECONDS) {
        return;
    }
    counted_at = now;
    if (pending == 0) {
        pending = number;
        sem_t *listener = atomic_load(&told);
        if (listener != NULL) {
            (void)sem_post(listener);
        }
        if (stops == 0 || now - stops_since < SPREAD_SECONDS) {
            return;
        }
    }
    if (!atomic_load(&insists)) {
        atomic_store(&insists, true);
    } else if (number == SIGINT || number == SIGTERM) {
        _exit(128 + number);
    }
}

dl_status dl_signals_ignore(int number) {
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    DL_RETURN_ERROR_IF(sigaction(number, &ignore, NULL) != 0, DL_ERR_INTERNAL, "cannot ignore signal %d: %s",
                       number, strerror(errno));
    return DL_OK;
}

dl_status dl_signals_install(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)sigaddset(&action.sa_mask, numbers[i]);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        DL_RETURN_ERROR_IF(sigaction(numbers[i], &action, NULL) != 0, DL_ERR_INTERNAL,
                           "cannot catch signal %d: %s", numbers[i], strerror(errno));
    }
    /* A write beyond the limit of a file's size is then an error, which is told. */
    DL_RETURN_IF_ERROR(dl_signals_ignore(SIGXFSZ));
    return dl_signals_ignore(SIGPIPE); /* the console falls silent, the training goes on */
}

void dl_signals_note_stop(void) {
    if (stops == 0) {
        stops_since = dl_clock_seconds();
        stops = 1;
    }
}

int dl_signals_pending(void) {
    const int number = pending;
    return number != 0 && atomic_load(&insists) ? number + DL_STOP_UNSAVED : number;
}

const atomic_bool *dl_signals_insist(void) {
    return &insists;
}

void dl_signals_tell(sem_t *listener) {
    atomic_store(&told, listener);
}
