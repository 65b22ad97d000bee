/* Layouts that this backend has beside the plain one. Those of one kind and size are one pointer and live as
 * long as the process. */
#ifndef DLTRAIN_KERNELS_CUDA_LAYOUTS_H
#define DLTRAIN_KERNELS_CUDA_LAYOUTS_H

#include "kernels/op.h"

typedef enum dl_cuda_layout {
    DL_CUDA_KRSC,    /* weights of convolutions, [k, r, s, c] (filters.h) */
    DL_CUDA_RESERVE, /* what cuDNN keeps of an LSTM layer for the way back (rnn.h) */
    DL_CUDA_N_LAYOUTS
} dl_cuda_layout;

DL_NODISCARD dl_status dl_cuda_layout_of(dl_cuda_layout kind, size_t n_bytes, const dl_layout **out);

/* Is it one of this kind? NULL is none. */
bool dl_cuda_is_layout(const dl_layout *layout, dl_cuda_layout kind);

/* Has a slot a layout that is none of ours? &dl_layout_any is no layout yet. */
bool dl_cuda_has_foreign_layout(const dl_op_desc *desc);

/* Has a slot any layout but the plain one? */
bool dl_cuda_has_layout(const dl_op_desc *desc);

#endif
