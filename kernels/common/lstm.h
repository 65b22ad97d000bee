/* The pointwise part of an LSTM: one unit at one position of one sample. */
#ifndef DLTRAIN_KERNELS_COMMON_LSTM_H
#define DLTRAIN_KERNELS_COMMON_LSTM_H

#include "kernels/common/activation.h"

/* A unit's gates; before or behind their activations, or their gradients. */
typedef struct dl_lstm_gates {
    float i, f, g, o;
} dl_lstm_gates;

/* From sums to gates. */
DL_SHARED dl_lstm_gates dl_lstm_activate(dl_lstm_gates sum) {
    dl_lstm_gates gates;
    gates.i = dl_sigmoid(sum.i);
    gates.f = dl_sigmoid(sum.f);
    gates.g = dl_tanh(sum.g);
    gates.o = dl_sigmoid(sum.o);
    return gates;
}

DL_SHARED float dl_lstm_cell(dl_lstm_gates gates, float c_before) {
    return gates.f * c_before + gates.i * gates.g;
}

/* Gradients of the sums. dh: of the output, from above and from the next position; *dc: of the cell from the
 * next position, replaced by what goes to the position before. */
DL_SHARED dl_lstm_gates dl_lstm_backward(dl_lstm_gates gates, float c_before, float c, float dh, float *dc) {
    dl_lstm_gates d;
    const float squashed = dl_tanh(c);
    const float cell = *dc + dl_tanh_backward(squashed, dh * gates.o);
    d.i = dl_sigmoid_backward(gates.i, cell * gates.g);
    d.f = dl_sigmoid_backward(gates.f, cell * c_before);
    d.g = dl_tanh_backward(gates.g, cell * gates.i);
    d.o = dl_sigmoid_backward(gates.o, dh * squashed);
    *dc = cell * gates.f;
    return d;
}

#endif
