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

static bool change(const char *file_name, const char *object, const char *name, int64_t value) {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    const hid_t file =
        access >= 0 && H5Pset_fapl_stdio(access) >= 0 ? H5Fopen(file_name, H5F_ACC_RDWR, access) : -1;
    const hid_t id = file >= 0 ? H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT) : -1;
    const bool good = id >= 0 && H5Awrite(id, H5T_NATIVE_INT64, &value) >= 0;
    dl_h5_close_id(id);
    dl_h5_close_id(access);
    const bool closed = file >= 0 && H5Fclose(file) >= 0;
    return good && closed;
}

dl_status dl_h5_writer_change_int(const dl_h5_writer *writer, const char *object, const char *name,
                                  int64_t value) {
    char reason[DL_H5_REASON_BYTES] = "";
    dl_h5_lock();
    const bool good = change(writer->temporary, object, name, value);
    if (!good) {
        (void)dl_h5_reason(reason);
    }
    dl_h5_unlock();
    DL_RETURN_ERROR_IF(!good, DL_ERR_IO, "cannot lay %s out in memory: %s", writer->path, reason);
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
