/* Activations of one element, and their gradients from the output alone. NaN goes through all of them. */
#ifndef DLTRAIN_KERNELS_COMMON_ACTIVATION_H
#define DLTRAIN_KERNELS_COMMON_ACTIVATION_H

#include "kernels/common/pointwise.h"
#include "kernels/op.h"

#include <math.h>

DL_SHARED float dl_relu(float x) {
    return x < 0.0f ? 0.0f : x; /* not x > 0 ? x : 0, which would hide NaN */
}

DL_SHARED float dl_relu_backward(float y, float dy) {
    return y > 0.0f ? dy : 0.0f;
}

DL_SHARED float dl_tanh(float x) {
    return tanhf(x);
}

DL_SHARED float dl_tanh_backward(float y, float dy) {
    return dy * (1.0f - y * y);
}

DL_SHARED float dl_sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

DL_SHARED float dl_sigmoid_backward(float y, float dy) {
    return dy * (y * (1.0f - y));
}

DL_SHARED float dl_activate(dl_activation activation, float x) {
    switch (activation) {
    case DL_ACT_RELU:
        return dl_relu(x);
    case DL_ACT_TANH:
        return dl_tanh(x);
    case DL_ACT_SIGMOID:
        return dl_sigmoid(x);
    default:
        return x;
    }
}

DL_SHARED float dl_activate_backward(dl_activation activation, float y, float dy) {
    switch (activation) {
    case DL_ACT_RELU:
        return dl_relu_backward(y, dy);
    case DL_ACT_TANH:
        return dl_tanh_backward(y, dy);
    case DL_ACT_SIGMOID:
        return dl_sigmoid_backward(y, dy);
    default:
        return dy;
    }
}

#endif
