/* cuDNN's RNN in the emulator: the calls (rnn.c) and what they compute (rnn_sums.c). */
#ifndef DLTRAIN_TESTS_EMULATOR_RNN_H
#define DLTRAIN_TESTS_EMULATOR_RNN_H

#include "numbers.h"

#include <stdbool.h>

enum { RNN_WORK_BYTES = 448, RNN_BIAS_GAP = 8, RNN_GATE_GAP = 4 };

typedef struct rnn_layer {
    dl_dtype dtype;
    int64_t inputs, h;
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

/* Elements of the weight space: the biases, a gap, all of W_hh, then W_ih gate by gate with gaps. */
static inline int64_t rnn_recurrent_at(const rnn_layer *l, int64_t gate) {
    return 4 * l->h + RNN_BIAS_GAP + gate * l->h * l->h;
}

static inline int64_t rnn_input_at(const rnn_layer *l, int64_t gate) {
    return rnn_recurrent_at(l, 4) + gate * (l->h * l->inputs + RNN_GATE_GAP);
}

/* What emulator_submit is given, with a rnn_call. */
void rnn_run_forward(void *context);
void rnn_run_data(void *context);
void rnn_run_weights(void *context);

#endif
