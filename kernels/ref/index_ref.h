/* How max pooling keeps which cell of its window won: the cell's number in row-major order, one byte each for
 * windows up to 256 cells (the plain layout of the slot), four bytes for larger ones (a layout of its own).
 */
#ifndef DLTRAIN_KERNELS_REF_INDEX_REF_H
#define DLTRAIN_KERNELS_REF_INDEX_REF_H

#include "kernels/op.h"

typedef struct dl_index_layout dl_index_layout;

/* The wide layouts a device has handed out: one object per size. Zero-initialised is empty. */
typedef struct dl_index_layouts {
    dl_index_layout *first;
} dl_index_layouts;

/* Whether a pooling kind keeps four bytes per cell. */
bool dl_index_is_wide(const dl_op_desc *desc);

/* The layout of slot i, the index, of a pooling kind; *out is NULL for the plain one. */
DL_NODISCARD dl_status dl_index_layout_for(dl_index_layouts *layouts, const dl_op_desc *desc, int i,
                                           const dl_layout **out);

/* The same layout for another number of samples; NULL when memory is short or `layout` is plain. */
const dl_layout *dl_index_layout_with_samples(dl_index_layouts *layouts, const dl_layout *layout,
                                              int64_t n_samples);

void dl_index_layouts_free(dl_index_layouts *layouts);

#endif
