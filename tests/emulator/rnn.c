/* What the plugin calls of cuDNN's RNN: one LSTM layer, one element at a time. Its weight space is in an
 * order of its own, with gaps; its reserve space is changed by the way back, in whose order it must be handed
 * on; it adds to the gradients of the weights; and it wants exactly the bytes that it asked for. */
#include "rnn.h"
#include "emulator.h"

#include <cudnn.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, SMALL = 8 };

typedef struct sequences {
    dl_dtype dtype;
    int64_t n, t, width;
} sequences;

typedef struct tensor {
    dl_dtype dtype;
    int dims[3], strides[3];
} tensor;

/* --- descriptors --- */

static cudnnStatus_t create(size_t n_bytes, void *out) {
    void *made = calloc(1, n_bytes);
    memcpy(out, &made, sizeof made);
    return made == NULL ? CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateRNNDescriptor(cudnnRNNDescriptor_t *out) {
    return create(sizeof(rnn_layer), out);
}

cudnnStatus_t cudnnDestroyRNNDescriptor(cudnnRNNDescriptor_t descriptor) {
    free(descriptor);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateRNNDataDescriptor(cudnnRNNDataDescriptor_t *out) {
    return create(sizeof(sequences), out);
}

cudnnStatus_t cudnnDestroyRNNDataDescriptor(cudnnRNNDataDescriptor_t descriptor) {
    free(descriptor);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *out) {
    return create(sizeof(tensor), out);
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
    free(descriptor);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetRNNDescriptor_v8(cudnnRNNDescriptor_t descriptor, cudnnRNNAlgo_t algorithm,
                                       cudnnRNNMode_t cell, cudnnRNNBiasMode_t bias,
                                       cudnnDirectionMode_t direction, cudnnRNNInputMode_t input,
                                       cudnnDataType_t type, cudnnDataType_t sums, cudnnMathType_t math,
                                       int32_t inputs, int32_t h, int32_t projection, int32_t n_layers,
                                       cudnnDropoutDescriptor_t dropout, uint32_t flags) {
    if (cell != CUDNN_LSTM ||
        bias != (algorithm == CUDNN_RNN_ALGO_STANDARD ? CUDNN_RNN_SINGLE_INP_BIAS : CUDNN_RNN_DOUBLE_BIAS) ||
        direction != CUDNN_UNIDIRECTIONAL || input != CUDNN_LINEAR_INPUT || sums != CUDNN_DATA_FLOAT ||
        projection != h || n_layers != 1 || dropout != NULL || flags != CUDNN_RNN_PADDED_IO_ENABLED ||
        (math == CUDNN_TENSOR_OP_MATH) != (type != CUDNN_DATA_FLOAT)) {
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
    *(rnn_layer *)(void *)descriptor = (rnn_layer){
        .dtype = dtype_of(type), .inputs = inputs, .h = h, .algorithm = (int)algorithm, .is_set = true};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBuildRNNDynamic(cudnnHandle_t handle, cudnnRNNDescriptor_t descriptor, int n) {
    rnn_layer *l = (rnn_layer *)(void *)descriptor;
    (void)handle;
    l->built_for = n;
    return l->algorithm == CUDNN_RNN_ALGO_PERSIST_DYNAMIC ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnSetRNNDataDescriptor(cudnnRNNDataDescriptor_t descriptor, cudnnDataType_t type,
                                        cudnnRNNDataLayout_t layout, int t, int n, int width,
                                        const int lengths[], void *padding) {
    for (int i = 0; i < n; i++) {
        if (lengths[i] != t) {
            return CUDNN_STATUS_NOT_SUPPORTED;
        }
    }
    if (layout != CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED || padding != NULL || n < 1 || t < 1 ||
        width < 1) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    *(sequences *)(void *)descriptor = (sequences){dtype_of(type), n, t, width};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t descriptor, cudnnDataType_t type, int n_dims,
                                         const int dims[], const int strides[]) {
    tensor *t = (tensor *)(void *)descriptor;
    if (n_dims != 3) {
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
    t->dtype = dtype_of(type);
    memcpy(t->dims, dims, sizeof t->dims);
    memcpy(t->strides, strides, sizeof t->strides);
    return CUDNN_STATUS_SUCCESS;
}

/* --- memory --- */

static size_t weights_bytes(const rnn_layer *l) {
    return (size_t)rnn_input_at(l, 4) * dl_dtype_bytes(l->dtype);
}

static size_t reserve_bytes(const rnn_layer *l, const sequences *x) {
    return (size_t)(1 + 16 * l->algorithm + x->n * x->t * 5 * l->h) * sizeof(float);
}

cudnnStatus_t cudnnGetRNNWeightSpaceSize(cudnnHandle_t handle, cudnnRNNDescriptor_t descriptor,
                                         size_t *n_bytes) {
    (void)handle;
    *n_bytes = weights_bytes((const rnn_layer *)(const void *)descriptor);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetRNNTempSpaceSizes(cudnnHandle_t handle, cudnnRNNDescriptor_t descriptor,
                                        cudnnForwardMode_t mode, cudnnRNNDataDescriptor_t x, size_t *work,
                                        size_t *reserve) {
    const rnn_layer *l = (const rnn_layer *)(const void *)descriptor;
    (void)handle;
    if (l->algorithm == CUDNN_RNN_ALGO_PERSIST_STATIC_SMALL_H && l->h > SMALL) {
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
    *work = RNN_WORK_BYTES;
    *reserve = mode == CUDNN_FWD_MODE_TRAINING ? reserve_bytes(l, (const sequences *)(const void *)x) : 0;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetRNNWeightParams(cudnnHandle_t handle, cudnnRNNDescriptor_t descriptor,
                                      int32_t pseudo_layer, size_t n_bytes, const void *space,
                                      int32_t product, cudnnTensorDescriptor_t matrix_shape, void **matrix,
                                      cudnnTensorDescriptor_t bias_shape, void **bias) {
    const rnn_layer *l = (const rnn_layer *)(const void *)descriptor;
    char *base = (char *)(uintptr_t)space;
    const int64_t element = (int64_t)dl_dtype_bytes(l->dtype), gate = product % 4;
    (void)handle;
    if (pseudo_layer != 0 || n_bytes != weights_bytes(l) || space == NULL || product < 0 || product > 7 ||
        matrix_shape == NULL || bias_shape == NULL) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    *matrix = base + element * (product < 4 ? rnn_input_at(l, gate) : rnn_recurrent_at(l, gate));
    *bias = product < 4             ? base + element * gate * l->h
            : rnn_has_two_biases(l) ? base + element * (rnn_second_bias_at(l) + gate * l->h)
                                    : NULL;
    return CUDNN_STATUS_SUCCESS;
}

/* --- the calls --- */

/* What an algorithm has not said before it runs: of an odd h, of a batch that its kernel was not made for. */
static bool refuses(const rnn_layer *l, const sequences *x) {
    return (l->algorithm == CUDNN_RNN_ALGO_PERSIST_STATIC && l->h % 2 != 0) ||
           (l->algorithm == CUDNN_RNN_ALGO_PERSIST_DYNAMIC && l->built_for != x->n);
}

/* What all three calls agree upon. */
static bool fits(const rnn_layer *l, const int32_t lengths[], cudnnRNNDataDescriptor_t x_shape,
                 cudnnRNNDataDescriptor_t y_shape, cudnnTensorDescriptor_t h_shape, size_t n_weights,
                 size_t n_work) {
    const sequences *x = (const sequences *)(const void *)x_shape,
                    *y = (const sequences *)(const void *)y_shape;
    const tensor *state = (const tensor *)(const void *)h_shape;
    return l->is_set && x->dtype == l->dtype && y->dtype == l->dtype && state->dtype == l->dtype &&
           x->width == l->inputs && y->width == l->h && x->n == y->n && x->t == y->t && state->dims[0] == 1 &&
           state->dims[1] == x->n && state->dims[2] == l->h && state->strides[1] == l->h &&
           state->strides[2] == 1 && lengths == NULL && n_weights == weights_bytes(l) &&
           n_work == RNN_WORK_BYTES;
}

static bool aligned(const void *a, const void *b, const void *c) {
    return ((uintptr_t)a | (uintptr_t)b | (uintptr_t)c) % ALIGN == 0;
}

static cudaStream_t stream_of(cudnnHandle_t handle) {
    return *(cudaStream_t *)(void *)handle;
}

cudnnStatus_t cudnnRNNForward(cudnnHandle_t handle, cudnnRNNDescriptor_t descriptor, cudnnForwardMode_t mode,
                              const int32_t lengths[], cudnnRNNDataDescriptor_t x_shape, const void *x,
                              cudnnRNNDataDescriptor_t y_shape, void *y, cudnnTensorDescriptor_t h_shape,
                              const void *hx, void *hy, cudnnTensorDescriptor_t c_shape, const void *cx,
                              void *cy, size_t n_weights, const void *weights, size_t n_work, void *work,
                              size_t n_reserve, void *reserve) {
    const rnn_layer *l = (const rnn_layer *)(const void *)descriptor;
    const sequences *s = (const sequences *)(const void *)x_shape;
    const bool training = mode == CUDNN_FWD_MODE_TRAINING;
    if (!fits(l, lengths, x_shape, y_shape, h_shape, n_weights, n_work) || c_shape != h_shape ||
        (hy == NULL) != (cy == NULL) || n_reserve != (training ? reserve_bytes(l, s) : 0) ||
        (reserve != NULL) != training || !aligned(weights, work, reserve)) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    if (refuses(l, s)) {
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
    const rnn_call c = {.l = *l,
                        .n = s->n,
                        .t = s->t,
                        .x = x,
                        .hx = hx,
                        .cx = cx,
                        .weights = weights,
                        .y = y,
                        .hy = hy,
                        .cy = cy,
                        .work = work,
                        .reserve = reserve};
    emulator_submit(stream_of(handle), rnn_run_forward, &c, sizeof c);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnRNNBackwardData_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t descriptor,
                                      const int32_t lengths[], cudnnRNNDataDescriptor_t y_shape,
                                      const void *y, const void *dy, cudnnRNNDataDescriptor_t x_shape,
                                      void *dx, cudnnTensorDescriptor_t h_shape, const void *hx,
                                      const void *dhy, void *dhx, cudnnTensorDescriptor_t c_shape,
                                      const void *cx, const void *dcy, void *dcx, size_t n_weights,
                                      const void *weights, size_t n_work, void *work, size_t n_reserve,
                                      void *reserve) {
    const rnn_layer *l = (const rnn_layer *)(const void *)descriptor;
    const sequences *s = (const sequences *)(const void *)x_shape;
    if (!fits(l, lengths, x_shape, y_shape, h_shape, n_weights, n_work) || c_shape != h_shape ||
        dhy != NULL || dhx != NULL || dcy != NULL || dcx != NULL || y == NULL || dx == NULL ||
        n_reserve != reserve_bytes(l, s) || reserve == NULL || !aligned(weights, work, reserve)) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    const rnn_call c = {.l = *l,
                        .n = s->n,
                        .t = s->t,
                        .hx = hx,
                        .cx = cx,
                        .dy = dy,
                        .weights = weights,
                        .dx = dx,
                        .work = work,
                        .reserve = reserve};
    emulator_submit(stream_of(handle), rnn_run_data, &c, sizeof c);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnRNNBackwardWeights_v8(cudnnHandle_t handle, cudnnRNNDescriptor_t descriptor,
                                         cudnnWgradMode_t mode, const int32_t lengths[],
                                         cudnnRNNDataDescriptor_t x_shape, const void *x,
                                         cudnnTensorDescriptor_t h_shape, const void *hx,
                                         cudnnRNNDataDescriptor_t y_shape, const void *y, size_t n_weights,
                                         void *dweights, size_t n_work, void *work, size_t n_reserve,
                                         void *reserve) {
    const rnn_layer *l = (const rnn_layer *)(const void *)descriptor;
    const sequences *s = (const sequences *)(const void *)x_shape;
    if (!fits(l, lengths, x_shape, y_shape, h_shape, n_weights, n_work) || mode != CUDNN_WGRAD_MODE_ADD ||
        n_reserve != reserve_bytes(l, s) || reserve == NULL || !aligned(dweights, work, reserve)) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    const rnn_call c = {.l = *l,
                        .n = s->n,
                        .t = s->t,
                        .x = x,
                        .hx = hx,
                        .y = (void *)(uintptr_t)y,
                        .dweights = dweights,
                        .work = work,
                        .reserve = reserve};
    emulator_submit(stream_of(handle), rnn_run_weights, &c, sizeof c);
    return CUDNN_STATUS_SUCCESS;
}
