/* The pointwise part of an LSTM, one position a launch. */
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

static __global__ void lstm_forward(int64_t n, dl_lstm_forward_step step) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dl_lstm_forward_unit(&step, i);
    }
}

cudaError_t dl_launch_lstm_forward(int64_t n_samples, const dl_lstm_forward_step *step, cudaStream_t stream) {
    return dl_launch(lstm_forward, n_samples * step->h, stream, *step);
}

static __global__ void lstm_backward(int64_t n, dl_lstm_backward_step step) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        dl_lstm_backward_unit(&step, i);
    }
}

cudaError_t dl_launch_lstm_backward(int64_t n_samples, const dl_lstm_backward_step *step,
                                    cudaStream_t stream) {
    return dl_launch(lstm_backward, n_samples * step->h, stream, *step);
}

static __global__ void lstm_before(int64_t n, int64_t n_positions, int64_t h, const float *y, const float *h0,
                                   float *before) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        before[i] = dl_lstm_output_before(y, h0, n_positions, h, i);
    }
}

cudaError_t dl_launch_lstm_before(int64_t n_samples, int64_t n_positions, int64_t h, const float *y,
                                  const float *h0, float *before, cudaStream_t stream) {
    return dl_launch(lstm_before, n_samples * n_positions * h, stream, n_positions, h, y, h0, before);
}
