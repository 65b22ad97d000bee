/* What cuDNN is told of an LSTM layer; no GPU is needed for that. */
#include "base/mem.h"
#include "kernels/cuda/conv2d_graph.h"
#include "kernels/cuda/rnn.h"

#include <limits.h>

bool dl_rnn_takes(const dl_lstm_layer_sizes *sizes, dl_dtype dtype) {
    cudnnDataType_t ignored;
    return dl_graph_dtype(dtype, &ignored) && sizes->h >= 1 && sizes->h <= INT_MAX / DL_RNN_GATES &&
           sizes->n <= INT_MAX / sizes->h && sizes->t <= INT_MAX && sizes->inputs <= INT_MAX;
}

const char *dl_rnn_algorithm_name(cudnnRNNAlgo_t algorithm) {
    static const char *const names[CUDNN_RNN_ALGO_COUNT] = {
        [CUDNN_RNN_ALGO_STANDARD] = "standard",
        [CUDNN_RNN_ALGO_PERSIST_STATIC] = "persist_static",
        [CUDNN_RNN_ALGO_PERSIST_DYNAMIC] = "persist_dynamic",
        [CUDNN_RNN_ALGO_PERSIST_STATIC_SMALL_H] = "persist_small",
    };
    return names[algorithm];
}

bool dl_rnn_has_two_biases(cudnnRNNAlgo_t algorithm) {
    return algorithm != CUDNN_RNN_ALGO_STANDARD;
}

/* float32 sums whatever the type; float32 products exactly unless tf32 is allowed. */
static dl_status describe_layer(dl_rnn *rnn, cudnnDataType_t type) {
    const dl_rnn_shape *s = &rnn->shape;
    const cudnnMathType_t math = s->dtype != DL_F32 ? CUDNN_TENSOR_OP_MATH
                                 : s->tf32          ? CUDNN_DEFAULT_MATH
                                                    : CUDNN_FMA_MATH;
    const cudnnRNNBiasMode_t bias =
        dl_rnn_has_two_biases(s->algorithm) ? CUDNN_RNN_DOUBLE_BIAS : CUDNN_RNN_SINGLE_INP_BIAS;
    const int h = (int)s->sizes.h;
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnCreateRNNDescriptor(&rnn->layer)));
    return DL_CUDNN(cudnnSetRNNDescriptor_v8(
        rnn->layer, s->algorithm, CUDNN_LSTM, bias, CUDNN_UNIDIRECTIONAL, CUDNN_LINEAR_INPUT, type,
        CUDNN_DATA_FLOAT, math, (int)s->sizes.inputs, h, h, 1, NULL, CUDNN_RNN_PADDED_IO_ENABLED));
}

static dl_status describe_sequences(const dl_rnn *rnn, cudnnDataType_t type, int64_t width,
                                    const int *lengths, cudnnRNNDataDescriptor_t *out) {
    const dl_lstm_layer_sizes *z = &rnn->shape.sizes;
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnCreateRNNDataDescriptor(out)));
    return DL_CUDNN(cudnnSetRNNDataDescriptor(*out, type, CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED,
                                              (int)z->t, (int)z->n, (int)width, lengths, NULL));
}

dl_status dl_rnn_describe(const dl_rnn_shape *shape, dl_rnn *out) {
    const dl_lstm_layer_sizes *z = &shape->sizes;
    const int dims[] = {1, (int)z->n, (int)z->h}, strides[] = {(int)(z->n * z->h), (int)z->h, 1};
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    int *lengths = NULL;
    *out = (dl_rnn){.shape = *shape};
    DL_RETURN_ERROR_IF(!dl_graph_dtype(shape->dtype, &type), DL_ERR_INTERNAL, "cuDNN's RNN has no type %s",
                       dl_dtype_name(shape->dtype));
    DL_RETURN_IF_ERROR(describe_layer(out, type));
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnCreateTensorDescriptor(&out->state)));
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnSetTensorNdDescriptor(out->state, type, 3, dims, strides)));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)z->n, sizeof *lengths, &lengths));
    for (int64_t i = 0; i < z->n; i++) {
        lengths[i] = (int)z->t;
    }
    dl_status status = describe_sequences(out, type, z->inputs, lengths, &out->x);
    status = status == DL_OK ? describe_sequences(out, type, z->h, lengths, &out->y) : status;
    dl_free(&lengths);
    return status;
}

void dl_rnn_destroy(dl_rnn *rnn) {
    cudnnRNNDataDescriptor_t *const sequences[] = {&rnn->x, &rnn->y};
    for (int i = 0; i < 2; i++) {
        if (*sequences[i] != NULL) {
            (void)cudnnDestroyRNNDataDescriptor(*sequences[i]);
            *sequences[i] = NULL;
        }
    }
    if (rnn->state != NULL) {
        (void)cudnnDestroyTensorDescriptor(rnn->state);
        rnn->state = NULL;
    }
    if (rnn->layer != NULL) {
        (void)cudnnDestroyRNNDescriptor(rnn->layer);
        rnn->layer = NULL;
    }
}
