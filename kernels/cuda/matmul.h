/* Products of matrices by cuBLASLt, each planned once: the algorithm is the first of its heuristics', the
 * workspace is known then. */
#ifndef DLTRAIN_KERNELS_CUDA_MATMUL_H
#define DLTRAIN_KERNELS_CUDA_MATMUL_H

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/matmul_shape.h"

/* What the product does besides; bias and its gradient are of out's type. */
typedef enum dl_matmul_epilogue {
    DL_MATMUL_PLAIN,
    DL_MATMUL_RELU,
    DL_MATMUL_BIAS,          /* adds a value to each column of out */
    DL_MATMUL_BIAS_RELU,     /* and then relu */
    DL_MATMUL_BIAS_GRADIENT, /* the sums of left's rows (left is transposed): a value for each row of out */
} dl_matmul_epilogue;

typedef struct dl_matmul dl_matmul;

/* Plans a product. *out is NULL, with DL_OK, where cuBLASLt has no algorithm with this epilogue, and
 * DL_ERR_INTERNAL where it has none at all (PLAIN). Release with dl_matmul_destroy. */
DL_NODISCARD dl_status dl_matmul_create(dl_device *device, const dl_matmul_shape *shape,
                                        dl_matmul_epilogue epilogue, dl_matmul **out);
void dl_matmul_destroy(dl_matmul **matmul);
size_t dl_matmul_workspace(const dl_matmul *matmul);

/* Where a product's matrices lie; `bias` is the gradient's place, too. With `add`, what out holds is added
 * to.
 */
typedef struct dl_matmul_call {
    const void *left, *right;
    void *out, *bias, *workspace;
    bool add;
} dl_matmul_call;

/* Enqueues it. */
DL_NODISCARD dl_status dl_matmul_run(const dl_matmul *matmul, const dl_matmul_call *call,
                                     cudaStream_t stream);

#endif
