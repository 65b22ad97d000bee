/* Plugins: backends that need libraries which most machines do not have. A plugin is a shared object
 * dltrain_NAME.so with one exported function, DL_PLUGIN_SYMBOL; what it calls of this program (the error
 * trace, memory, descriptions of operations) it finds among the program's own symbols.
 *
 * Looked for in $DLTRAIN_PLUGIN_DIR when that is set; else beside the program, then in its libdir. */
#ifndef DLTRAIN_KERNELS_PLUGIN_H
#define DLTRAIN_KERNELS_PLUGIN_H

#include "kernels/backend.h"

/* Grows with every change of what the structs below mean that their sizes do not show. */
#define DL_PLUGIN_REVISION 3

/* The interface between a program and its plugins: both must have been compiled with the same tables. */
#define DL_PLUGIN_ABI                                                                                        \
    ((uint64_t)DL_PLUGIN_REVISION << 48 | (uint64_t)sizeof(dl_backend) << 32 |                               \
     (uint64_t)sizeof(dl_op_desc) << 16 | (uint64_t)DL_N_OP_KINDS)

/* One GPU that this process may use; numbers are CUDA's, within CUDA_VISIBLE_DEVICES. */
typedef struct dl_gpu {
    char name[64];
    char pci[16]; /* "0000:3b:00.0", as in /sys/bus/pci/devices; tells GPUs of a host apart */
    int64_t memory_bytes;
    int capability[2]; /* compute capability: 9, 0 */
} dl_gpu;

enum { DL_MAX_GPUS = 16 };

struct dl_comm; /* comm/comm.h */
struct dl_comm_device;

typedef struct dl_plugin {
    uint64_t abi; /* DL_PLUGIN_ABI; the first field in every revision */
    const dl_backend *backend;
    /* The GPUs into out[DL_MAX_GPUS]. DL_ERR_USAGE says why there is none: no driver, no device. */
    dl_status (*gpus)(dl_gpu *out, int *n);
    /* "CUDA 13.0, cuDNN 9.19.0, NCCL 2.28.9": the libraries it has found. Needs no GPU. */
    void (*libraries)(char *out, size_t n_bytes);
    /* What communicators ask of GPU `number` (comm/device.h); streams of the backend fit. */
    dl_status (*comm_device)(int number, struct dl_comm_device *out);
    /* Joins ranks with a GPU each: dl_comm_device_create of comm/device.h. */
    dl_status (*comm_create)(struct dl_comm *host, const struct dl_comm_device *device, struct dl_comm **out);
} dl_plugin;

#define DL_PLUGIN_SYMBOL "dltrain_plugin"
typedef const dl_plugin *dl_plugin_function(void);

/* Opens dltrain_NAME.so at the first call, and hands out the same afterwards; it stays open. DL_ERR_USAGE
 * says why not: there is none, it cannot be opened (in the system's words), it is of another version. Not for
 * several threads at once. */
DL_NODISCARD dl_status dl_plugin_open(const char *name, const dl_plugin **out);

/* Is there a file for it? Nothing is opened. */
bool dl_plugin_exists(const char *name);

/* Is an NVIDIA driver installed, as far as the dynamic loader can tell? Takes microseconds where there is
 * none, while opening the plugin takes its libraries into the process. */
bool dl_plugin_has_driver(void);
#define DL_PLUGIN_NO_DRIVER "no NVIDIA driver is installed on this machine"

/* The plugin opened before, or NULL. */
const dl_plugin *dl_plugin_opened(void);

/* Where it was found, "" when none is open. */
const char *dl_plugin_path(void);

#endif
