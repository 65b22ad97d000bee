#include "kernels/gpus.h"

#include <string.h>

static const dl_gpu_spec specs[] = {
#define DL_GPU(name, full, capability, multiprocessors, memory, clock, bandwidth, f32, tf32, f16, measured,  \
               copied, watts)                                                                                \
    {name, full, capability, multiprocessors, memory, clock, bandwidth,                                      \
     f32,  tf32, f16,        measured,        copied, watts},
#include "kernels/gpus.def"
#undef DL_GPU
};

const dl_gpu_spec *dl_gpu_specs(size_t *n) {
    *n = sizeof specs / sizeof *specs;
    return specs;
}

const dl_gpu_spec *dl_gpu_spec_find(const char *name) {
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        if (strcmp(specs[i].name, name) == 0) {
            return &specs[i];
        }
    }
    return NULL;
}
