/* Keeps oneDNN's small C++ objects off the heap while a step runs (see the source). */
#ifndef DLTRAIN_KERNELS_CPU_SMALL_BLOCKS_H
#define DLTRAIN_KERNELS_CPU_SMALL_BLOCKS_H

#include <stdbool.h>

/* Whether it is built in: not under sanitizers. Calling it links it. */
bool dl_small_blocks_in_use(void);

#endif
