/* The kernel of the tree sum; C and CUDA. */
#ifndef DLTRAIN_COMM_NCCL_SUM_H
#define DLTRAIN_COMM_NCCL_SUM_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As dl_comm_device.sum: leaf[1 .. 15], out and stream as there; `doubles`: float64, else float32. */
cudaError_t dl_launch_piece_sum(int doubles, const void *const *leaf, int64_t n_elements, void *out,
                                cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
