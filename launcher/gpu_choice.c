#define _GNU_SOURCE
#include "launcher/gpu_choice.h"

#include "base/mem.h"
#include "base/text.h"

#include <hwloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How many ranks of all[0..n) on the host of `of` have taken the GPU at `pci`. */
static int count_takers(const dl_rank_gpus *all, const int *taken, int n, const dl_rank_gpus *of,
                        const char *pci) {
    int takers = 0;
    for (int r = 0; r < n; r++) {
        takers +=
            taken[r] >= 0 && strcmp(all[r].host, of->host) == 0 && strcmp(all[r].pci[taken[r]], pci) == 0;
    }
    return takers;
}

static int take(const dl_rank_gpus *all, const int *taken, int rank) {
    const dl_rank_gpus *me = &all[rank];
    int best = -1, best_cost = 0;
    for (int g = 0; g < me->n; g++) {
        const bool near = me->node < 0 || me->gpu_node[g] < 0 || me->node == me->gpu_node[g];
        const int cost = 2 * count_takers(all, taken, rank, me, me->pci[g]) + !near;
        if (best < 0 || cost < best_cost) {
            best = g;
            best_cost = cost;
        }
    }
    return best;
}

int dl_gpu_assign(const dl_rank_gpus *all, int n_ranks, int rank, int *n_sharing) {
    int *taken = NULL;
    *n_sharing = 0;
    if (dl_alloc((size_t)n_ranks, sizeof *taken, &taken) != DL_OK) {
        return all[rank].n > 0 ? 0 : -1;
    }
    for (int r = 0; r < n_ranks; r++) {
        taken[r] = take(all, taken, r);
    }
    const int mine = taken[rank];
    if (mine >= 0) {
        *n_sharing = count_takers(all, taken, n_ranks, &all[rank], all[rank].pci[mine]);
    }
    dl_free(&taken);
    return mine;
}

int dl_gpu_numa_node(const char *pci) {
    char path[96];
    dl_text text = {0};
    int64_t node = -1;
    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%.32s/numa_node", pci);
    if (dl_file_read(path, 64, &text) == DL_OK && text.size > 0) {
        text.data[strcspn(text.data, "\n")] = '\0';
        if (!dl_parse_int64(text.data, &node)) {
            node = -1;
        }
    }
    dl_text_free(&text);
    return (int)node;
}

/* The NUMA node of all cores that this thread may run on; -1 when they belong to several. */
static int own_node(void) {
    hwloc_topology_t topology;
    int node = -1;
    if (hwloc_topology_init(&topology) != 0) {
        return -1;
    }
    hwloc_bitmap_t cores = hwloc_bitmap_alloc(), nodes = hwloc_bitmap_alloc();
    if (cores != NULL && nodes != NULL && hwloc_topology_load(topology) == 0 &&
        hwloc_get_cpubind(topology, cores, HWLOC_CPUBIND_THREAD) == 0) {
        hwloc_cpuset_to_nodeset(topology, cores, nodes);
        node = hwloc_bitmap_weight(nodes) == 1 ? hwloc_bitmap_first(nodes) : -1;
    }
    hwloc_bitmap_free(cores);
    hwloc_bitmap_free(nodes);
    hwloc_topology_destroy(topology);
    return node;
}

void dl_gpu_look(dl_rank_gpus *out) {
    dl_gpu gpus[DL_MAX_GPUS];
    const dl_plugin *plugin = NULL;
    memset(out, 0, sizeof *out); /* padding travels too */
    if (gethostname(out->host, sizeof out->host - 1) != 0) {
        out->host[0] = '?';
    }
    if (!dl_plugin_has_driver() || dl_plugin_open("cuda", &plugin) != DL_OK ||
        plugin->gpus(gpus, &out->n) != DL_OK) {
        out->n = 0;
        return;
    }
    out->node = own_node();
    for (int g = 0; g < out->n; g++) {
        memcpy(out->pci[g], gpus[g].pci, sizeof out->pci[g]);
        out->gpu_node[g] = dl_gpu_numa_node(gpus[g].pci);
    }
}

dl_status dl_gpu_choose(dl_comm *world, int *gpu, int *n_sharing) {
    dl_rank_gpus mine, *all = NULL;
    const int n_ranks = world == NULL ? 1 : world->size;
    dl_gpu_look(&mine);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_ranks, sizeof *all, &all));
    dl_status status = DL_OK;
    if (world == NULL) {
        all[0] = mine;
    } else {
        status = world->functions->all_gather(world, &mine, sizeof mine, all);
    }
    if (status == DL_OK) {
        const int taken = dl_gpu_assign(all, n_ranks, world == NULL ? 0 : world->rank, n_sharing);
        *gpu = taken < 0 ? 0 : taken;
    }
    dl_free(&all);
    return status;
}
