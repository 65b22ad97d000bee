/* What a configuration would take of a GPU that is not here: for `dltrain check --device`.
 *
 * The programs are compiled for `ref`, whose layouts are plain, as a GPU's are (NHWC at every boundary): the
 * arenas and what liveness places are exact for this set of operations. What only a driver can tell comes
 * from what one was asked (gpu_answers.h), else, and for `reproducible` or tf32, it is estimated:
 *  - workspace: of a convolution as much as all its tensors, which a change of their layouts would take; of a
 * product of matrices 32 MiB, NVIDIA's advice for Hopper (cuBLAS reference, cublasSetWorkspace);
 *  - copies: filters as [K, R, S, C], which is known; and what cuDNN's LSTM keeps beyond what ref keeps among
 * the activations, by estimate its weight spaces, for weights and gradients, as large as the parameters;
 *  - context: what the driver and the libraries keep, 1 GiB, and with several ranks 0.5 GiB of NCCL's
 * buffers. */
#ifndef DLTRAIN_LAUNCHER_DEVICE_CHECK_H
#define DLTRAIN_LAUNCHER_DEVICE_CHECK_H

#include "kernels/gpus.h"
#include "launcher/setup.h"

/* Bytes of one GPU, by storage. */
typedef struct dl_device_memory {
    size_t storage[DL_N_STORAGES];
    size_t context;
    size_t total;
    bool estimated[DL_N_STORAGES], context_estimated;
} dl_device_memory;

typedef struct dl_device_check {
    const dl_gpu_spec *gpu;
    size_t capacity;         /* bytes */
    dl_device_memory memory; /* of rank 0, at the configuration's batch */
    int64_t step;            /* batch sizes that divide evenly: multiples of ranks x accumulate */
    int64_t largest_batch;   /* the largest such global batch that fits, 0: none does */
} dl_device_check;

/* The GPU of --device; DL_ERR_USAGE with the nearest name, or all of them. */
DL_NODISCARD dl_status dl_device_check_find(const char *name, const dl_gpu_spec **out);

/* Fills *out for the configuration in `setup` (its backend must be ref) and n_ranks; opens and closes dry
 * sessions to find the largest batch, `session` is the one of the configuration's own batch. */
DL_NODISCARD dl_status dl_device_check_run(dl_setup *setup, int n_ranks, const dl_session *session,
                                           const dl_gpu_spec *gpu, dl_device_check *out);

/* Appends what was found: for a person. */
DL_NODISCARD dl_status dl_device_check_print(const dl_device_check *check, dl_text *out);

#endif
