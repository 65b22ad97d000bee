/* Which rank computes on which GPU. */
#ifndef DLTRAIN_LAUNCHER_GPU_CHOICE_H
#define DLTRAIN_LAUNCHER_GPU_CHOICE_H

#include "comm/comm.h"
#include "kernels/plugin.h"

/* What a rank tells the others of itself: the GPUs that it sees (CUDA_VISIBLE_DEVICES may show each rank
 * others), by PCI address, and where it and they are. NUMA nodes by the system's numbers, -1: not known. */
typedef struct dl_rank_gpus {
    char host[64];
    int node; /* that all cores of the rank belong to */
    int n;
    char pci[DL_MAX_GPUS][16];
    int gpu_node[DL_MAX_GPUS];
} dl_rank_gpus;

/* Goes through the ranks in order: each takes, of the GPUs it sees, one that the fewest ranks of its host
 * have taken so far; among those one on its own NUMA node; among those the first. Returns the number (as
 * `rank` sees its GPUs) that `rank` takes, -1 when it sees none; *n_sharing is how many ranks take the same
 * one in the end. */
int dl_gpu_assign(const dl_rank_gpus *all, int n_ranks, int rank, int *n_sharing);

/* What this process sees; n = 0 without plugin, driver or device. */
void dl_gpu_look(dl_rank_gpus *out);

/* The GPU of this rank, 0 where there is none: what a backend without GPUs ignores. *n_sharing: ranks on it.
 * Collective over the world; NULL: this process alone. */
DL_NODISCARD dl_status dl_gpu_choose(dl_comm *world, int *gpu, int *n_sharing);

/* The NUMA node of a PCI device, -1: not known. */
int dl_gpu_numa_node(const char *pci);

#endif
