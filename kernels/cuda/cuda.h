/* Inside the cuda backend: its device, streams, prepared operations, and who prepares what. C11; kernels are
 * declared in kernels.h and live in .cu files. */
#ifndef DLTRAIN_KERNELS_CUDA_CUDA_H
#define DLTRAIN_KERNELS_CUDA_CUDA_H

#include "kernels/plugin.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

/* ---- failures: the call's text and the library's own words ---- */

DL_NODISCARD dl_status dl_cuda_check(cudaError_t code, const char *call, const char *file, int line,
                                     const char *function);
DL_NODISCARD dl_status dl_cudnn_check(cudnnStatus_t code, const char *call, const char *file, int line,
                                      const char *function);
DL_NODISCARD dl_status dl_cublas_check(cublasStatus_t code, const char *call, const char *file, int line,
                                       const char *function);

/* A dl_status of a call: DL_ERR_MEMORY where the GPU has none left, else DL_ERR_INTERNAL. */
#define DL_CUDA(call) dl_cuda_check((call), #call, __FILE__, __LINE__, __func__)
#define DL_CUDNN(call) dl_cudnn_check((call), #call, __FILE__, __LINE__, __func__)
#define DL_CUBLAS(call) dl_cublas_check((call), #call, __FILE__, __LINE__, __func__)

/* Why no GPU can be used: a sentence for DL_ERR_USAGE ("no NVIDIA driver ..."), or DL_OK and their number. */
DL_NODISCARD dl_status dl_cuda_count(int *n);

/* What the plugin tells of itself (plugin_cuda.c). */
dl_status dl_cuda_gpus(dl_gpu *out, int *n);
void dl_cuda_libraries(char *out, size_t n_bytes);
/* The driver's own version, "580.95.05", or "" when the system does not tell. */
void dl_cuda_driver(char out[32]);

/* ---- the device ---- */

typedef struct dl_cuda_device {
    dl_device base;
    dl_gpu gpu;
    int n_processors; /* streaming multiprocessors */
    cublasLtHandle_t blas;
    cudnnHandle_t dnn;              /* not bound to a stream: dl_cuda_dnn does that */
    struct dl_graph_device *graphs; /* cuDNN's engines and plans, as far as they were asked for (graph.h) */
    struct dl_rnn_known *rnns;      /* shapes of LSTM layers whose algorithms were asked for (rnn.h) */
} dl_cuda_device;

static inline dl_cuda_device *dl_cuda_device_of(dl_device *device) {
    return (dl_cuda_device *)(void *)device;
}

/* Pinned host memory that uploads go through, in turns: while one buffer is on its way, the next is filled.
 */
enum { DL_CUDA_STAGING_BUFFERS = 2 };
static const size_t dl_cuda_staging_bytes = (size_t)8 << 20; /* 0.15 ms at PCIe 5.0's 55 GB/s */

typedef struct dl_cuda_staging {
    char *buffer[DL_CUDA_STAGING_BUFFERS];
    cudaEvent_t sent[DL_CUDA_STAGING_BUFFERS]; /* the copy out of the buffer is done */
    int next;
} dl_cuda_staging;

struct dl_stream {
    cudaStream_t handle;
    dl_cuda_staging staging; /* made with the first upload */
};

struct dl_event {
    cudaEvent_t handle;
};

extern const dl_stream_functions dl_cuda_streams;

/* Captures for dl_stream_functions (capture_cuda.c). */
dl_status dl_cuda_capture_begin(dl_device *device, dl_stream *stream);
dl_status dl_cuda_capture_end(dl_device *device, dl_stream *stream, dl_capture **out);
dl_status dl_cuda_capture_launch(dl_device *device, dl_capture *capture, dl_stream *stream);
void dl_cuda_capture_destroy(dl_device *device, dl_capture *capture);

/* The stream that an operation is put into; without one CUDA's default stream. */
static inline cudaStream_t dl_cuda_handle(const dl_stream *stream) {
    return stream == NULL ? NULL : stream->handle;
}

/* cuDNN's handle, putting its work into this stream. */
DL_NODISCARD dl_status dl_cuda_dnn(dl_device *device, const dl_stream *stream, cudnnHandle_t *out);

/* Copies for dl_backend.upload and download (stream_cuda.c). */
dl_status dl_cuda_upload(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream);
dl_status dl_cuda_download(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream);

/* ---- operations ---- */

/* Puts the kernels of an operation into a stream; slots as in dl_op_functions.run. */
typedef cudaError_t dl_cuda_run(const dl_op *op, void *const *slots, cudaStream_t stream);

/* One kind that the backend takes. A kind of own kernels is `run` alone, with its workspace where it needs
 * some; one that prepares plans of a library has `prepare` in its place. */
typedef struct dl_cuda_kind {
    dl_op_kind kind;
    dl_cuda_run *run;
    size_t (*workspace)(const dl_op_desc *desc); /* NULL: none */
    bool (*takes)(const dl_op_desc *desc);       /* NULL: all forms without 16-bit floats */
    dl_status (*prepare)(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out);
    /* As dl_backend's; NULL: one, the default. */
    int (*n_algorithms)(dl_device *device, const dl_op_desc *desc);
    const char *(*algorithm_name)(dl_device *device, const dl_op_desc *desc, int algorithm);
    const char *implementation; /* NULL: "kernel" */
} dl_cuda_kind;

/* The kinds of each family, ended by a row without run and prepare: families.def. */
#define DL_CUDA_FAMILY(name) extern const dl_cuda_kind dl_cuda_kinds_##name[];
#include "kernels/cuda/families.def"
#undef DL_CUDA_FAMILY

/* For dl_cuda_kind.takes: activations and their gradients are float32, or all of one 16-bit type; layouts are
 * plain. */
bool dl_cuda_takes_one_type(const dl_op_desc *desc);

/* Fills the head of an operation that a family has allocated: desc, plain layouts, "cuda:NAME". */
void dl_cuda_op_init(dl_op *op, dl_device *device, const dl_op_desc *desc, const dl_op_functions *functions,
                     const char *name);

#endif
