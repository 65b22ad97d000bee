/* The communicator over NCCL, and the table of CUDA's devices that it and `staged` run on. Part of the plugin
 * for NVIDIA GPUs; no header of CUDA is needed to call it. */
#ifndef DLTRAIN_COMM_NCCL_COMMUNICATOR_H
#define DLTRAIN_COMM_NCCL_COMMUNICATOR_H

#include "comm/device.h"

/* nccl: sums in the caller's stream, one GPU for each rank of `host`. Makes NCCL's communicator (its id
 * travels over `host`), not blocking, for so long as DLTRAIN_NCCL_TIMEOUT says (seconds, 120 by default):
 * DL_ERR_PEER then names what to look at. The current GPU of the thread is this rank's. Blocks (reproducible
 * mode) are gathered on the GPU and added by device->sum; without that they are refused. For tests:
 * DLTRAIN_NCCL_HOSTID=1 gives each rank a host of its own in NCCL's eyes, by which ranks may share a GPU
 * (through sockets; NCCL_SOCKET_IFNAME=lo). */
DL_NODISCARD dl_comm_device_create dl_comm_nccl_create;

/* Fills *out for GPU `index` (modulo their number), which becomes the thread's current one. Streams are
 * structs that begin with their cudaStream_t. DL_ERR_USAGE when there is no driver or no GPU. */
DL_NODISCARD dl_status dl_comm_device_cuda(int index, dl_comm_device *out);

#endif
