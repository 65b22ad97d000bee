/* A layout in memory. libhdf5 reports a full disk badly, and after a failed close it may crash (HDF5 1.10.8);
 * so the file it makes lies in an anonymous file (memfd_create), of which only the pages with metadata take
 * memory. */
#define _GNU_SOURCE
#include "io/h5_writer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

dl_status dl_h5_writer_create_in_memory(const char *path, dl_h5_writer **out) {
    DL_RETURN_IF_ERROR(dl_h5_writer_create(path, out));
    dl_h5_writer *writer = *out;
    writer->in_memory = true;
    writer->fd = memfd_create("dltrain-layout", MFD_CLOEXEC);
    if (writer->fd < 0) {
        const int why = errno;
        dl_h5_writer_destroy(out);
        DL_RETURN_ERROR(why == ENOMEM ? DL_ERR_MEMORY : DL_ERR_IO, "cannot lay %s out in memory: %s", path,
                        strerror(why));
    }
    (void)snprintf(writer->temporary, sizeof writer->temporary, "/proc/self/fd/%d", writer->fd);
    return DL_OK;
}

dl_status dl_h5_writer_size(const dl_h5_writer *writer, int64_t *n_bytes) {
    struct stat info;
    DL_RETURN_ERROR_IF(fstat(writer->fd, &info) != 0, DL_ERR_IO, "cannot lay %s out in memory: %s",
                       writer->path, strerror(errno));
    *n_bytes = (int64_t)info.st_size;
    return DL_OK;
}

int64_t dl_h5_writer_offset(const dl_h5_writer *writer, int index) {
    return writer->dataset[index].dataset.offset;
}

dl_status dl_h5_writer_image(const dl_h5_writer *writer, int64_t first, size_t n_bytes, void *out) {
    char *next = out;
    while (n_bytes > 0) {
        const ssize_t n = pread(writer->fd, next, n_bytes, first);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        DL_RETURN_ERROR_IF(n <= 0, DL_ERR_IO, "cannot read the layout of %s: %s", writer->path,
                           n < 0 ? strerror(errno) : "it is too short");
        next += n;
        first += n;
        n_bytes -= (size_t)n;
    }
    return DL_OK;
}
