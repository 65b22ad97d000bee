/* What the HDF5 files of this folder share. Included by h5*.c only. */
#ifndef DLTRAIN_IO_H5_PRIVATE_H
#define DLTRAIN_IO_H5_PRIVATE_H

#include "io/h5.h"

#include <hdf5.h>
#include <limits.h>

enum { DL_H5_REASON_BYTES = 200, DL_H5_MAX_OPEN = 16 };

/* A dataset kept open for reading rows: its chunk cache lives as long as the handle. */
typedef struct dl_h5_handle {
    char name[128];
    hid_t id;
} dl_h5_handle;

struct dl_h5 {
    char path[PATH_MAX];
    hid_t id;
    int fd;          /* the same file, for what needs no decoding */
    int64_t n_bytes; /* size of the file when it was opened */
    int n_open;
    dl_h5_handle open[DL_H5_MAX_OPEN];
};

/* Takes the lock that admits one thread at a time to libhdf5 and prepares the library for this thread: no
 * exit handler, no plugins, no messages of its own. Nested calls by one thread are fine. */
void dl_h5_lock(void);
void dl_h5_unlock(void);

/* The innermost message of libhdf5's last failure on this thread, into out (DL_H5_REASON_BYTES); returns out.
 */
const char *dl_h5_reason(char *out);

/* Closes any HDF5 identifier; negative ones (never opened) are ignored. */
void dl_h5_close_id(hid_t id);

/* An HDF5 type for a dtype in native byte order; the caller closes it. Negative on failure. */
hid_t dl_h5_type_of(dl_dtype dtype);

/* The dtype of an HDF5 type whatever its byte order; *native tells whether bytes need no swapping. False:
 * none. */
bool dl_h5_dtype_of(hid_t type, dl_dtype *out, bool *native);

/* Follows a path by hard links only. *found false when something on it is missing; DL_ERR_DATA for other
 * links. */
DL_NODISCARD dl_status dl_h5_check_path(const dl_h5 *file, const char *name, bool *found);

/* The parts of dl_h5_describe that texts need as well: refuses layouts that reach outside the file; takes the
 * shape; takes the offset of contiguous data and checks that all of it is in the file. */
DL_NODISCARD dl_status dl_h5_check_storage(const dl_h5 *file, hid_t creation, const char *name);
DL_NODISCARD dl_status dl_h5_take_shape(const dl_h5 *file, hid_t dataset, const char *name, dl_shape *out);
DL_NODISCARD dl_status dl_h5_check_contiguous(const dl_h5 *file, hid_t dataset, bool native,
                                              dl_h5_dataset *out);

/* Whether the heaps with the n texts of varying length of an open dataset are whole: DL_ERR_DATA otherwise
 * (h5_heap.c). */
DL_NODISCARD dl_status dl_h5_check_heaps(const dl_h5 *file, hid_t dataset, const char *name, int64_t n);

/* Describes an open dataset. DL_ERR_DATA for layouts that are refused; *supported false for an element type
 * that is none of ours. */
DL_NODISCARD dl_status dl_h5_describe(const dl_h5 *file, hid_t dataset, const char *name, dl_h5_dataset *out,
                                      bool *supported);

#endif
