/* What tests tell the NCCL that is none (fake_nccl.c). */
#ifndef DLTRAIN_TESTS_MPI_FAKE_NCCL_H
#define DLTRAIN_TESTS_MPI_FAKE_NCCL_H

#include "comm/device.h"

/* Before the first communicator; both stay the caller's. */
void fake_nccl_use(dl_comm *world, const dl_comm_device *device);

/* Handles that were neither destroyed nor aborted. */
int fake_nccl_living(void);

#endif
