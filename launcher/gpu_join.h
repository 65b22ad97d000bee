/* How ranks with GPUs exchange what lies in their memory. */
#ifndef DLTRAIN_LAUNCHER_GPU_JOIN_H
#define DLTRAIN_LAUNCHER_GPU_JOIN_H

#include "comm/comm.h"
#include "kernels/backend.h"

/* The communicator of the world's ranks for the memory of `device`, of a plugin's backend: over NCCL; through
 * memory of the hosts (staged) where ranks share a GPU, which rank 0 says, and where there is one rank, which
 * then needs nothing started. Collective over world. */
DL_NODISCARD dl_status dl_gpu_join(dl_comm *world, const dl_device *device, dl_comm **out);

#endif
