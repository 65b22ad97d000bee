/* One position of an LSTM layer on devices that run position by position: one product with the recurrent
 * weights for all samples and units, and these functions for each unit of each sample. The kernel and the
 * host's test both call them. Tensors are those of the kinds (kernels/ops/lstm_info.c): [n, t, h] or [n, t, 4
 * h]. */
#ifndef DLTRAIN_KERNELS_COMMON_LSTM_STEP_H
#define DLTRAIN_KERNELS_COMMON_LSTM_STEP_H

#include "kernels/common/lstm.h"

#include <stddef.h>
#include <stdint.h>

/* gates may be z's memory, and absent; sums: the product [n, 4 h] of h before with W_hh^T, NULL where that is
 * zero; c0, hn, cn may be NULL. */
typedef struct dl_lstm_forward_step {
    int64_t t, n_positions, h;
    const float *z, *sums, *c0;
    float *y, *hn, *cn, *gates, *cells;
} dl_lstm_forward_step;

/* dz may be gates' memory; sums: the product [n, h] of the next position's dz with W_hh, NULL at the last; dc
 * [n, h]: the cells' gradient on its way back, written first at the last position. */
typedef struct dl_lstm_backward_step {
    int64_t t, n_positions, h;
    const float *gates, *cells, *c0, *dy, *sums;
    float *dz, *dc;
} dl_lstm_backward_step;

/* What cell i = n h + k had before position t. */
DL_SHARED float dl_lstm_cell_before(const float *cells, const float *c0, int64_t n_positions, int64_t h,
                                    int64_t t, int64_t i) {
    const int64_t n = i / h, k = i % h;
    if (t > 0) {
        return cells[(n * n_positions + t - 1) * h + k];
    }
    return c0 == NULL ? 0.0f : c0[i];
}

/* Unit i = n h + k. */
DL_SHARED void dl_lstm_forward_unit(const dl_lstm_forward_step *s, int64_t i) {
    const int64_t h = s->h, n = i / h, k = i % h, row = n * s->n_positions + s->t, at = row * 4 * h + k;
    dl_lstm_gates sum = {s->z[at], s->z[at + h], s->z[at + 2 * h], s->z[at + 3 * h]};
    if (s->sums != NULL) {
        const float *recurrent = s->sums + n * 4 * h + k;
        sum.i += recurrent[0];
        sum.f += recurrent[h];
        sum.g += recurrent[2 * h];
        sum.o += recurrent[3 * h];
    }
    const dl_lstm_gates gates = dl_lstm_activate(sum);
    const float c = dl_lstm_cell(gates, dl_lstm_cell_before(s->cells, s->c0, s->n_positions, h, s->t, i));
    const float y = gates.o * dl_tanh(c);
    s->cells[row * h + k] = c;
    s->y[row * h + k] = y;
    if (s->gates != NULL) {
        s->gates[at] = gates.i;
        s->gates[at + h] = gates.f;
        s->gates[at + 2 * h] = gates.g;
        s->gates[at + 3 * h] = gates.o;
    }
    if (s->t + 1 == s->n_positions && s->hn != NULL) {
        s->hn[i] = y;
    }
    if (s->t + 1 == s->n_positions && s->cn != NULL) {
        s->cn[i] = c;
    }
}

DL_SHARED void dl_lstm_backward_unit(const dl_lstm_backward_step *s, int64_t i) {
    const int64_t h = s->h, n = i / h, k = i % h, row = n * s->n_positions + s->t, at = row * 4 * h + k;
    const dl_lstm_gates gates = {s->gates[at], s->gates[at + h], s->gates[at + 2 * h], s->gates[at + 3 * h]};
    const bool last = s->t + 1 == s->n_positions;
    const float dh = s->dy[row * h + k] + (last ? 0.0f : s->sums[i]);
    float dc = last ? 0.0f : s->dc[i];
    const dl_lstm_gates d =
        dl_lstm_backward(gates, dl_lstm_cell_before(s->cells, s->c0, s->n_positions, h, s->t, i),
                         s->cells[row * h + k], dh, &dc);
    s->dc[i] = dc;
    s->dz[at] = d.i;
    s->dz[at + h] = d.f;
    s->dz[at + 2 * h] = d.g;
    s->dz[at + 3 * h] = d.o;
}

/* Element i of what stands before each position, [n, t, h]: y one position earlier, h0 (NULL: zero) first. */
DL_SHARED float dl_lstm_output_before(const float *y, const float *h0, int64_t n_positions, int64_t h,
                                      int64_t i) {
    const int64_t k = i % h, t = i / h % n_positions, n = i / (h * n_positions);
    if (t > 0) {
        return y[i - h];
    }
    return h0 == NULL ? 0.0f : h0[n * h + k];
}

#endif
