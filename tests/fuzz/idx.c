/* Opens any bytes as an IDX file and reads it to its end. */
#define _GNU_SOURCE
#include "datasets/idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static dl_status read_to_end(dl_idx *idx) {
    static char block[65536];
    int64_t left = 1;
    for (int i = 0; i < dl_idx_shape(idx)->n_dims; i++) {
        left *= dl_idx_shape(idx)->dim[i];
    }
    while (left > 0) {
        const int64_t n = left < (int64_t)sizeof block ? left : (int64_t)sizeof block;
        DL_RETURN_IF_ERROR(dl_idx_read(idx, block, (size_t)n));
        left -= n;
    }
    return dl_idx_expect_end(idx);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    char path[64];
    const int fd = memfd_create("idx", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, n_bytes) != (ssize_t)n_bytes) {
        abort();
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    dl_idx *idx = NULL;
    if (dl_idx_open(path, &idx) == DL_OK) {
        (void)read_to_end(idx);
    }
    dl_idx_close(&idx);
    (void)close(fd);
    return 0;
}
