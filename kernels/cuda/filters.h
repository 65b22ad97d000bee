/* Copies of convolution weights as cuDNN's kernels read them, and operations without samples. */
#ifndef DLTRAIN_KERNELS_CUDA_FILTERS_H
#define DLTRAIN_KERNELS_CUDA_FILTERS_H

#include "kernels/cuda/cuda.h"

/* The layout [k, r, s, c] of weights [k, c, r, s]; NULL where that is how plain ones lie already (one cell,
 * or one channel). */
DL_NODISCARD dl_status dl_cuda_weights_layout(const dl_tensor_desc *weights, const dl_layout **out);

/* The operation of a rank without samples: outputs that sum over samples are zeroed, the others have no
 * bytes.
 */
DL_NODISCARD dl_status dl_cuda_prepare_empty(dl_device *device, const dl_op_desc *desc, dl_op **out);

#endif
