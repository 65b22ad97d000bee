/* The kernel of the tree sum; C and CUDA. */
#ifndef DLTRAIN_COMM_NCCL_SUM_H
#define DLTRAIN_COMM_NCCL_SUM_H

#include <cuda_runtime_api.h>
#include <stdint.h>

/* As dl_comm_device.sum: leaf[1 .. 15], out and stream as there; `doubles`: float64, else float32. */
#ifdef __cplusplus
extern "C"
#endif
    cudaError_t
    dl_cuda_tree_sum(int doubles, const void *const *leaf, int64_t n_elements, void *out,
                     cudaStream_t stream);

#endif
