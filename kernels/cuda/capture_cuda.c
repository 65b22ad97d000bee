/* Work kept as one piece: CUDA graphs, made by capturing streams. */
#include "kernels/cuda/cuda.h"

#include "base/mem.h"

struct dl_capture {
    cudaGraphExec_t handle;
};

/* Calls of other threads are none of the capture's business: NCCL's, for one. */
dl_status dl_cuda_capture_begin(dl_device *device, dl_stream *stream) {
    DL_RETURN_IF_ERROR(DL_CUDA(cudaSetDevice(device->index)));
    return DL_CUDA(cudaStreamBeginCapture(stream->handle, cudaStreamCaptureModeThreadLocal));
}

/* Kernels keep the priority of the stream that they were put into. */
static dl_status instantiate(cudaGraph_t graph, dl_stream *stream, dl_capture **out) {
    dl_capture *capture = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *capture, &capture));
    dl_status status =
        DL_CUDA(cudaGraphInstantiate(&capture->handle, graph, cudaGraphInstantiateFlagUseNodePriority));
    status = status == DL_OK ? DL_CUDA(cudaGraphUpload(capture->handle, stream->handle)) : status;
    if (status != DL_OK) {
        dl_cuda_capture_destroy(NULL, capture);
        return status;
    }
    *out = capture;
    return DL_OK;
}

dl_status dl_cuda_capture_end(dl_device *device, dl_stream *stream, dl_capture **out) {
    cudaGraph_t graph = NULL;
    (void)device;
    dl_status status = DL_CUDA(cudaStreamEndCapture(stream->handle, &graph));
    if (status == DL_OK && out != NULL) {
        status = instantiate(graph, stream, out);
    }
    if (graph != NULL) {
        (void)cudaGraphDestroy(graph);
    }
    return status;
}

dl_status dl_cuda_capture_launch(dl_device *device, dl_capture *capture, dl_stream *stream) {
    DL_RETURN_IF_ERROR(DL_CUDA(cudaSetDevice(device->index)));
    return DL_CUDA(cudaGraphLaunch(capture->handle, stream->handle));
}

void dl_cuda_capture_destroy(dl_device *device, dl_capture *capture) {
    (void)device;
    if (capture->handle != NULL) {
        (void)cudaGraphExecDestroy(capture->handle);
    }
    dl_free(&capture);
}
