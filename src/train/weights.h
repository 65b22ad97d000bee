/* weights.h5: `/LAYER/TENSOR` float32 in PyTorch's layouts, and their hash.
 *
 * Root attributes: format_version (int, 1), name (text: the model's), step (int). Not collective: rank 0
 * writes. */
#ifndef DLTRAIN_TRAIN_WEIGHTS_H
#define DLTRAIN_TRAIN_WEIGHTS_H

#include "base/digest.h"
#include "model/parameter.h"

enum { DL_WEIGHTS_FORMAT_VERSION = 1, DL_WEIGHTS_NAME_BYTES = 128 };

/* XXH3-128 over the tensors' bytes in bytewise order of their paths, from the arenas. */
DL_NODISCARD dl_status dl_weights_hash(const dl_parameter_table *table, const dl_host_arenas *arenas,
                                       char out[DL_DIGEST_TEXT_BYTES]);

/* The same from a file: all its float32 datasets. DL_ERR_DATA for a dataset of another type. */
DL_NODISCARD dl_status dl_weights_hash_file(const char *path, char out[DL_DIGEST_TEXT_BYTES]);

/* Writes all parameters; the file is replaced whole or not at all. */
DL_NODISCARD dl_status dl_weights_write(const char *path, const dl_parameter_table *table, const char *name,
                                        int64_t step, const dl_host_arenas *arenas);

typedef struct dl_weights_info {
    char name[DL_WEIGHTS_NAME_BYTES]; /* "" when the file has none */
    int64_t step;                     /* 0 when the file has none */
} dl_weights_info;

/* Fills the arenas from a file: every parameter of the table must be there with its shape, and nothing else.
 * DL_ERR_USAGE lists tensors that are missing or too many (with the nearest name) or names file, tensor and
 * both shapes; DL_ERR_DATA for another element type. The arenas are written only when everything fits. `info`
 * may be NULL. */
DL_NODISCARD dl_status dl_weights_read(const char *path, const dl_parameter_table *table,
                                       const dl_host_arenas *arenas, dl_weights_info *info);

#endif
