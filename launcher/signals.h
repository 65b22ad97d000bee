/* Signals set a flag; the trainer asks between steps. A second signal ends the process at once. */
#ifndef DLTRAIN_LAUNCHER_SIGNALS_H
#define DLTRAIN_LAUNCHER_SIGNALS_H

#include "base/status.h"

/* Catches SIGINT, SIGTERM, SIGUSR1, SIGUSR2. */
DL_NODISCARD dl_status dl_signals_install(void);

/* Number of the first signal received, 0 when none. Async-signal-safe. */
int dl_signals_pending(void);

#endif
