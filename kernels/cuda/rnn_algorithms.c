/* Which of its algorithms cuDNN's RNN has for a layer. It says so nowhere: some are refused when they are
 * described, some when their memory is asked for, some not before they run. */
#include "kernels/cuda/rnn.h"

#include "base/log.h"
#include "base/mem.h"

/* A shape that was asked for, and which of the algorithms tried so far run. */
typedef struct dl_rnn_known {
    struct dl_rnn_known *next;
    dl_rnn_shape shape;
    int n, n_tried;
    cudnnRNNAlgo_t algorithm[CUDNN_RNN_ALGO_COUNT];
} dl_rnn_known;

/* --- trying one --- */

/* What a step of a layer touches, in one piece of memory. */
enum { X, Y, DX, DY, WEIGHTS, GRADIENTS, WORK, RESERVE, N_PARTS };

static size_t lay_out(const dl_rnn *rnn, size_t at[N_PARTS]) {
    const dl_lstm_layer_sizes *z = &rnn->shape.sizes;
    const size_t rows = (size_t)(z->n * z->t) * dl_dtype_bytes(rnn->shape.dtype);
    const size_t n_bytes[N_PARTS] = {
        [X] = rows * (size_t)z->inputs, [Y] = rows * (size_t)z->h,      [DX] = rows * (size_t)z->inputs,
        [DY] = rows * (size_t)z->h,     [WEIGHTS] = rnn->weights_bytes, [GRADIENTS] = rnn->weights_bytes,
        [WORK] = rnn->work_bytes,       [RESERVE] = rnn->reserve_bytes,
    };
    size_t end = 0;
    for (int i = 0; i < N_PARTS; i++) {
        at[i] = end;
        end += dl_round_up(n_bytes[i], DL_WORKSPACE_ALIGN);
    }
    return end;
}

static dl_status step(const dl_rnn *rnn, cudnnHandle_t handle, char *memory, const size_t at[N_PARTS]) {
    void *part[N_PARTS];
    for (int i = 0; i < N_PARTS; i++) {
        part[i] = memory + at[i];
    }
    DL_RETURN_IF_ERROR(DL_CUDNN(
        cudnnRNNForward(handle, rnn->layer, CUDNN_FWD_MODE_TRAINING, NULL, rnn->x, part[X], rnn->y, part[Y],
                        rnn->state, NULL, NULL, rnn->state, NULL, NULL, rnn->weights_bytes, part[WEIGHTS],
                        rnn->work_bytes, part[WORK], rnn->reserve_bytes, part[RESERVE])));
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnRNNBackwardData_v8(
        handle, rnn->layer, NULL, rnn->y, part[Y], part[DY], rnn->x, part[DX], rnn->state, NULL, NULL, NULL,
        rnn->state, NULL, NULL, NULL, rnn->weights_bytes, part[WEIGHTS], rnn->work_bytes, part[WORK],
        rnn->reserve_bytes, part[RESERVE])));
    DL_RETURN_IF_ERROR(DL_CUDNN(
        cudnnRNNBackwardWeights_v8(handle, rnn->layer, CUDNN_WGRAD_MODE_ADD, NULL, rnn->x, part[X],
                                   rnn->state, NULL, rnn->y, part[Y], rnn->weights_bytes, part[GRADIENTS],
                                   rnn->work_bytes, part[WORK], rnn->reserve_bytes, part[RESERVE])));
    return DL_CUDA(cudaDeviceSynchronize());
}

static dl_status step_on_zeros(dl_device *device, const dl_rnn *rnn) {
    cudnnHandle_t handle = NULL;
    size_t at[N_PARTS];
    char *memory = NULL;
    const size_t n_bytes = lay_out(rnn, at);
    DL_RETURN_IF_ERROR(dl_cuda_dnn(device, NULL, &handle));
    DL_RETURN_IF_ERROR(DL_CUDA(cudaMalloc((void **)&memory, n_bytes)));
    dl_status status = DL_CUDA(cudaMemset(memory, 0, n_bytes));
    status = status == DL_OK ? step(rnn, handle, memory, at) : status;
    (void)cudaFree(memory);
    return status;
}

static bool runs(dl_device *device, const dl_rnn_shape *shape) {
    dl_rnn rnn;
    dl_status status = dl_rnn_create(device, shape, &rnn);
    status = status == DL_OK ? step_on_zeros(device, &rnn) : status;
    dl_rnn_destroy(&rnn);
    if (status != DL_OK) {
        DL_DEBUG("cuDNN's LSTM %s is not for this layer: %s", dl_rnn_algorithm_name(shape->algorithm),
                 dl_error_last()->message);
    }
    return status == DL_OK;
}

/* --- what is known --- */

static bool same(const dl_rnn_shape *a, const dl_rnn_shape *b) {
    return a->sizes.n == b->sizes.n && a->sizes.t == b->sizes.t && a->sizes.inputs == b->sizes.inputs &&
           a->sizes.h == b->sizes.h && a->dtype == b->dtype && a->training == b->training &&
           a->tf32 == b->tf32;
}

static dl_status known_of(dl_cuda_device *device, const dl_rnn_shape *shape, dl_rnn_known **out) {
    dl_rnn_known *known = device->rnns;
    while (known != NULL && !same(&known->shape, shape)) {
        known = known->next;
    }
    if (known == NULL) {
        DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *known, &known));
        *known = (dl_rnn_known){
            .next = device->rnns, .shape = *shape, .n = 1, .n_tried = 1}; /* the standard one */
        device->rnns = known;
    }
    *out = known;
    return DL_OK;
}

/* Tries on until `wanted` are known, or none is left. */
static void try_until(dl_device *device, dl_rnn_known *known, int wanted) {
    while (known->n < wanted && known->n_tried < CUDNN_RNN_ALGO_COUNT) {
        dl_rnn_shape candidate = known->shape;
        candidate.algorithm = (cudnnRNNAlgo_t)known->n_tried++;
        if (runs(device, &candidate)) {
            known->algorithm[known->n++] = candidate.algorithm;
        }
    }
}

bool dl_rnn_find_algorithm(dl_device *device, const dl_rnn_shape *shape, int number, cudnnRNNAlgo_t *out) {
    dl_rnn_known *known = NULL;
    *out = CUDNN_RNN_ALGO_STANDARD;
    if (number == 0 || known_of(dl_cuda_device_of(device), shape, &known) != DL_OK) {
        return number == 0;
    }
    try_until(device, known, number + 1);
    *out = number < known->n ? known->algorithm[number] : CUDNN_RNN_ALGO_STANDARD;
    return number < known->n;
}

int dl_rnn_n_algorithms(dl_device *device, const dl_rnn_shape *shape) {
    dl_rnn_known *known = NULL;
    if (known_of(dl_cuda_device_of(device), shape, &known) != DL_OK) {
        return 1;
    }
    try_until(device, known, CUDNN_RNN_ALGO_COUNT);
    return known->n;
}

void dl_rnn_forget_algorithms(dl_cuda_device *device) {
    while (device->rnns != NULL) {
        dl_rnn_known *known = device->rnns;
        device->rnns = known->next;
        dl_free(&known);
    }
}
