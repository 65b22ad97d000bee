/* What communicators ask of a GPU, by the CUDA runtime. */
#include "base/mem.h"
#include "comm/nccl/communicator.h"
#include "comm/nccl/sum.h"

#include <cuda_runtime_api.h>
#include <stdio.h>

/* Begins as every stream that communicators are given (comm/device.h). */
typedef struct stream {
    cudaStream_t handle;
} stream;

static cudaStream_t handle_of(void *of) {
    return of == NULL ? NULL : ((stream *)of)->handle;
}

/* The context is the GPU's number. */
static dl_status check(cudaError_t code, const char *call, int line) {
    if (code == cudaSuccess) {
        return DL_OK;
    }
    (void)cudaGetLastError(); /* else the next call that asks for it meets it again */
    return dl_error_raise(code == cudaErrorMemoryAllocation ? DL_ERR_MEMORY : DL_ERR_INTERNAL, __FILE__, line,
                          __func__, "%s: %s (%s)", call, cudaGetErrorString(code), cudaGetErrorName(code));
}

#define CUDA(call) check((call), #call, __LINE__)

static dl_status use(void *context) {
    return CUDA(cudaSetDevice((int)(intptr_t)context));
}

static dl_status memory_create(void *context, size_t n_bytes, void **out) {
    /* only whole pages of the GPU, of 2 MiB, are sure to be aligned to more than 256 bytes */
    const size_t size = dl_round_up(n_bytes + (n_bytes == 0), (size_t)2 << 20);
    DL_RETURN_IF_ERROR(use(context));
    DL_RETURN_IF_ERROR(CUDA(cudaMalloc(out, size)));
    dl_status status = CUDA(cudaMemset(*out, 0, size));
    status = status == DL_OK ? CUDA(cudaDeviceSynchronize()) : status;
    if (status == DL_OK && (size_t)*out % DL_PAGE_BYTES != 0) {
        status =
            dl_error_raise(DL_ERR_INTERNAL, __FILE__, __LINE__, __func__, "memory of the GPU at %p", *out);
    }
    if (status != DL_OK) {
        (void)cudaFree(*out);
    }
    return status;
}

static void memory_destroy(void *context, void *memory, size_t n_bytes) {
    (void)n_bytes;
    if (use(context) == DL_OK) {
        (void)cudaFree(memory);
    }
}

static dl_status pin(void *context, void *memory, size_t n_bytes) {
    DL_RETURN_IF_ERROR(use(context));
    return CUDA(cudaHostRegister(memory, n_bytes, cudaHostRegisterDefault));
}

static void unpin(void *context, void *memory, size_t n_bytes) {
    (void)context, (void)n_bytes;
    (void)cudaHostUnregister(memory);
}

static dl_status stream_create(void *context, void **out) {
    int least = 0, greatest = 0; /* numerically lower is more urgent */
    DL_RETURN_IF_ERROR(use(context));
    DL_RETURN_IF_ERROR(CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest)));
    stream *made = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *made, &made));
    const dl_status status =
        CUDA(cudaStreamCreateWithPriority(&made->handle, cudaStreamNonBlocking, greatest));
    if (status != DL_OK) {
        dl_free(&made);
        return status;
    }
    *out = made;
    return DL_OK;
}

static void stream_destroy(void *context, void *old) {
    (void)context;
    if (old != NULL) {
        (void)cudaStreamSynchronize(handle_of(old));
        (void)cudaStreamDestroy(handle_of(old));
        dl_free(&old);
    }
}

static dl_status event_create(void *context, void **out) {
    cudaEvent_t event = NULL;
    DL_RETURN_IF_ERROR(use(context));
    DL_RETURN_IF_ERROR(CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming)));
    *out = event;
    return DL_OK;
}

static void event_destroy(void *context, void *event) {
    (void)context;
    if (event != NULL) {
        (void)cudaEventDestroy(event);
    }
}

static dl_status record(void *context, void *event, void *into) {
    (void)context;
    return CUDA(cudaEventRecord(event, handle_of(into)));
}

static dl_status stream_wait(void *context, void *into, void *event) {
    (void)context;
    return CUDA(cudaStreamWaitEvent(handle_of(into), event, 0));
}

static dl_status synchronize(void *context, void *event) {
    (void)context;
    return CUDA(cudaEventSynchronize(event));
}

static dl_status query(void *context, void *event, bool *happened) {
    (void)context;
    const cudaError_t code = cudaEventQuery(event);
    *happened = code == cudaSuccess;
    if (code == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* an answer, not an error */
        return DL_OK;
    }
    return CUDA(code);
}

static dl_status copy_out(void *context, void *host, const void *device, size_t n_bytes, void *into) {
    (void)context;
    return CUDA(cudaMemcpyAsync(host, device, n_bytes, cudaMemcpyDeviceToHost, handle_of(into)));
}

static dl_status copy_in(void *context, void *device, const void *host, size_t n_bytes, void *into) {
    (void)context;
    return CUDA(cudaMemcpyAsync(device, host, n_bytes, cudaMemcpyHostToDevice, handle_of(into)));
}

static dl_status sum(void *context, dl_dtype dtype, const void *const leaf[DL_TREE_NODES], int64_t n_elements,
                     void *out, void *into) {
    (void)context;
    return CUDA(dl_launch_piece_sum(dtype == DL_F64, leaf, n_elements, out, handle_of(into)));
}

dl_status dl_comm_device_cuda(int index, dl_comm_device *out) {
    int n = 0; /* the call leaves it alone when it fails */
    const cudaError_t code = cudaGetDeviceCount(&n);
    DL_RETURN_ERROR_IF(code != cudaSuccess || n == 0, DL_ERR_USAGE, "no GPU here: %s",
                       code == cudaSuccess ? "the driver has none" : cudaGetErrorString(code));
    *out = (dl_comm_device){
        .name = "the GPU",
        .context = (void *)(intptr_t)(index % n),
        .memory_create = memory_create,
        .memory_destroy = memory_destroy,
        .pin = pin,
        .unpin = unpin,
        .stream_create = stream_create,
        .stream_destroy = stream_destroy,
        .event_create = event_create,
        .event_destroy = event_destroy,
        .record = record,
        .stream_wait = stream_wait,
        .synchronize = synchronize,
        .query = query,
        .copy_out = copy_out,
        .copy_in = copy_in,
        .sum = sum,
    };
    return use(out->context);
}
