/* Keeps oneDNN's small C++ objects off the heap while a step runs (see the source). */
#ifndef DLTRAIN_KERNELS_CPU_SMALL_BLOCKS_H
#define DLTRAIN_KERNELS_CPU_SMALL_BLOCKS_H

#include <stdbool.h>

/* Whether it is built in: not under sanitizers. Calling it links it. */
bool dl_small_blocks_in_use(void);

/* Makes sure that executions find free blocks of every size, whatever prepared operations keep: called after
 * each preparation. 33 KB at most the first time. */
void dl_small_blocks_top_up(void);

#endif
