/* A whole LSTM layer: what fusion makes of the product x W_ih^T + b and the recurrence behind it
 * (kernels/ops/lstm_info.c) for libraries that compute both in one call, cuDNN's RNN among them. Its way back
 * gives all gradients at once, which such a library needs anyway, and so sums over samples: where sums run in
 * pieces the layer stays in its parts. */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

#include <string.h>

/* reserve: whatever the backend keeps for the way back. ref: the gates [n, t, 4 h], then the cells [n, t, h].
 */
static const dl_slot_info forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("w_ih", IN, DL_SLOT_HALF, -1),
    DL_SLOT_ROW("w_hh", IN, DL_SLOT_HALF, -1),
    DL_SLOT_ROW("b", IN, 0, -1),
    DL_SLOT_ROW("h0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("c0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("hn", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("cn", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("reserve", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL | DL_SLOT_SAVED, -1),
};

/* The gradients of the weights are there all three, or none of them. */
static const dl_slot_info backward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("w_ih", IN, DL_SLOT_HALF, -1),
    DL_SLOT_ROW("w_hh", IN, DL_SLOT_HALF, -1),
    DL_SLOT_ROW("h0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("c0", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("reserve", IN, DL_SLOT_BATCHED | DL_SLOT_SAVED, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dw_ih", OUT, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dw_hh", OUT, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("db", OUT, DL_SLOT_OPTIONAL, -1),
};

static dl_status check_gradients(const dl_op_desc *desc) {
    int n = 0;
    for (int i = dl_op_slot(dl_op_info_of(desc->kind), "dw_ih"); i < DL_N_SLOTS(backward_slots); i++) {
        n += desc->slot[i].present;
    }
    DL_RETURN_ERROR_IF(n != 0 && n != 3, DL_ERR_INTERNAL,
                       "lstm_layer_backward: of dw_ih, dw_hh and db some are there and others not");
    return DL_OK;
}

static dl_status check(const dl_op_desc *desc) {
    const bool backward = desc->kind == DL_OP_LSTM_LAYER_BACKWARD;
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "x", 3));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "y", 3));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "w_ih", 2));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "w_hh", 2));
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(desc);
    DL_RETURN_ERROR_IF(s.t < 1 || s.h < 1 || s.inputs < 1, DL_ERR_INTERNAL,
                       "%s: no position, no unit or no input", dl_op_info_of(desc->kind)->name);
    const char *const inputs[] = {"x", "dx", NULL}, *const outputs[] = {"y", "dy", NULL},
                      *const ends[] = {"h0", "c0", "hn", "cn", NULL}, *const kept[] = {"reserve", NULL},
                      *const input_weights[] = {"w_ih", "dw_ih", NULL},
                      *const recurrent[] = {"w_hh", "dw_hh", NULL}, *const bias[] = {"b", "db", NULL};
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, inputs, DL_SHAPE(s.n, s.t, s.inputs)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, outputs, DL_SHAPE(s.n, s.t, s.h)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, ends, DL_SHAPE(s.n, s.h)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, kept, DL_SHAPE(s.n, s.t, 5 * s.h)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, input_weights, DL_SHAPE(4 * s.h, s.inputs)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, recurrent, DL_SHAPE(4 * s.h, s.h)));
    DL_RETURN_IF_ERROR(dl_info_check_floats(desc, bias, DL_SHAPE(4 * s.h)));
    return backward ? check_gradients(desc) : DL_OK;
}

static double forward_flops(const dl_op_desc *desc) {
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(desc);
    return 8.0 * (double)(s.n * s.t) * (double)(s.h * (s.h + s.inputs));
}

static double backward_flops(const dl_op_desc *desc) {
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(desc);
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const int64_t data = s.h + (desc->slot[dl_op_slot(info, "dx")].present ? s.inputs : 0),
                  weights = desc->slot[dl_op_slot(info, "db")].present ? s.h + s.inputs : 0;
    return 8.0 * (double)(s.n * s.t) * (double)(s.h * (data + weights));
}

/* A position's sum goes into the next one's through the cell and through h. */
static int64_t forward_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(desc);
    return s.inputs + 1 + s.t * (s.h + 1);
}

/* The walk back, then the sum over the gates (dx) or over samples and positions. */
static int64_t backward_terms(const dl_op_desc *desc, int slot) {
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(desc);
    const bool data = strcmp(dl_op_info_of(desc->kind)->slots[slot].name, "dx") == 0;
    return s.t * (4 * s.h + 1) + (data ? 4 * s.h : s.n * s.t);
}

static const dl_op_rounding forward_rounding = {.terms = forward_terms};
static const dl_op_rounding backward_rounding = {.terms = backward_terms};

const dl_op_info dl_op_info_lstm_layer_forward = {
    .name = "lstm_layer_forward",
    .doc = "lstm_forward of z[n,t] = b + W_ih x[n,t]",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(forward_slots),
    .slots = forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_LSTM_LAYER_BACKWARD, {"x", "w_ih", "w_hh", "b"}}},
    .check = check,
    .flops = forward_flops,
    .rounding = &forward_rounding,
};

const dl_op_info dl_op_info_lstm_layer_backward = {
    .name = "lstm_layer_backward",
    .doc =
        "dz as lstm_backward_data; dx[n,t] = W_ih^T dz[n,t]; dw_ih, dw_hh, db: sums over n and t of dz times "
        "x, y before and 1; truncated: nothing flows into h0 and c0",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(backward_slots),
    .slots = backward_slots,
    .check = check,
    .flops = backward_flops,
    .rounding = &backward_rounding,
};
