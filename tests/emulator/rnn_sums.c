/* One LSTM layer, one element at a time. */
#include "emulator.h"
#include "rnn.h"

#include "kernels/common/lstm.h"

#include <stdlib.h>
#include <string.h>

enum { AFTER_FORWARD = 1, AFTER_DATA = 2 };

static double at(const rnn_call *c, const void *memory, int64_t i) {
    return number_at(memory, i, c->l.dtype);
}

/* What stands before position t: row t - 1, or the first state. */
static double before(const rnn_call *c, const void *rows, const void *first, int64_t n, int64_t t,
                     int64_t k) {
    if (t > 0) {
        return at(c, rows, (n * c->t + t - 1) * c->l.h + k);
    }
    return first == NULL ? 0.0 : at(c, first, n * c->l.h + k);
}

static double gate_sum(const rnn_call *c, int64_t n, int64_t t, int64_t gate, int64_t k) {
    const rnn_layer *l = &c->l;
    double sum = at(c, c->weights, gate * l->h + k);
    if (rnn_has_two_biases(l)) {
        sum += at(c, c->weights, rnn_second_bias_at(l) + gate * l->h + k);
    }
    for (int64_t i = 0; i < l->inputs; i++) {
        sum += at(c, c->x, (n * c->t + t) * l->inputs + i) *
               at(c, c->weights, rnn_input_at(l, gate) + k * l->inputs + i);
    }
    for (int64_t j = 0; j < l->h; j++) {
        sum += before(c, c->y, c->hx, n, t, j) * at(c, c->weights, rnn_recurrent_at(l, gate) + k * l->h + j);
    }
    return sum;
}

static float *gates_of(const rnn_call *c, int64_t row) {
    return c->reserve + 1 + row * 4 * c->l.h;
}

static float *cells_of(const rnn_call *c, int64_t row) {
    return c->reserve + 1 + c->n * c->t * 4 * c->l.h + row * c->l.h;
}

static float first_cell(const rnn_call *c, int64_t n, int64_t k) {
    return c->cx == NULL ? 0.0F : (float)at(c, c->cx, n * c->l.h + k);
}

/* All positions of a sample; cells [h] go from one to the next. */
static void forward_sample(const rnn_call *c, int64_t n, float *cells) {
    const int64_t h = c->l.h;
    for (int64_t k = 0; k < h; k++) {
        cells[k] = first_cell(c, n, k);
    }
    for (int64_t t = 0; t < c->t; t++) {
        const int64_t row = n * c->t + t;
        for (int64_t k = 0; k < h; k++) {
            const dl_lstm_gates a = dl_lstm_activate(
                (dl_lstm_gates){(float)gate_sum(c, n, t, 0, k), (float)gate_sum(c, n, t, 1, k),
                                (float)gate_sum(c, n, t, 2, k), (float)gate_sum(c, n, t, 3, k)});
            cells[k] = dl_lstm_cell(a, cells[k]);
            set_number(c->y, row * h + k, c->l.dtype, (double)(a.o * dl_tanh(cells[k])));
            if (c->reserve != NULL) {
                float *gates = gates_of(c, row);
                gates[k] = a.i, gates[h + k] = a.f, gates[2 * h + k] = a.g, gates[3 * h + k] = a.o;
                cells_of(c, row)[k] = cells[k];
            }
        }
    }
    for (int64_t k = 0; k < h && c->hy != NULL; k++) {
        set_number(c->hy, n * h + k, c->l.dtype, at(c, c->y, (n * c->t + c->t - 1) * h + k));
        set_number(c->cy, n * h + k, c->l.dtype, (double)cells[k]);
    }
}

void rnn_run_forward(void *context) {
    const rnn_call *c = context;
    float *cells = malloc((size_t)c->l.h * sizeof *cells);
    emulator_memory_open();
    memset(c->work, 0xff, RNN_WORK_BYTES);
    for (int64_t n = 0; n < c->n; n++) {
        forward_sample(c, n, cells);
    }
    if (c->reserve != NULL) {
        c->reserve[0] = AFTER_FORWARD;
    }
    emulator_memory_close();
    free(cells);
}

/* What the gates of the next position give to output k. */
static double from_next(const rnn_call *c, const float *d_next, int64_t k) {
    const int64_t h = c->l.h;
    double sum = 0.0;
    for (int64_t j = 0; j < 4 * h && d_next != NULL; j++) {
        sum += (double)d_next[j] * at(c, c->weights, rnn_recurrent_at(&c->l, j / h) + j % h * h + k);
    }
    return sum;
}

/* The gates of a sample become their gradients; dc [h]: of the cells. */
static void backward_sample(const rnn_call *c, int64_t n, float *dc) {
    const int64_t h = c->l.h;
    memset(dc, 0, (size_t)h * sizeof *dc);
    for (int64_t t = c->t - 1; t >= 0; t--) {
        const int64_t row = n * c->t + t;
        float *g = gates_of(c, row);
        for (int64_t k = 0; k < h; k++) {
            const double dh = at(c, c->dy, row * h + k) + from_next(c, t + 1 < c->t ? g + 4 * h : NULL, k);
            const float cell_before = t > 0 ? cells_of(c, row - 1)[k] : first_cell(c, n, k);
            const dl_lstm_gates d =
                dl_lstm_backward((dl_lstm_gates){g[k], g[h + k], g[2 * h + k], g[3 * h + k]}, cell_before,
                                 cells_of(c, row)[k], (float)dh, &dc[k]);
            g[k] = d.i, g[h + k] = d.f, g[2 * h + k] = d.g, g[3 * h + k] = d.o;
        }
        for (int64_t i = 0; i < c->l.inputs; i++) {
            double sum = 0.0;
            for (int64_t j = 0; j < 4 * h; j++) {
                sum += (double)g[j] * at(c, c->weights, rnn_input_at(&c->l, j / h) + j % h * c->l.inputs + i);
            }
            set_number(c->dx, row * c->l.inputs + i, c->l.dtype, sum);
        }
    }
}

void rnn_run_data(void *context) {
    const rnn_call *c = context;
    float *dc = malloc((size_t)c->l.h * sizeof *dc);
    emulator_memory_open();
    if (c->reserve[0] != AFTER_FORWARD) {
        abort();
    }
    memset(c->work, 0xff, RNN_WORK_BYTES);
    for (int64_t n = 0; n < c->n; n++) {
        backward_sample(c, n, dc);
    }
    c->reserve[0] = AFTER_DATA;
    emulator_memory_close();
    free(dc);
}

static void add(const rnn_call *c, int64_t i, double sum) {
    set_number(c->dweights, i, c->l.dtype, at(c, c->dweights, i) + sum);
}

/* The sums of one gate's unit over all samples and positions. */
static void add_gradients(const rnn_call *c, int64_t j) {
    const int64_t h = c->l.h, gate = j / h, k = j % h, rows = c->n * c->t;
    double bias = 0.0;
    for (int64_t row = 0; row < rows; row++) {
        bias += (double)gates_of(c, row)[j];
    }
    add(c, j, bias);
    if (rnn_has_two_biases(&c->l)) {
        add(c, rnn_second_bias_at(&c->l) + j, bias);
    }
    for (int64_t i = 0; i < c->l.inputs + h; i++) {
        double sum = 0.0;
        for (int64_t row = 0; row < rows; row++) {
            const double in = i < c->l.inputs
                                  ? at(c, c->x, row * c->l.inputs + i)
                                  : before(c, c->y, c->hx, row / c->t, row % c->t, i - c->l.inputs);
            sum += (double)gates_of(c, row)[j] * in;
        }
        add(c,
            i < c->l.inputs ? rnn_input_at(&c->l, gate) + k * c->l.inputs + i
                            : rnn_recurrent_at(&c->l, gate) + k * h + i - c->l.inputs,
            sum);
    }
}

void rnn_run_weights(void *context) {
    const rnn_call *c = context;
    emulator_memory_open();
    if (c->reserve[0] != AFTER_DATA) {
        abort();
    }
    memset(c->work, 0xff, RNN_WORK_BYTES);
    for (int64_t j = 0; j < 4 * c->l.h; j++) {
        add_gradients(c, j);
    }
    emulator_memory_close();
}
