/* Opens any bytes as a .npy file and reads it to its end. */
#define _GNU_SOURCE
#include "datasets/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* What was accepted is there, every element of it. */
static void read_to_end(dl_npy *npy) {
    static char block[65536];
    const dl_npy_info *info = dl_npy_info_of(npy);
    const int64_t room = (int64_t)(sizeof block / dl_dtype_bytes(info->dtype));
    for (int64_t left = dl_shape_elements(&info->shape); left > 0; left -= room) {
        if (dl_npy_read(npy, left < room ? left : room, block) != DL_OK) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    char path[64];
    const int fd = memfd_create("npy", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, n_bytes) != (ssize_t)n_bytes) {
        abort();
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    dl_npy *npy = NULL;
    if (dl_npy_open(path, &npy) == DL_OK) {
        read_to_end(npy);
    }
    dl_npy_close(&npy);
    (void)close(fd);
    return 0;
}
