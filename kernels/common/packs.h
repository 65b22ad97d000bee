/* How many neighbouring elements a GPU thread takes at once. Host and device both include this. */
#ifndef DLTRAIN_KERNELS_COMMON_PACKS_H
#define DLTRAIN_KERNELS_COMMON_PACKS_H

#include "kernels/common/pointwise.h"

#include <stddef.h>
#include <stdint.h>

enum { DL_PACK_BYTES = 16 };

/* Elements of a pack of channels, which are side by side in memory: 1 where packs would reach into the next
 * cell. */
DL_SHARED int dl_pack_of_channels(int64_t channels, size_t element_bytes) {
    const int most = (int)(DL_PACK_BYTES / element_bytes);
    return channels % most == 0 ? most : 1;
}

#endif
