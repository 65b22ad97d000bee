/* Fully connected layer: of vectors, or of every position of sequences. */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

static const dl_slot_info forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("w", IN, DL_SLOT_FREE | DL_SLOT_HALF, -1),
    DL_SLOT_ROW("b", IN, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info backward_data_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("w", IN, DL_SLOT_FREE | DL_SLOT_HALF, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info backward_weights_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dw", OUT, DL_SLOT_FREE, -1),
    DL_SLOT_ROW("db", OUT, DL_SLOT_OPTIONAL, -1),
};

/* x and y have the same dimensions but for the last. */
static dl_status check_rows(const dl_op_desc *desc, const char *x, const char *y) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_shape *in = &desc->slot[dl_op_slot(info, x)].shape,
                   *out = &desc->slot[dl_op_slot(info, y)].shape;
    DL_RETURN_ERROR_IF(in->n_dims < 2, DL_ERR_INTERNAL, "%s: slot '%s' has %d dimensions, not two or more",
                       info->name, x, in->n_dims);
    dl_shape wanted = *in;
    wanted.dim[in->n_dims - 1] = out->n_dims > 0 ? out->dim[out->n_dims - 1] : 0;
    return dl_info_check_shape(desc, y, wanted);
}

/* Slot names of input, weights, bias and output in this kind: with or without "d". */
static dl_status check_shapes(const dl_op_desc *desc, const char *x, const char *w, const char *b,
                              const char *y) {
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, (const char *const[]){x, w, b, y, NULL}, DL_F32));
    DL_RETURN_IF_ERROR(check_rows(desc, x, y));
    const dl_dense_sizes z = dl_dense_sizes_of(desc);
    DL_RETURN_ERROR_IF(z.inputs < 1 || z.outputs < 1, DL_ERR_INTERNAL, "%s: slot '%s' is empty",
                       dl_op_info_of(desc->kind)->name, w);
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, w, DL_SHAPE(z.outputs, z.inputs)));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, b, DL_SHAPE(z.outputs)));
    return DL_OK;
}

static dl_status check_forward(const dl_op_desc *desc) {
    return check_shapes(desc, "x", "w", "b", "y");
}

static dl_status check_backward_data(const dl_op_desc *desc) {
    return check_shapes(desc, "dx", "w", "db", "dy");
}

static dl_status check_backward_weights(const dl_op_desc *desc) {
    return check_shapes(desc, "x", "dw", "db", "dy");
}

static double flops(const dl_op_desc *desc) {
    const dl_dense_sizes z = dl_dense_sizes_of(desc);
    return 2.0 * (double)z.n * (double)(z.inputs * z.outputs);
}

static int64_t forward_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_dense_sizes_of(desc).inputs + 1;
}

static int64_t backward_data_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_dense_sizes_of(desc).outputs;
}

static int64_t backward_weights_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_dense_sizes_of(desc).n;
}

static const dl_op_rounding forward_rounding = {.terms = forward_terms, .of_terms = true};
static const dl_op_rounding backward_data_rounding = {.terms = backward_data_terms, .of_terms = true};
static const dl_op_rounding backward_weights_rounding = {.terms = backward_weights_terms, .of_terms = true};

const dl_op_info dl_op_info_dense_forward = {
    .name = "dense_forward",
    .doc = "y[n,o] = activation(b[o] + sum over i of x[n,i] w[o,i])",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(forward_slots),
    .slots = forward_slots,
    .n_gradients = 2,
    .gradients = {{DL_OP_DENSE_BACKWARD_DATA, {"x", NULL}}, {DL_OP_DENSE_BACKWARD_WEIGHTS, {"w", "b"}}},
    .fuses_activation = true,
    .check = check_forward,
    .flops = flops,
    .rounding = &forward_rounding,
};

const dl_op_info dl_op_info_dense_backward_data = {
    .name = "dense_backward_data",
    .doc = "dx[n,i] = sum over o of dy[n,o] w[o,i]",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(backward_data_slots),
    .slots = backward_data_slots,
    .check = check_backward_data,
    .flops = flops,
    .rounding = &backward_data_rounding,
};

const dl_op_info dl_op_info_dense_backward_weights = {
    .name = "dense_backward_weights",
    .doc = "dw[o,i] = sum over n of dy[n,o] x[n,i]; db[o] = sum over n of dy[n,o]",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(backward_weights_slots),
    .slots = backward_weights_slots,
    .check = check_backward_weights,
    .flops = flops,
    .rounding = &backward_weights_rounding,
};
