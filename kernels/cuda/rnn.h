/* One LSTM layer of cuDNN's RNN (cuDNN API reference, cudnnRNNForward and its kin, in their form of version
 * 8): its descriptors, what it wants of memory, and its weights, which it reads from one buffer of its own,
 * the weight space. */
#ifndef DLTRAIN_KERNELS_CUDA_RNN_H
#define DLTRAIN_KERNELS_CUDA_RNN_H

#include "kernels/cuda/cuda.h"
#include "kernels/ops/sizes.h"

/* x [n, t, inputs] and y [n, t, h] in one type, all sequences of full length: others are masked by operations
 * of their own. tf32: float32 products may round their factors to it. What cuDNN wants of memory depends on
 * the algorithm, too. */
typedef struct dl_rnn_shape {
    dl_lstm_layer_sizes sizes;
    dl_dtype dtype;
    bool training, tf32;
    cudnnRNNAlgo_t algorithm;
} dl_rnn_shape;

/* What a weight space is made of. */
typedef enum dl_rnn_weights { DL_RNN_W_IH, DL_RNN_W_HH, DL_RNN_B, DL_RNN_N_WEIGHTS } dl_rnn_weights;

enum { DL_RNN_GATES = 4, DL_RNN_MAX_RUNS = (DL_RNN_N_WEIGHTS + 1) * DL_RNN_GATES };

/* Elements of a weight, whole gates of it, that lie together in the weight space. */
typedef struct dl_rnn_run {
    dl_rnn_weights weights; /* DL_RNN_N_WEIGHTS: zeros, second biases that cuDNN wants and we have not */
    int64_t first, n;
    size_t at; /* bytes into the weight space */
} dl_rnn_run;

typedef struct dl_rnn {
    dl_rnn_shape shape;
    cudnnRNNDescriptor_t layer;
    cudnnRNNDataDescriptor_t x, y;
    cudnnTensorDescriptor_t state; /* h0, c0, hn, cn: [1, n, h] */
    size_t weights_bytes, work_bytes;
    size_t reserve_bytes; /* written forwards, changed on the way back; 0 without training */
    int n_runs;
    dl_rnn_run run[DL_RNN_MAX_RUNS];
} dl_rnn;

/* Does cuDNN compute with this type, and are the sizes within its integers? */
bool dl_rnn_takes(const dl_lstm_layer_sizes *sizes, dl_dtype dtype);

/* The algorithms that train a layer of this shape (its own is not looked at) on this device, the standard one
 * first: how many there are; which one is number `number`, false where there are fewer. Each of the others,
 * which keep the recurrent weights on the processors from position to position ("persistent"), is tried when
 * it is first asked for, forwards and backwards: to count them is to try them all. (rnn_algorithms.c) */
int dl_rnn_n_algorithms(dl_device *device, const dl_rnn_shape *shape);
bool dl_rnn_find_algorithm(dl_device *device, const dl_rnn_shape *shape, int number, cudnnRNNAlgo_t *out);
void dl_rnn_forget_algorithms(dl_cuda_device *device);
const char *dl_rnn_algorithm_name(cudnnRNNAlgo_t algorithm);
/* The persistent ones come with two biases alone, of the inputs and of the outputs before. */
bool dl_rnn_has_two_biases(cudnnRNNAlgo_t algorithm);

/* The descriptors alone, for which no GPU is needed. Destroy also what a failed call left. */
DL_NODISCARD dl_status dl_rnn_describe(const dl_rnn_shape *shape, dl_rnn *out);

/* The descriptors, and what the device, which must be open, says of them. Destroy also what a failed call
 * left. */
DL_NODISCARD dl_status dl_rnn_create(dl_device *device, const dl_rnn_shape *shape, dl_rnn *out);
void dl_rnn_destroy(dl_rnn *rnn);

/* Enqueue the copies between a weight space and plain tensors: w_ih [4 h, inputs], w_hh [4 h, h], b [4 h], in
 * PyTorch's order of gates, each of the type that `dtype` says, cast where the layer's is another. */
DL_NODISCARD dl_status dl_rnn_fill(const dl_rnn *rnn, const void *const plain[DL_RNN_N_WEIGHTS],
                                   const dl_dtype dtype[DL_RNN_N_WEIGHTS], void *space, cudaStream_t stream);
DL_NODISCARD dl_status dl_rnn_fetch(const dl_rnn *rnn, const void *space,
                                    float *const plain[DL_RNN_N_WEIGHTS], cudaStream_t stream);

/* Enqueues a copy of n values, cast where the types differ; one of them is float32 then. */
DL_NODISCARD dl_status dl_rnn_copy(int64_t n, dl_dtype from_dtype, const void *from, dl_dtype to_dtype,
                                   void *to, cudaStream_t stream);

#endif
