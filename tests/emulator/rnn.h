/* cuDNN's RNN in the emulator: the calls (rnn.c) and what they compute (rnn_sums.c). */
#ifndef DLTRAIN_TESTS_EMULATOR_RNN_H
#define DLTRAIN_TESTS_EMULATOR_RNN_H

#include "numbers.h"

#include <stdbool.h>

enum { RNN_WORK_BYTES = 448, RNN_BIAS_GAP = 8, RNN_GATE_GAP = 4 };

typedef struct rnn_layer {
    dl_dtype dtype;
    int64_t inputs, h;
    int algorithm;     /* cudnnRNNAlgo_t: all compute the same, and keep it elsewhere */
    int64_t built_for; /* samples that a kernel was made for, 0: none */
    bool is_set;
} rnn_layer;

/* A call with all that it reads of the host. */
typedef struct rnn_call {
    rnn_layer l;
    int64_t n, t;
    const void *x, *hx, *cx, *dy, *weights;
    void *y, *hy, *cy, *dx, *dweights, *work;
    float *reserve; /* its stage, gates or their gradients [n, t, 4 h], cells [n, t, h]; NULL: not kept */
} rnn_call;

/* Elements of the weight space: the biases, a gap, with the persistent algorithms second biases and a larger
 * gap, all of W_hh, then W_ih gate by gate with gaps. */
static inline bool rnn_has_two_biases(const rnn_layer *l) {
    return l->algorithm != 0;
}

static inline int64_t rnn_second_bias_at(const rnn_layer *l) {
    return 4 * l->h + RNN_BIAS_GAP;
}

static inline int64_t rnn_recurrent_at(const rnn_layer *l, int64_t gate) {
    return rnn_second_bias_at(l) + (rnn_has_two_biases(l) ? 4 * l->h + RNN_BIAS_GAP * l->algorithm : 0) +
           gate * l->h * l->h;
}

static inline int64_t rnn_input_at(const rnn_layer *l, int64_t gate) {
    return rnn_recurrent_at(l, 4) + gate * (l->h * l->inputs + RNN_GATE_GAP);
}

/* What emulator_submit is given, with a rnn_call. */
void rnn_run_forward(void *context);
void rnn_run_data(void *context);
void rnn_run_weights(void *context);

#endif
