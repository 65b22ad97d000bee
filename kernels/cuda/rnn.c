#include "kernels/cuda/rnn.h"

#include "kernels/cuda/kernels.h"

/* --- the weight space --- */

static int64_t columns_of(const dl_rnn *rnn, dl_rnn_weights weights) {
    const dl_lstm_layer_sizes *z = &rnn->shape.sizes;
    return weights == DL_RNN_W_IH ? z->inputs : weights == DL_RNN_W_HH ? z->h : 1;
}

/* Adds a gate's part, joining it to the one before where it goes on there. */
static void add_run(dl_rnn *rnn, dl_rnn_weights weights, int gate, size_t at) {
    const int64_t n = rnn->shape.sizes.h * columns_of(rnn, weights);
    dl_rnn_run *last = rnn->n_runs > 0 ? &rnn->run[rnn->n_runs - 1] : NULL;
    if (last != NULL && last->weights == weights &&
        last->at + (size_t)last->n * dl_dtype_bytes(rnn->shape.dtype) == at) {
        last->n += n;
        return;
    }
    rnn->run[rnn->n_runs++] = (dl_rnn_run){.weights = weights, .first = gate * n, .n = n, .at = at};
}

/* Where cuDNN wants the matrix and the bias of one product of one gate (0..3: of the inputs, 4..7: of the
 * outputs before; i, f, g, o in both). */
static dl_status locate(const dl_rnn *rnn, cudnnHandle_t handle, char *space, int product,
                        cudnnTensorDescriptor_t shape[2], char **matrix, char **bias) {
    void *address[2] = {NULL, NULL};
    DL_RETURN_IF_ERROR(
        DL_CUDNN(cudnnGetRNNWeightParams(handle, rnn->layer, 0, rnn->weights_bytes, space, product, shape[0],
                                         &address[0], shape[1], &address[1])));
    *matrix = address[0];
    *bias = address[1];
    const bool biased = product < DL_RNN_GATES || dl_rnn_has_two_biases(rnn->shape.algorithm);
    DL_RETURN_ERROR_IF(*matrix == NULL || (*bias != NULL) != biased, DL_ERR_INTERNAL,
                       "cuDNN's LSTM has other weights than were asked for: product %d", product);
    return DL_OK;
}

static dl_status find_runs(dl_rnn *rnn, cudnnHandle_t handle, char *space, cudnnTensorDescriptor_t shape[2]) {
    const int n = dl_rnn_has_two_biases(rnn->shape.algorithm) ? DL_RNN_N_WEIGHTS + 1 : DL_RNN_N_WEIGHTS;
    for (int weights = 0; weights < n; weights++) {
        for (int gate = 0; gate < DL_RNN_GATES; gate++) {
            char *matrix = NULL, *bias = NULL;
            const bool recurrent = weights == DL_RNN_W_HH || weights == DL_RNN_N_WEIGHTS;
            const int product = recurrent ? DL_RNN_GATES + gate : gate;
            DL_RETURN_IF_ERROR(locate(rnn, handle, space, product, shape, &matrix, &bias));
            add_run(rnn, (dl_rnn_weights)weights, gate,
                    (size_t)((weights == DL_RNN_W_IH || weights == DL_RNN_W_HH ? matrix : bias) - space));
        }
    }
    return DL_OK;
}

/* cuDNN tells addresses in a weight space, so it is given one to look at. */
static dl_status map_weights(dl_rnn *rnn, cudnnHandle_t handle) {
    cudnnTensorDescriptor_t shape[2] = {NULL, NULL};
    void *space = NULL;
    dl_status status = DL_CUDA(cudaMalloc(&space, rnn->weights_bytes));
    for (int i = 0; i < 2 && status == DL_OK; i++) {
        status = DL_CUDNN(cudnnCreateTensorDescriptor(&shape[i]));
    }
    status = status == DL_OK ? find_runs(rnn, handle, space, shape) : status;
    for (int i = 0; i < 2; i++) {
        if (shape[i] != NULL) {
            (void)cudnnDestroyTensorDescriptor(shape[i]);
        }
    }
    (void)cudaFree(space);
    return status;
}

dl_status dl_rnn_create(dl_device *device, const dl_rnn_shape *shape, dl_rnn *out) {
    cudnnHandle_t handle = NULL;
    DL_RETURN_IF_ERROR(dl_rnn_describe(shape, out));
    DL_RETURN_IF_ERROR(dl_cuda_dnn(device, NULL, &handle));
    if (shape->algorithm == CUDNN_RNN_ALGO_PERSIST_DYNAMIC) { /* its kernel is compiled for the batch */
        DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBuildRNNDynamic(handle, out->layer, (int)shape->sizes.n)));
    }
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnGetRNNWeightSpaceSize(handle, out->layer, &out->weights_bytes)));
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnGetRNNTempSpaceSizes(
        handle, out->layer, shape->training ? CUDNN_FWD_MODE_TRAINING : CUDNN_FWD_MODE_INFERENCE, out->x,
        &out->work_bytes, &out->reserve_bytes)));
    out->reserve_bytes = shape->training ? out->reserve_bytes : 0;
    return map_weights(out, handle);
}

/* --- copies --- */

dl_status dl_rnn_copy(int64_t n, dl_dtype from_dtype, const void *from, dl_dtype to_dtype, void *to,
                      cudaStream_t stream) {
    return DL_CUDA(from_dtype == to_dtype ? cudaMemcpyAsync(to, from, (size_t)n * dl_dtype_bytes(to_dtype),
                                                            cudaMemcpyDeviceToDevice, stream)
                                          : dl_launch_cast(n, from_dtype, from, to_dtype, to, stream));
}

dl_status dl_rnn_fill(const dl_rnn *rnn, const void *const plain[DL_RNN_N_WEIGHTS],
                      const dl_dtype dtype[DL_RNN_N_WEIGHTS], void *space, cudaStream_t stream) {
    for (int i = 0; i < rnn->n_runs; i++) {
        const dl_rnn_run *run = &rnn->run[i];
        if (run->weights == DL_RNN_N_WEIGHTS) {
            DL_RETURN_IF_ERROR(DL_CUDA(cudaMemsetAsync(
                (char *)space + run->at, 0, (size_t)run->n * dl_dtype_bytes(rnn->shape.dtype), stream)));
            continue;
        }
        const size_t skip = (size_t)run->first * dl_dtype_bytes(dtype[run->weights]);
        DL_RETURN_IF_ERROR(dl_rnn_copy(run->n, dtype[run->weights], (const char *)plain[run->weights] + skip,
                                       rnn->shape.dtype, (char *)space + run->at, stream));
    }
    return DL_OK;
}

dl_status dl_rnn_fetch(const dl_rnn *rnn, const void *space, float *const plain[DL_RNN_N_WEIGHTS],
                       cudaStream_t stream) {
    for (int i = 0; i < rnn->n_runs; i++) {
        const dl_rnn_run *run = &rnn->run[i];
        if (run->weights < DL_RNN_N_WEIGHTS) {
            DL_RETURN_IF_ERROR(dl_rnn_copy(run->n, rnn->shape.dtype, (const char *)space + run->at, DL_F32,
                                           plain[run->weights] + run->first, stream));
        }
    }
    return DL_OK;
}
