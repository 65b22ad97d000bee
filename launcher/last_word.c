#define _GNU_SOURCE
#include "launcher/last_word.h"

#include "base/mem.h"
#include "base/thread.h"
#include "launcher/lost_peer.h"
#include "launcher/signals.h"
#include "train/trainer.h"

#include <errno.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* mpirun kills a second after its SIGTERM; the file needs some hundredths of one, more on a busy disk. */
enum { PATIENCE_NANOSECONDS = 500000000 };

struct dl_last_word {
    dl_run_status *status;
    sem_t arrived; /* a signal */
    sem_t over;
    pthread_t thread;
};

static void wait_for(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0 && errno == EINTR) {
    }
}

/* Has the job come to its end within the time that mpirun leaves it for sure? */
static bool ends_in_time(dl_last_word *word) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_NANOSECONDS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int failed = 0;
    while ((failed = sem_clockwait(&word->over, CLOCK_MONOTONIC, &until)) != 0 && errno == EINTR) {
    }
    return failed == 0;
}

static void *watch(void *context) {
    dl_last_word *word = context;
    wait_for(&word->arrived);
    const int number = dl_signals_pending() % DL_STOP_UNSAVED;
    if (number != 0 && !ends_in_time(word) && dl_lost_peer_was_ended()) {
        char message[160];
        (void)snprintf(
            message, sizeof message,
            "signal %d (%s) came amid a step or an evaluation that did not end in time; the newest "
            "checkpoint stands",
            number, strsignal(number));
        const dl_status ignored = dl_run_status_write_ahead(word->status, (int)DL_INTERRUPTED, message);
        (void)ignored; /* nobody is left to hear of it */
    }
    return NULL;
}

dl_status dl_last_word_create(dl_run_status *status, dl_last_word **out) {
    *out = NULL;
    dl_last_word *word = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *word, &word));
    word->status = status;
    (void)sem_init(&word->arrived, 0, 0);
    (void)sem_init(&word->over, 0, 0);
    const dl_status started = dl_thread_start(&word->thread, watch, word);
    if (started != DL_OK) {
        dl_free(&word);
        return started;
    }
    dl_signals_tell(&word->arrived);
    if (dl_signals_pending() != 0) { /* since before that */
        (void)sem_post(&word->arrived);
    }
    *out = word;
    return DL_OK;
}

void dl_last_word_destroy(dl_last_word **word) {
    if (*word == NULL) {
        return;
    }
    dl_signals_tell(NULL);
    (void)sem_post(&(*word)->over);
    (void)sem_post(&(*word)->arrived);
    (void)pthread_join((*word)->thread, NULL);
    (void)sem_destroy(&(*word)->arrived);
    (void)sem_destroy(&(*word)->over);
    dl_free(word);
}
