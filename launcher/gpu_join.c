#define _GNU_SOURCE
#include "launcher/gpu_join.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/device.h"
#include "kernels/plugin.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The GPU of a rank, told apart from all others. */
typedef struct rank_gpu {
    char host[64];
    char pci[sizeof(((dl_gpu *)0)->pci)];
} rank_gpu;

static dl_status describe(const dl_plugin *plugin, int number, rank_gpu *out) {
    dl_gpu gpus[DL_MAX_GPUS];
    int n = 0;
    memset(out, 0, sizeof *out); /* all its bytes travel */
    if (gethostname(out->host, sizeof out->host - 1) != 0) {
        out->host[0] = '?';
    }
    DL_RETURN_IF_ERROR(plugin->gpus(gpus, &n));
    DL_RETURN_ERROR_IF(number >= n, DL_ERR_INTERNAL, "GPU %d of %d", number, n);
    memcpy(out->pci, gpus[number].pci, sizeof out->pci);
    return DL_OK;
}

/* NCCL refuses ranks that share a GPU, unless it takes each for a host of its own (comm/nccl/communicator.h).
 */
static bool pass_for_hosts(void) {
    const char *wanted = getenv("DLTRAIN_NCCL_HOSTID");
    return wanted != NULL && strcmp(wanted, "1") == 0;
}

/* The most ranks on any GPU: the same for all ranks, which then take the same communicator. */
static dl_status most_sharing(dl_comm *world, const rank_gpu *own, int *most) {
    rank_gpu *all = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)world->size, sizeof *all, &all));
    const dl_status status = world->functions->all_gather(world, own, sizeof *own, all);
    *most = 0;
    for (int rank = 0; status == DL_OK && rank < world->size; rank++) {
        int n = 0;
        for (int other = 0; other < world->size; other++) {
            n += memcmp(&all[rank], &all[other], sizeof *all) == 0;
        }
        *most = n > *most ? n : *most;
    }
    dl_free(&all);
    return status;
}

static dl_status ask(const dl_plugin *plugin, const dl_device *device, dl_comm_device *table, rank_gpu *own) {
    DL_RETURN_ERROR_IF(plugin == NULL, DL_ERR_INTERNAL, "no plugin for the memory of backend %s",
                       device->backend->name);
    DL_RETURN_IF_ERROR(describe(plugin, device->index, own));
    return plugin->comm_device(device->index, table);
}

dl_status dl_gpu_join(dl_comm *world, const dl_device *device, dl_comm **out) {
    const dl_plugin *plugin = dl_plugin_opened();
    dl_comm_device table;
    rank_gpu own;
    int most = 0;
    DL_RETURN_IF_ERROR(dl_comm_agree(world, ask(plugin, device, &table, &own), NULL));
    DL_RETURN_IF_ERROR(most_sharing(world, &own, &most));
    if (world->size == 1) {
        return dl_comm_alone_create(world, &table, out);
    }
    if (most == 1 || pass_for_hosts()) {
        return plugin->comm_create(world, &table, out);
    }
    if (most > 1) {
        DL_WARN("%d ranks share a GPU: gradients travel through memory of the host (staged), which is slower "
                "than NCCL between GPUs",
                most);
    }
    return dl_comm_staged_create(world, &table, out);
}
