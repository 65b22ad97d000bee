#define _DEFAULT_SOURCE
#include "kernels/ref/strict.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const int protections[] = {
    [DL_STRICT_NONE] = PROT_NONE,
    [DL_STRICT_READ] = PROT_READ,
    [DL_STRICT_WRITE] = PROT_READ | PROT_WRITE,
};

dl_status dl_strict_protect(const dl_strict_range *ranges, int n_ranges) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < n_ranges; i++) {
        const dl_strict_range *range = &ranges[i];
        if (range->n_bytes == 0) {
            continue;
        }
        DL_RETURN_ERROR_IF((uintptr_t)range->address % page != 0, DL_ERR_INTERNAL,
                           "range %d at %p does not start on a page", i, range->address);
        const size_t n_bytes = dl_round_up(range->n_bytes, page);
        DL_RETURN_ERROR_IF(mprotect(range->address, n_bytes, protections[range->access]) != 0,
                           DL_ERR_INTERNAL, "mprotect of %zu bytes at %p: %s", n_bytes, range->address,
                           strerror(errno));
    }
    return DL_OK;
}

void dl_strict_poison(void *address, size_t n_bytes) {
    const uint32_t poison = DL_STRICT_POISON;
    unsigned char *bytes = address;
    const size_t whole = n_bytes / sizeof poison * sizeof poison;
    for (size_t i = 0; i < whole; i += sizeof poison) {
        memcpy(bytes + i, &poison, sizeof poison);
    }
    memcpy(bytes + whole, &poison, n_bytes - whole);
}
