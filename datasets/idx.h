/* IDX, the format of the MNIST family: two zero bytes, element type, number of dimensions, the dimensions as
 * big-endian 32-bit numbers, then the elements. Plain or gzip'd, told apart by content. */
#ifndef DLTRAIN_DATASETS_IDX_H
#define DLTRAIN_DATASETS_IDX_H

#include "base/tensor.h"

typedef struct dl_idx dl_idx;

/* Opens a file of uint8 elements and checks its header: dimensions are multiplied with care and held against
 * the size of the file. DL_ERR_USAGE when there is no such file, DL_ERR_DATA names file, what was found and
 * what is expected. Release with dl_idx_close. */
DL_NODISCARD dl_status dl_idx_open(const char *path, dl_idx **out);
void dl_idx_close(dl_idx **idx);

const dl_shape *dl_idx_shape(const dl_idx *idx);

/* Reads the next n_bytes elements. DL_ERR_DATA when the file ends before or is damaged. */
DL_NODISCARD dl_status dl_idx_read(dl_idx *idx, void *out, size_t n_bytes);

/* After the last element: DL_ERR_DATA when something follows, or when the checksum of a gzip'd file is wrong.
 */
DL_NODISCARD dl_status dl_idx_expect_end(dl_idx *idx);

#endif
