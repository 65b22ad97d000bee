/* Boxes of tensors: what two share, and whether some make up a whole. */
#define _GNU_SOURCE
#include "train/checkpoint/checkpoint_private.h"

#include <inttypes.h>

bool dl_checkpoint_intersect(const int64_t *offset_a, const dl_shape *a, const int64_t *offset_b,
                             const dl_shape *b, int64_t *offset, dl_shape *shape) {
    shape->n_dims = a->n_dims;
    for (int i = 0; i < a->n_dims; i++) {
        const int64_t end_a = offset_a[i] + a->dim[i], end_b = offset_b[i] + b->dim[i];
        const int64_t end = end_a < end_b ? end_a : end_b;
        offset[i] = offset_a[i] > offset_b[i] ? offset_a[i] : offset_b[i];
        if (end <= offset[i]) {
            return false;
        }
        shape->dim[i] = end - offset[i];
    }
    return true;
}

/* Boxes inside a whole that do not overlap, with as many elements as it has, leave no gap. */
dl_status dl_checkpoint_check_cover(const char *path, const dl_checkpoint_entry *entry) {
    int64_t n_elements = 0, offset[DL_MAX_DIMS];
    dl_shape shape;
    for (int i = 0; i < entry->n_pieces; i++) {
        const dl_checkpoint_piece *piece = &entry->piece[i];
        n_elements += dl_shape_elements(&piece->shape); /* at most MAX_SLICES * 2^48 */
        for (int k = 0; k < i; k++) {
            const dl_checkpoint_piece *other = &entry->piece[k];
            DL_RETURN_ERROR_IF(dl_checkpoint_intersect(piece->offset, &piece->shape, other->offset,
                                                       &other->shape, offset, &shape),
                               DL_ERR_CORRUPT, "%s is damaged: slices %d and %d of %s overlap", path, k, i,
                               entry->tensor.name);
        }
    }
    const int64_t wanted = dl_shape_elements(&entry->tensor.shape);
    DL_RETURN_ERROR_IF(n_elements != wanted, DL_ERR_CORRUPT,
                       "%s is damaged: the slices of %s have %" PRId64 " of its %" PRId64 " elements", path,
                       entry->tensor.name, n_elements, wanted);
    return DL_OK;
}
