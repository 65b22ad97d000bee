/* What the plugin shows of itself: one function, and which GPUs there are. */
#define _GNU_SOURCE
#include "kernels/cuda/cuda.h"

#include <ctype.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Is what cudaGetDeviceCount answered a driver that is not there, rather than one without GPUs? */
static bool lacks_driver(cudaError_t code) {
    return code == cudaErrorInsufficientDriver || code == cudaErrorStubLibrary ||
           code == cudaErrorInitializationError || code == cudaErrorSystemNotReady;
}

dl_status dl_cuda_count(int *n) {
    *n = 0; /* the call leaves it alone when it fails */
    const cudaError_t code = cudaGetDeviceCount(n);
    if (code == cudaSuccess && *n > 0) {
        return DL_OK;
    }
    *n = 0;
    int version = 0;
    if (lacks_driver(code) && (cudaDriverGetVersion(&version) != cudaSuccess || version == 0)) {
        DL_RETURN_ERROR(DL_ERR_USAGE, DL_PLUGIN_NO_DRIVER " (%s)", cudaGetErrorString(code));
    }
    DL_RETURN_ERROR_IF(
        lacks_driver(code), DL_ERR_USAGE,
        "the NVIDIA driver is too old or not ready: it has CUDA %d.%d, the plugin needs %d.%d (%s)",
        version / 1000, version % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10,
        cudaGetErrorString(code));
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    DL_RETURN_ERROR(DL_ERR_USAGE, "the NVIDIA driver has no GPU for this process (%s%s%s)",
                    visible != NULL ? "CUDA_VISIBLE_DEVICES is " : "", visible != NULL ? visible : "",
                    visible != NULL ? "" : cudaGetErrorString(code));
}

static dl_status describe(int number, dl_gpu *out) {
    struct cudaDeviceProp properties;
    *out = (dl_gpu){.name = ""};
    DL_RETURN_IF_ERROR(DL_CUDA(cudaGetDeviceProperties(&properties, number)));
    DL_RETURN_IF_ERROR(DL_CUDA(cudaDeviceGetPCIBusId(out->pci, (int)sizeof out->pci, number)));
    for (char *c = out->pci; *c != '\0'; c++) { /* as sysfs writes it */
        *c = (char)tolower((unsigned char)*c);
    }
    (void)snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, properties.name);
    out->memory_bytes = (int64_t)properties.totalGlobalMem;
    out->capability[0] = properties.major;
    out->capability[1] = properties.minor;
    return DL_OK;
}

/* Asked once: the properties of a GPU take milliseconds, and which there are does not change in a process. */
dl_status dl_cuda_gpus(dl_gpu *out, int *n) {
    static dl_gpu known[DL_MAX_GPUS];
    static int n_known;
    if (n_known == 0) {
        int count = 0;
        DL_RETURN_IF_ERROR(dl_cuda_count(&count));
        count = count < DL_MAX_GPUS ? count : DL_MAX_GPUS;
        for (int i = 0; i < count; i++) {
            DL_RETURN_IF_ERROR_DOING(describe(i, &known[i]), "asking for GPU %d", i);
        }
        n_known = count;
    }
    memcpy(out, known, (size_t)n_known * sizeof *out);
    *n = n_known;
    return DL_OK;
}

void dl_cuda_libraries(char *out, size_t n_bytes) {
    int runtime = 0, nccl = 0;
    const size_t dnn = cudnnGetVersion();
    (void)cudaRuntimeGetVersion(&runtime);
    (void)ncclGetVersion(&nccl);
    (void)snprintf(out, n_bytes, "CUDA %d.%d, cuDNN %zu.%zu.%zu, NCCL %d.%d.%d", runtime / 1000,
                   runtime % 1000 / 10, dnn / 10000, dnn / 100 % 100, dnn % 100, nccl / 10000,
                   nccl / 100 % 100, nccl % 100);
}

/* "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build ...": the first word of
 * digits and points behind the module's name. */
void dl_cuda_driver(char out[32]) {
    char line[256] = "";
    out[0] = '\0';
    FILE *file = fopen("/proc/driver/nvidia/version", "r");
    if (file == NULL) {
        return;
    }
    if (fgets(line, (int)sizeof line, file) != NULL) {
        char *rest = NULL;
        for (char *word = strtok_r(line, " \t\n", &rest); word != NULL;
             word = strtok_r(NULL, " \t\n", &rest)) {
            if (isdigit((unsigned char)word[0]) && strchr(word, '.') != NULL && strlen(word) < 32) {
                memcpy(out, word, strlen(word) + 1);
                break;
            }
        }
    }
    (void)fclose(file);
}

extern const dl_backend dl_backend_cuda;

static const dl_plugin plugin = {
    .abi = DL_PLUGIN_ABI,
    .backend = &dl_backend_cuda,
    .gpus = dl_cuda_gpus,
    .libraries = dl_cuda_libraries,
};

__attribute__((visibility("default"))) const dl_plugin *dltrain_plugin(void);

const dl_plugin *dltrain_plugin(void) {
    return &plugin;
}
