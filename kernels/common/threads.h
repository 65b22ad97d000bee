/* How elements are spread over the threads of a GPU. Host and device both include this; the tests call it. */
#ifndef DLTRAIN_KERNELS_COMMON_THREADS_H
#define DLTRAIN_KERNELS_COMMON_THREADS_H

#include "kernels/common/pointwise.h"

#include <stdint.h>

/* Threads of a block, and so many blocks that the largest GPU (132 to 160 multiprocessors of 2048 threads) is
 * full: beyond that a thread takes several elements, a whole grid apart (a grid-stride loop). */
enum { DL_GRID_THREADS = 256, DL_GRID_MAX_BLOCKS = 2048 };

/* Blocks for n items, one thread each; 0 for none: then nothing is to be launched. */
DL_SHARED unsigned dl_grid_blocks(int64_t n) {
    const int64_t blocks = (n + DL_GRID_THREADS - 1) / DL_GRID_THREADS, most = DL_GRID_MAX_BLOCKS;
    return (unsigned)(blocks < most ? blocks : most);
}

/* Blocks for n items (rows), a block each as far as there are so many: short blocks, so that more of them may
 * wait. */
DL_SHARED unsigned dl_grid_block_per_item(int64_t n) {
    const int64_t most = 16 * DL_GRID_MAX_BLOCKS;
    return (unsigned)(n < most ? n : most);
}

#endif
