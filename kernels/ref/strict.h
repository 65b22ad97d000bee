/* Fences for ref:strict: a CPU with a GPU's manners. The executor puts every slot on pages of its own, opens
 * for each instruction what it declares, and closes all else; a read or write that was not declared crashes.
 */
#ifndef DLTRAIN_KERNELS_REF_STRICT_H
#define DLTRAIN_KERNELS_REF_STRICT_H

#include "base/status.h"

#include <stdint.h>

/* What dead memory is filled with: a signalling NaN as float32, above 1e300 as float64. */
#define DL_STRICT_POISON UINT32_C(0x7fa5a5a5)

typedef enum dl_strict_access {
    DL_STRICT_NONE,
    DL_STRICT_READ,
    DL_STRICT_WRITE /* and read */
} dl_strict_access;

/* Whole pages: `address` is a multiple of the page size, n_bytes is rounded up to one. */
typedef struct dl_strict_range {
    void *address;
    size_t n_bytes;
    dl_strict_access access;
} dl_strict_range;

/* Gives each range its access, in order: a later range overrides an earlier one where they overlap. Empty
 * ranges are skipped. DL_ERR_INTERNAL for an address inside a page or memory that is not mapped. */
DL_NODISCARD dl_status dl_strict_protect(const dl_strict_range *ranges, int n_ranges);

/* Fills writable memory with DL_STRICT_POISON; a rest of fewer than four bytes gets its first bytes. */
void dl_strict_poison(void *address, size_t n_bytes);

#endif
