/* Ranks on the emulator share its one GPU, so that they are never joined by NCCL. */
#include "comm/nccl/communicator.h"

dl_status dl_comm_nccl_create(dl_comm *host, const dl_comm_device *device, dl_comm **out) {
    (void)host, (void)device, (void)out;
    DL_RETURN_ERROR(DL_ERR_INTERNAL, "NCCL on the emulated GPU");
}
