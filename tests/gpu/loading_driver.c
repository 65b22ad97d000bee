/* A driver of NVIDIA GPUs that takes machine code and finds every kernel in it, and has nothing to run them
 * on: with it cuDNN finishes plans whose kernels it compiles at run time. All else is the toolkit's stub of
 * libcuda, which tests/gpu/plans.py puts beside it as libcudastub.so. Functions of the CUDA driver API; its
 * names. */
#include <cuda.h>

#include <stddef.h>

/* What handles point to. */
static char anything[64];

CUresult CUDAAPI cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit, void **jit_values,
                                   unsigned int n_jit, CUlibraryOption *options, void **values,
                                   unsigned int n) {
    (void)code, (void)jit, (void)jit_values, (void)n_jit, (void)options, (void)values, (void)n;
    *library = (CUlibrary)(void *)anything;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryUnload(CUlibrary library) {
    (void)library;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name) {
    (void)library, (void)name;
    *kernel = (CUkernel)(void *)anything;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel,
                                      CUdevice device) {
    (void)attribute, (void)value, (void)kernel, (void)device;
    return CUDA_SUCCESS;
}
