/* Signals set a flag; the trainer asks between steps. A second signal asks for the end without a checkpoint;
 * a third SIGINT or SIGTERM ends the process at once, for it may be stuck where nobody asks. */
#ifndef DLTRAIN_LAUNCHER_SIGNALS_H
#define DLTRAIN_LAUNCHER_SIGNALS_H

#include "base/status.h"

#include <semaphore.h>
#include <stdatomic.h>

/* What would have raised it is an error of that call instead. */
DL_NODISCARD dl_status dl_signals_ignore(int number);

/* Catches SIGINT, SIGTERM, SIGUSR1, SIGUSR2; ignores SIGXFSZ and SIGPIPE. */
DL_NODISCARD dl_status dl_signals_install(void);

/* Number of the first signal received, 0 when none; with DL_STOP_UNSAVED (train/trainer.h) after the second.
 */
int dl_signals_pending(void);

/* Training stops, for a signal to some rank: one to this rank is the second from now on, but for copies of
 * the first. */
void dl_signals_note_stop(void);

/* Set by the second signal. */
const atomic_bool *dl_signals_insist(void);

/* The first signal is posted there; NULL: nowhere. The listener is borrowed. */
void dl_signals_tell(sem_t *listener);

#endif
