/* Does a person watch stdout? */
#ifndef DLTRAIN_LAUNCHER_TERMINAL_H
#define DLTRAIN_LAUNCHER_TERMINAL_H

#include <stdbool.h>

/* Whether what this process prints ends on a terminal. mpirun gives every rank a pseudo terminal, wherever its own
 * output goes: under it, its own stdout decides. */
bool dl_stdout_is_watched(void);

#endif
