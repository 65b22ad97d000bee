/* NumPy's file format .npy, versions 1 to 3 (numpy.lib.format): a magic word, a Python dictionary as text,
 * the elements. The dictionary is read by a strict parser of its own: nothing is evaluated, objects and
 * records are refused. */
#ifndef DLTRAIN_DATASETS_NPY_H
#define DLTRAIN_DATASETS_NPY_H

#include "base/tensor.h"

typedef struct dl_npy dl_npy;

typedef struct dl_npy_info {
    dl_dtype dtype; /* DL_U8, DL_F32, DL_F64, DL_I32, DL_I64 */
    bool big_endian;
    dl_shape shape; /* C order */
} dl_npy_info;

/* Opens a file and holds its header against its size. DL_ERR_USAGE when there is no such file; DL_ERR_DATA
 * names the file, what was found (with its byte, counted from 0) and what is expected. Release with
 * dl_npy_close. */
DL_NODISCARD dl_status dl_npy_open(const char *path, dl_npy **out);
void dl_npy_close(dl_npy **npy);
const dl_npy_info *dl_npy_info_of(const dl_npy *npy);

/* Reads the next n elements, in native byte order. */
DL_NODISCARD dl_status dl_npy_read(dl_npy *npy, int64_t n, void *out);

#endif
