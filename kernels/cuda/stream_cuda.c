/* Streams, events, copies between host and device. */
#include "kernels/cuda/cuda.h"

#include "base/mem.h"

#include <string.h>

static dl_status use(dl_device *device) {
    return DL_CUDA(cudaSetDevice(device->index));
}

/* ---- streams and events ---- */

static void stream_destroy(dl_device *device, dl_stream *stream) {
    (void)device;
    if (stream == NULL) {
        return;
    }
    if (stream->handle != NULL) {
        (void)cudaStreamSynchronize(stream->handle);
        (void)cudaStreamDestroy(stream->handle);
    }
    for (int i = 0; i < DL_CUDA_STAGING_BUFFERS; i++) {
        if (stream->staging.sent[i] != NULL) {
            (void)cudaEventDestroy(stream->staging.sent[i]);
        }
        (void)cudaFreeHost(stream->staging.buffer[i]);
    }
    dl_free(&stream);
}

static dl_status stream_create(dl_device *device, bool urgent, dl_stream **out) {
    int least = 0, greatest = 0; /* numerically lower is more urgent */
    DL_RETURN_IF_ERROR(use(device));
    DL_RETURN_IF_ERROR(DL_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest)));
    dl_stream *stream = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *stream, &stream));
    /* non-blocking: no order with the default stream but the one that events make */
    const dl_status status = DL_CUDA(
        cudaStreamCreateWithPriority(&stream->handle, cudaStreamNonBlocking, urgent ? greatest : least));
    if (status != DL_OK) {
        dl_free(&stream);
        return status;
    }
    *out = stream;
    return DL_OK;
}

static dl_status stream_synchronize(dl_device *device, dl_stream *stream) {
    DL_RETURN_IF_ERROR(use(device));
    return stream == NULL ? DL_CUDA(cudaDeviceSynchronize()) : DL_CUDA(cudaStreamSynchronize(stream->handle));
}

static dl_status event_create(dl_device *device, dl_event **out) {
    dl_event *event = NULL;
    DL_RETURN_IF_ERROR(use(device));
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *event, &event));
    const dl_status status = DL_CUDA(cudaEventCreateWithFlags(&event->handle, cudaEventDisableTiming));
    if (status != DL_OK) {
        dl_free(&event);
        return status;
    }
    *out = event;
    return DL_OK;
}

static void event_destroy(dl_device *device, dl_event *event) {
    (void)device;
    if (event != NULL) {
        (void)cudaEventDestroy(event->handle);
        dl_free(&event);
    }
}

static dl_status event_record(dl_device *device, dl_event *event, dl_stream *stream) {
    (void)device;
    return DL_CUDA(cudaEventRecord(event->handle, stream->handle));
}

static dl_status event_wait(dl_device *device, dl_event *event, dl_stream *stream) {
    (void)device;
    return DL_CUDA(cudaStreamWaitEvent(stream->handle, event->handle, 0));
}

static dl_status event_synchronize(dl_device *device, dl_event *event) {
    (void)device;
    return DL_CUDA(cudaEventSynchronize(event->handle));
}

static dl_status event_query(dl_device *device, dl_event *event, bool *happened) {
    (void)device;
    const cudaError_t code = cudaEventQuery(event->handle);
    *happened = code == cudaSuccess;
    if (code == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* an answer, not an error that a later look may find */
        return DL_OK;
    }
    return DL_CUDA(code);
}

static dl_status host_create(dl_device *device, size_t n_bytes, void **out) {
    DL_RETURN_IF_ERROR(use(device));
    DL_RETURN_IF_ERROR(DL_CUDA(cudaHostAlloc(out, n_bytes, cudaHostAllocDefault)));
    memset(*out, 0, n_bytes);
    return DL_OK;
}

static void host_destroy(dl_device *device, void *memory, size_t n_bytes) {
    (void)device;
    (void)n_bytes;
    (void)cudaFreeHost(memory);
}

static dl_status copy(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream) {
    DL_RETURN_IF_ERROR(use(device));
    return DL_CUDA(cudaMemcpyAsync(to, from, n_bytes, cudaMemcpyDeviceToDevice, stream->handle));
}

const dl_stream_functions dl_cuda_streams = {
    .create = stream_create,
    .destroy = stream_destroy,
    .synchronize = stream_synchronize,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .event_wait = event_wait,
    .event_synchronize = event_synchronize,
    .event_query = event_query,
    .host_create = host_create,
    .host_destroy = host_destroy,
    .copy = copy,
    .capture_begin = dl_cuda_capture_begin,
    .capture_end = dl_cuda_capture_end,
    .capture_launch = dl_cuda_capture_launch,
    .capture_destroy = dl_cuda_capture_destroy,
};

/* ---- copies ---- */

static dl_status staging_create(dl_cuda_staging *staging) {
    for (int i = 0; i < DL_CUDA_STAGING_BUFFERS; i++) {
        void *memory = NULL;
        DL_RETURN_IF_ERROR(DL_CUDA(cudaEventCreateWithFlags(&staging->sent[i], cudaEventDisableTiming)));
        DL_RETURN_IF_ERROR(DL_CUDA(cudaHostAlloc(&memory, dl_cuda_staging_bytes, cudaHostAllocDefault)));
        staging->buffer[i] = memory;
    }
    return DL_OK;
}

/* Through one pinned buffer; waits while that is still on its way from the time before. An event that was
 * never recorded has happened. */
static dl_status send(dl_stream *stream, char *to, const char *from, size_t n_bytes) {
    dl_cuda_staging *staging = &stream->staging;
    const int i = staging->next;
    DL_RETURN_IF_ERROR(DL_CUDA(cudaEventSynchronize(staging->sent[i])));
    memcpy(staging->buffer[i], from, n_bytes);
    DL_RETURN_IF_ERROR(
        DL_CUDA(cudaMemcpyAsync(to, staging->buffer[i], n_bytes, cudaMemcpyHostToDevice, stream->handle)));
    DL_RETURN_IF_ERROR(DL_CUDA(cudaEventRecord(staging->sent[i], stream->handle)));
    staging->next = (i + 1) % DL_CUDA_STAGING_BUFFERS;
    return DL_OK;
}

dl_status dl_cuda_upload(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream) {
    DL_RETURN_IF_ERROR(use(device));
    if (stream == NULL) {
        DL_RETURN_IF_ERROR(DL_CUDA(cudaDeviceSynchronize()));
        DL_RETURN_IF_ERROR(DL_CUDA(cudaMemcpy(to, from, n_bytes, cudaMemcpyHostToDevice)));
        /* from pageable memory it returns when the bytes are in the driver's own, not on the device */
        return DL_CUDA(cudaDeviceSynchronize());
    }
    if (stream->staging.buffer[DL_CUDA_STAGING_BUFFERS - 1] == NULL) {
        DL_RETURN_IF_ERROR(staging_create(&stream->staging));
    }
    for (size_t done = 0; done < n_bytes; done += dl_cuda_staging_bytes) {
        const size_t left = n_bytes - done;
        DL_RETURN_IF_ERROR(send(stream, (char *)to + done, (const char *)from + done,
                                left < dl_cuda_staging_bytes ? left : dl_cuda_staging_bytes));
    }
    return DL_OK;
}

dl_status dl_cuda_download(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream) {
    DL_RETURN_IF_ERROR(use(device));
    if (stream == NULL) {
        DL_RETURN_IF_ERROR(DL_CUDA(cudaDeviceSynchronize()));
        return DL_CUDA(cudaMemcpy(to, from, n_bytes, cudaMemcpyDeviceToHost));
    }
    return DL_CUDA(cudaMemcpyAsync(to, from, n_bytes, cudaMemcpyDeviceToHost, stream->handle));
}
