/* The recurrence of an LSTM (Hochreiter and Schmidhuber, Neural Computation 9, 1997; with the forget gate of
 * Gers, Schmidhuber and Cummins, 2000), in PyTorch's gate order i, f, g, o.
 *
 * What each position brings to the gates from below, z = x W_ih^T + b, is one product over all positions and
 * none of the recurrence's: a dense_forward makes it, and the gradients of x, W_ih and b are its gradient
 * kinds'. The backward pass is in two kinds for a reason: the walk back through time works sample by sample
 * and runs whole, only the sum for W_hh runs in pieces where a sum must be reproducible. */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

/* gates: i, f, g, o behind their activations; cells: c. Both are kept for the way back. */
static const dl_slot_info forward_slots[] = {
    DL_SLOT_ROW("z", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("w_hh", IN, DL_SLOT_FREE | DL_SLOT_HALF, -1),
    DL_SLOT_ROW("h0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("c0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("hn", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("cn", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("gates", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL | DL_SLOT_SAVED, 0),
    DL_SLOT_ROW("cells", OUT, DL_SLOT_BATCHED | DL_SLOT_SAVED, -1),
};

static const dl_slot_info backward_data_slots[] = {
    DL_SLOT_ROW("gates", IN, DL_SLOT_ROWS | DL_SLOT_SAVED, -1),
    DL_SLOT_ROW("cells", IN, DL_SLOT_BATCHED | DL_SLOT_SAVED, -1),
    DL_SLOT_ROW("w_hh", IN, DL_SLOT_FREE | DL_SLOT_HALF, -1),
    DL_SLOT_ROW("c0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dz", OUT, DL_SLOT_ROWS, 0),
};

static const dl_slot_info backward_weights_slots[] = {
    DL_SLOT_ROW("y", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("h0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dz", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dw_hh", OUT, DL_SLOT_FREE, -1),
};

static dl_status check(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const bool has_y = dl_op_slot(info, "y") >= 0, has_w = dl_op_slot(info, "w_hh") >= 0;
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, has_y ? "y" : "dy", 3));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, has_w ? "w_hh" : "dw_hh", 2));
    const dl_lstm_sizes s = dl_lstm_sizes_of(desc);
    DL_RETURN_ERROR_IF(s.t < 1 || s.h < 1, DL_ERR_INTERNAL, "%s: no position or no unit", info->name);
    const char *const positions[] = {"y", "dy", "cells", NULL}, *const gates[] = {"z", "dz", "gates", NULL},
                      *const ends[] = {"h0", "c0", "hn", "cn", NULL},
                      *const weights[] = {"w_hh", "dw_hh", NULL};
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, positions, DL_SHAPE(s.n, s.t, s.h)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, gates, DL_SHAPE(s.n, s.t, 4 * s.h)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, ends, DL_SHAPE(s.n, s.h)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, weights, DL_SHAPE(4 * s.h, s.h)));
    return DL_OK;
}

static double flops(const dl_op_desc *desc) {
    const dl_lstm_sizes s = dl_lstm_sizes_of(desc);
    return 8.0 * (double)(s.n * s.t) * (double)(s.h * s.h);
}

/* A position's sum goes into the next one's through the cell and through h. */
static int64_t forward_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_lstm_sizes s = dl_lstm_sizes_of(desc);
    return s.t * (s.h + 1);
}

static int64_t backward_data_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_lstm_sizes s = dl_lstm_sizes_of(desc);
    return s.t * (4 * s.h + 1);
}

static int64_t backward_weights_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_lstm_sizes s = dl_lstm_sizes_of(desc);
    return s.n * s.t;
}

static const dl_op_rounding forward_rounding = {.terms = forward_terms};
static const dl_op_rounding backward_data_rounding = {.terms = backward_data_terms};
static const dl_op_rounding backward_weights_rounding = {.terms = backward_weights_terms, .of_terms = true};

const dl_op_info dl_op_info_lstm_forward = {
    .name = "lstm_forward",
    .doc = "i,f,g,o = z[n,t] + h W_hh^T, sigmoid but for g: tanh; c = f c + i g; y[n,t] = h = o tanh(c); "
           "h0, c0 absent: 0",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(forward_slots),
    .slots = forward_slots,
    .n_gradients = 2,
    .gradients = {{DL_OP_LSTM_BACKWARD_WEIGHTS, {"w_hh", NULL}}, {DL_OP_LSTM_BACKWARD_DATA, {"z", NULL}}},
    .check = check,
    .flops = flops,
    .rounding = &forward_rounding,
};

const dl_op_info dl_op_info_lstm_backward_data = {
    .name = "lstm_backward_data",
    .doc = "dz from dy, last position first; truncated: nothing flows into h0 and c0",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(backward_data_slots),
    .slots = backward_data_slots,
    .check = check,
    .flops = flops,
    .rounding = &backward_data_rounding,
};

const dl_op_info dl_op_info_lstm_backward_weights = {
    .name = "lstm_backward_weights",
    .doc = "dw_hh[j,k] = sum over n and t of dz[n,t,j] y[n,t-1,k], with h0 (absent: 0) for y[n,-1]",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(backward_weights_slots),
    .slots = backward_weights_slots,
    .check = check,
    .flops = flops,
    .rounding = &backward_weights_rounding,
};
