/* What is known of GPUs without having one: memory for `dltrain check --device`, limits for rooflines. */
#ifndef DLTRAIN_KERNELS_GPUS_H
#define DLTRAIN_KERNELS_GPUS_H

#include <stddef.h>

typedef struct dl_gpu_spec {
    const char *name;      /* "h200" */
    const char *full_name; /* "NVIDIA H200 SXM" */
    int capability;        /* 10 major + minor of the compute capability: 90 */
    int multiprocessors;
    double memory_mebibytes;
    double boost_megahertz;        /* what the TFLOPS are stated at */
    double bandwidth;              /* GB/s, 10^9 bytes */
    double tflops_f32;             /* without tensor cores */
    double tflops_tf32, tflops_16; /* tensor cores, dense; bfloat16 and float16 alike */
    double measured_tflops_16;     /* sustained by large products; 0: not measured */
    double measured_bandwidth;     /* sustained by copies, GB/s; 0: not measured */
    double watts;
} dl_gpu_spec;

/* All GPUs of gpus.def; *n: how many. */
const dl_gpu_spec *dl_gpu_specs(size_t *n);

/* The one of this name, or NULL. */
const dl_gpu_spec *dl_gpu_spec_find(const char *name);

#endif
