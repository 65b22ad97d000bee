#include "launcher/gpu_join.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/device.h"
#include "kernels/plugin.h"

/* The most ranks on any GPU: all ranks take the same communicator. */
static dl_status most_sharing(dl_comm *world, int own, int *most) {
    int *all = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)world->size, sizeof *all, &all));
    const dl_status status = world->functions->all_gather(world, &own, sizeof own, all);
    *most = 0;
    for (int rank = 0; status == DL_OK && rank < world->size; rank++) {
        *most = all[rank] > *most ? all[rank] : *most;
    }
    dl_free(&all);
    return status;
}

dl_status dl_gpu_join(dl_comm *world, const dl_device *device, int n_sharing, dl_comm **out) {
    const dl_plugin *plugin = dl_plugin_opened();
    dl_comm_device table;
    int most = 0;
    DL_RETURN_ERROR_IF(plugin == NULL, DL_ERR_INTERNAL, "no plugin for the memory of backend %s",
                       device->backend->name);
    DL_RETURN_IF_ERROR(dl_comm_agree(world, plugin->comm_device(device->index, &table), NULL));
    DL_RETURN_IF_ERROR(most_sharing(world, n_sharing, &most));
    if (world->size > 1 && most <= 1) {
        return plugin->comm_create(world, &table, out);
    }
    if (most > 1) {
        DL_WARN("%d ranks share a GPU: gradients travel through memory of the host (staged), which is slower "
                "than NCCL between GPUs",
                most);
    }
    return dl_comm_staged_create(world, &table, out);
}
