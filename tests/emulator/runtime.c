/* The functions of the CUDA runtime, cuDNN, cuBLASLt and NCCL that the plugin calls, for one imaginary GPU.
 */
#define _GNU_SOURCE
#include "emulator.h"

#include <cublasLt.h>
#include <cudnn.h>
#include <nccl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_ALLOCATIONS = 4096, PAGE = 4096 };

/* --- memory: pages that are out of reach but in between --- */

static struct {
    char *begin;
    size_t n_bytes;
} allocation[MAX_ALLOCATIONS];
static int n_allocations, n_open;
static const size_t gpu_bytes = (size_t)1 << 30;
static size_t n_taken;

static cudaError_t last_error; /* which the next look finds, until somebody has asked for it */

static cudaError_t answer(cudaError_t code) {
    last_error = code != cudaSuccess ? code : last_error;
    return code;
}

static void protect(int access) {
    for (int i = 0; i < n_allocations; i++) {
        if (mprotect(allocation[i].begin, allocation[i].n_bytes, access) != 0) {
            abort();
        }
    }
}

void emulator_memory_open(void) {
    if (n_open++ == 0) {
        protect(PROT_READ | PROT_WRITE);
    }
}

void emulator_memory_close(void) {
    if (--n_open == 0) {
        protect(PROT_NONE);
    }
}

cudaError_t cudaMalloc(void **memory, size_t n_bytes) {
    const size_t size = (n_bytes + PAGE) / PAGE * PAGE; /* one at least */
    if (emulator_is_capturing()) {
        return answer(cudaErrorStreamCaptureUnsupported);
    }
    if (size > gpu_bytes - n_taken) {
        return answer(cudaErrorMemoryAllocation);
    }
    void *pages = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || n_allocations == MAX_ALLOCATIONS) {
        return answer(cudaErrorMemoryAllocation);
    }
    allocation[n_allocations].begin = pages;
    allocation[n_allocations++].n_bytes = size;
    n_taken += size;
    *memory = pages;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory) {
    for (int i = 0; i < n_allocations; i++) {
        if (allocation[i].begin == memory) {
            (void)munmap(memory, allocation[i].n_bytes);
            n_taken -= allocation[i].n_bytes;
            allocation[i] = allocation[--n_allocations];
            return cudaSuccess;
        }
    }
    return answer(memory == NULL ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaHostAlloc(void **memory, size_t n_bytes, unsigned flags) {
    (void)flags;
    *memory = malloc(n_bytes);
    return answer(*memory == NULL ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFreeHost(void *memory) {
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaHostRegister(void *memory, size_t n_bytes, unsigned flags) {
    (void)flags;
    return answer((size_t)memory % PAGE == 0 && n_bytes % PAGE == 0 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaHostUnregister(void *memory) {
    return (size_t)memory % PAGE == 0 ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total) {
    *total = gpu_bytes;
    *left = gpu_bytes - n_taken;
    return cudaSuccess;
}

typedef struct copy {
    void *to;
    const void *from; /* NULL: bytes of this value */
    int value;
    size_t n_bytes;
} copy;

static void do_copy(void *context) {
    const copy *c = context;
    emulator_memory_open();
    if (c->from == NULL) {
        memset(c->to, c->value, c->n_bytes);
    } else {
        memmove(c->to, c->from, c->n_bytes);
    }
    emulator_memory_close();
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t n_bytes, cudaStream_t stream) {
    const copy c = {.to = memory, .value = value, .n_bytes = n_bytes};
    emulator_submit(stream, do_copy, &c, sizeof c);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *memory, int value, size_t n_bytes) {
    return emulator_is_capturing() ? cudaErrorStreamCaptureImplicit
                                   : cudaMemsetAsync(memory, value, n_bytes, NULL);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    const copy c = {.to = to, .from = from, .n_bytes = n_bytes};
    (void)kind;
    emulator_submit(stream, do_copy, &c, sizeof c);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind) {
    return emulator_is_capturing() ? cudaErrorStreamCaptureImplicit
                                   : cudaMemcpyAsync(to, from, n_bytes, kind, NULL);
}

/* --- the device --- */

cudaError_t cudaGetDeviceCount(int *n) {
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int number) {
    (void)number;
    memset(properties, 0, sizeof *properties);
    (void)snprintf(properties->name, sizeof properties->name, "emulated GPU");
    properties->totalGlobalMem = gpu_bytes;
    properties->major = 9;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *out, int n_bytes, int number) {
    (void)snprintf(out, (size_t)n_bytes, "0000:EE:%02X.0", number);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int number) {
    (void)attribute;
    (void)number;
    *value = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int number) {
    return number == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void) {
    const cudaError_t code = last_error;
    last_error = cudaSuccess;
    return code;
}

cudaError_t cudaPeekAtLastError(void) {
    return last_error;
}

const char *cudaGetErrorString(cudaError_t code) {
    return code == cudaSuccess ? "no error" : "an error of the emulator";
}

const char *cudaGetErrorName(cudaError_t code) {
    return code == cudaSuccess ? "cudaSuccess" : "emulated";
}

/* --- the libraries --- */

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    *handle = (cudnnHandle_t)calloc(1, sizeof(cudaStream_t));
    return *handle == NULL ? CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    free(handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    *(cudaStream_t *)(void *)handle = stream; /* which is all that there is of a handle */
    return CUDNN_STATUS_SUCCESS;
}

size_t cudnnGetVersion(void) {
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t code) {
    (void)code;
    return "emulated";
}

void cudnnGetLastErrorString(char *out, size_t n_bytes) {
    (void)snprintf(out, n_bytes, "emulated");
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    *handle = malloc(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t code) {
    (void)code;
    return "emulated";
}

ncclResult_t ncclGetVersion(int *version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}
