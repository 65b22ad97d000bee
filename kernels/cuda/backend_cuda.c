/* The backend of NVIDIA GPUs: cuDNN and cuBLASLt for products and recurrences, own kernels for the rest. It
 * has no fallback: the memory of a GPU is not the CPU's. */
#include "kernels/common/half.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/graph.h"
#include "kernels/cuda/layouts.h"
#include "kernels/cuda/rnn.h"

#include "base/mem.h"

#include <stdio.h>

static void cuda_close(dl_device *base) {
    dl_cuda_device *device = dl_cuda_device_of(base);
    dl_graph_device_destroy(&device->graphs);
    dl_rnn_forget_algorithms(device);
    if (device->dnn != NULL) {
        (void)cudnnDestroy(device->dnn);
    }
    if (device->blas != NULL) {
        (void)cublasLtDestroy(device->blas);
    }
    dl_free(&device);
}

static dl_status open_handles(dl_cuda_device *device, int number) {
    dl_gpu gpus[DL_MAX_GPUS];
    int n = 0;
    DL_RETURN_IF_ERROR(dl_cuda_gpus(gpus, &n));
    DL_RETURN_ERROR_IF(number < 0 || number >= n, DL_ERR_USAGE, "there is no GPU %d: this process sees %d",
                       number, n);
    device->gpu = gpus[number];
    DL_RETURN_IF_ERROR(DL_CUDA(cudaSetDevice(number)));
    DL_RETURN_IF_ERROR(
        DL_CUDA(cudaDeviceGetAttribute(&device->n_processors, cudaDevAttrMultiProcessorCount, number)));
    DL_RETURN_IF_ERROR(DL_CUBLAS(cublasLtCreate(&device->blas)));
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnCreate(&device->dnn)));
    return dl_graph_device_of_handle(device->dnn, &device->graphs);
}

static dl_status cuda_open(const dl_device_options *options, dl_device **out) {
    dl_cuda_device *device = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *device, &device));
    const dl_status status = open_handles(device, options->index);
    if (status != DL_OK) {
        cuda_close(&device->base);
        return status;
    }
    *out = &device->base;
    return DL_OK;
}

static void cuda_describe(const dl_device *base, char *out, size_t n_bytes) {
    const dl_gpu *gpu = &((const dl_cuda_device *)(const void *)base)->gpu;
    char driver[32];
    int version = 0;
    dl_cuda_driver(driver);
    (void)cudaDriverGetVersion(&version);
    (void)snprintf(out, n_bytes, "%s, %.1f GiB, at %s, driver %s%s%d.%d", gpu->name,
                   (double)gpu->memory_bytes / (1024.0 * 1024.0 * 1024.0), gpu->pci, driver,
                   driver[0] != '\0' ? ", CUDA " : "for CUDA ", version / 1000, version % 1000 / 10);
}

static const char *cuda_model(const dl_device *base) {
    return ((const dl_cuda_device *)(const void *)base)->gpu.name;
}

dl_status dl_cuda_dnn(dl_device *device, const dl_stream *stream, cudnnHandle_t *out) {
    *out = dl_cuda_device_of(device)->dnn;
    return DL_CUDNN(cudnnSetStream(*out, dl_cuda_handle(stream)));
}

/* ---- operations ---- */

typedef struct kernel_op {
    dl_op base;
    dl_cuda_run *run;
} kernel_op;

static dl_status run_kernels(const dl_op *op, void *const *slots, dl_stream *stream) {
    const kernel_op *self = (const kernel_op *)(const void *)op;
    const cudaError_t code = self->run(op, slots, dl_cuda_handle(stream));
    DL_RETURN_ERROR_IF(code != cudaSuccess, DL_ERR_INTERNAL, "launching %s, or work before it: %s (%s)",
                       dl_op_info_of(op->desc.kind)->name, cudaGetErrorString(code), cudaGetErrorName(code));
    return DL_OK;
}

static void destroy_kernels(dl_op *op) {
    dl_free(&op);
}

static const dl_op_functions kernel_functions = {.run = run_kernels, .destroy = destroy_kernels};

void dl_cuda_op_init(dl_op *op, dl_device *device, const dl_op_desc *desc, const dl_op_functions *functions,
                     const char *name) {
    op->functions = functions;
    op->device = device;
    op->desc = *desc;
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        op->layout[i] = NULL;
        op->desc.slot[i].layout = NULL;
    }
    op->batch_invariant = dl_op_info_of(desc->kind)->batch == DL_BATCH_PER_SAMPLE;
    (void)snprintf(op->implementation, sizeof op->implementation, "cuda:%s", name);
}

static dl_status prepare_kernels(dl_device *device, const dl_op_desc *desc, const dl_cuda_kind *kind,
                                 dl_op **out) {
    kernel_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    dl_cuda_op_init(&op->base, device, desc, &kernel_functions,
                    kind->implementation != NULL ? kind->implementation : "kernel");
    op->base.workspace_bytes = kind->workspace != NULL ? kind->workspace(desc) : 0;
    op->run = kind->run;
    *out = &op->base;
    return DL_OK;
}

bool dl_cuda_takes_one_type(const dl_op_desc *desc) {
    static const char *const names[] = {"x", "a", "b", "residual", "y", "dy", "dx"};
    const dl_dtype dtype = desc->slot[0].dtype;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const int slot = dl_op_slot(dl_op_info_of(desc->kind), names[i]);
        if (slot >= 0 && desc->slot[slot].present && desc->slot[slot].dtype != dtype) {
            return false;
        }
    }
    return (dtype == DL_F32 || dl_dtype_is_half(dtype)) && !dl_cuda_has_layout(desc);
}

/* What a kind without an opinion of its own takes. */
static bool takes_plain(const dl_op_desc *desc) {
    return !dl_op_has_half(desc) && !dl_cuda_has_layout(desc);
}

/* Rows end with one that has neither run nor prepare. */
static const dl_cuda_kind *find_in(const dl_cuda_kind *kinds, const dl_op_desc *desc) {
    for (const dl_cuda_kind *kind = kinds; kind->run != NULL || kind->prepare != NULL; kind++) {
        if (kind->kind == desc->kind && (kind->takes != NULL ? kind->takes(desc) : takes_plain(desc))) {
            return kind;
        }
    }
    return NULL;
}

static const dl_cuda_kind *find(const dl_op_desc *desc) {
    static const dl_cuda_kind *const families[] = {
#define DL_CUDA_FAMILY(name) dl_cuda_kinds_##name,
#include "kernels/cuda/families.def"
#undef DL_CUDA_FAMILY
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0] && !dl_cuda_has_foreign_layout(desc); i++) {
        const dl_cuda_kind *kind = find_in(families[i], desc);
        if (kind != NULL) {
            return kind;
        }
    }
    return NULL;
}

static bool cuda_takes(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    return find(desc) != NULL;
}

static dl_status cuda_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    const dl_cuda_kind *kind = find(desc);
    DL_RETURN_ERROR_IF(kind == NULL, DL_ERR_USAGE, "backend cuda takes no %s in this form yet",
                       dl_op_info_of(desc->kind)->name);
    return kind->prepare != NULL ? kind->prepare(device, desc, forward, out)
                                 : prepare_kernels(device, desc, kind, out);
}

/* Asking may add to what the device knows. */
static dl_device *unlocked(const dl_device *device) {
    return (dl_device *)(uintptr_t)device;
}

static int cuda_n_algorithms(const dl_device *device, const dl_op_desc *desc) {
    const dl_cuda_kind *kind = find(desc);
    return kind != NULL && kind->n_algorithms != NULL ? kind->n_algorithms(unlocked(device), desc) : 1;
}

static const char *cuda_algorithm_name(const dl_device *device, const dl_op_desc *desc, int algorithm) {
    const dl_cuda_kind *kind = find(desc);
    if (kind != NULL && kind->algorithm_name != NULL) {
        return kind->algorithm_name(unlocked(device), desc, algorithm);
    }
    return dl_only_algorithm_name(algorithm);
}

/* ---- memory ---- */

static dl_status memory_create(dl_device *device, size_t n_bytes, void **out) {
    void *memory = NULL;
    size_t left = 0, total = 0;
    *out = NULL;
    DL_RETURN_IF_ERROR(DL_CUDA(cudaSetDevice(device->index)));
    const cudaError_t code = cudaMalloc(&memory, n_bytes);
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); /* else the next launch reports it */
        (void)cudaMemGetInfo(&left, &total);
        DL_RETURN_ERROR(DL_ERR_MEMORY,
                        "the GPU has %zu MiB left of %zu, and %zu MiB are needed: a smaller "
                        "train.batch_size needs less",
                        left >> 20, total >> 20, n_bytes >> 20);
    }
    DL_RETURN_IF_ERROR(DL_CUDA(code));
    /* the device clears it later than the call returns, and lanes do not wait for the default stream */
    dl_status status = DL_CUDA(cudaMemset(memory, 0, n_bytes));
    status = status == DL_OK ? DL_CUDA(cudaDeviceSynchronize()) : status;
    if (status != DL_OK) {
        (void)cudaFree(memory);
        return status;
    }
    *out = memory;
    return DL_OK;
}

static void memory_destroy(dl_device *device, void *memory, size_t n_bytes) {
    (void)device;
    (void)n_bytes;
    (void)cudaFree(memory);
}

const dl_backend dl_backend_cuda = {
    .name = "cuda",
    .doc = "one NVIDIA GPU: cuDNN, cuBLASLt and own kernels",
    .open = cuda_open,
    .close = cuda_close,
    .version = dl_cuda_libraries,
    .takes = cuda_takes,
    .prepare = cuda_prepare,
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .upload = dl_cuda_upload,
    .download = dl_cuda_download,
    .n_algorithms = cuda_n_algorithms,
    .algorithm_name = cuda_algorithm_name,
    .own_memory = true,
    .steps_in_flight = 2,
    .streams = &dl_cuda_streams,
    .describe = cuda_describe,
    .model = cuda_model,
};
