/* Two-dimensional convolution (cross-correlation, as every framework means it). */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

static const dl_slot_info forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("w", IN, DL_SLOT_FREE | DL_SLOT_HALF, -1),
    DL_SLOT_ROW("b", IN, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_IMAGE, -1),
};

static const dl_slot_info backward_data_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("w", IN, DL_SLOT_FREE | DL_SLOT_HALF, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_IMAGE, -1),
};

static const dl_slot_info backward_weights_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("dw", OUT, DL_SLOT_FREE, -1),
    DL_SLOT_ROW("db", OUT, DL_SLOT_OPTIONAL, -1),
};

static dl_status check_attr(const dl_op_desc *desc) {
    const dl_conv_attr *conv = &desc->attr.u.conv;
    const char *name = dl_op_info_of(desc->kind)->name;
    DL_RETURN_ERROR_IF(conv->stride[0] < 1 || conv->stride[1] < 1, DL_ERR_INTERNAL, "%s: stride below 1",
                       name);
    DL_RETURN_ERROR_IF(conv->groups < 1, DL_ERR_INTERNAL, "%s: groups below 1", name);
    for (int i = 0; i < 4; i++) {
        DL_RETURN_ERROR_IF(conv->padding[i] < 0, DL_ERR_INTERNAL, "%s: negative padding", name);
    }
    return DL_OK;
}

/* Slot names of the image, weights, bias and output in this kind: with or without "d". */
static dl_status check_shapes(const dl_op_desc *desc, const char *x, const char *w, const char *b,
                              const char *y) {
    const dl_conv_attr *conv = &desc->attr.u.conv;
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, x, 4));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, w, 4));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, y, 4));
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, (const char *const[]){x, w, b, y, NULL}, DL_F32));
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(desc);
    DL_RETURN_ERROR_IF(z.r < 1 || z.s < 1 || z.c < 1 || z.k < 1, DL_ERR_INTERNAL, "%s: slot '%s' is empty",
                       dl_op_info_of(desc->kind)->name, w);
    DL_RETURN_ERROR_IF(z.k % z.groups != 0, DL_ERR_INTERNAL,
                       "%s: the filters of slot '%s' do not divide by groups",
                       dl_op_info_of(desc->kind)->name, w);
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, x, DL_SHAPE(z.n, z.h, z.w, z.c_group * z.groups)));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, b, DL_SHAPE(z.k)));
    const int64_t p = dl_window_positions(z.h, z.r, conv->stride[0], conv->padding[0], conv->padding[1]);
    const int64_t q = dl_window_positions(z.w, z.s, conv->stride[1], conv->padding[2], conv->padding[3]);
    DL_RETURN_ERROR_IF(p < 1 || q < 1, DL_ERR_INTERNAL,
                       "%s: the window of slot '%s' is larger than the image",
                       dl_op_info_of(desc->kind)->name, w);
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, y, DL_SHAPE(z.n, p, q, z.k)));
    return DL_OK;
}

static dl_status check_forward(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(check_attr(desc));
    DL_RETURN_IF_ERROR(check_shapes(desc, "x", "w", "b", "y"));
    return DL_OK;
}

static dl_status check_backward_data(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(check_attr(desc));
    DL_RETURN_IF_ERROR(check_shapes(desc, "dx", "w", "db", "dy"));
    return DL_OK;
}

static dl_status check_backward_weights(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(check_attr(desc));
    DL_RETURN_IF_ERROR(check_shapes(desc, "x", "dw", "db", "dy"));
    return DL_OK;
}

/* The usual full count: padding cells count too. */
static double flops(const dl_op_desc *desc) {
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(desc);
    return 2.0 * (double)(z.n * z.p * z.q * z.k) * (double)(z.c_group * z.r * z.s);
}

static int64_t forward_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(desc);
    return z.c_group * z.r * z.s + 1;
}

/* Of a cell that every position of the window reaches. */
static int64_t backward_data_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(desc);
    return z.k_group * z.r * z.s;
}

static int64_t backward_weights_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(desc);
    return z.n * z.p * z.q;
}

static const dl_op_rounding forward_rounding = {.terms = forward_terms, .of_terms = true};
static const dl_op_rounding backward_data_rounding = {.terms = backward_data_terms, .of_terms = true};
static const dl_op_rounding backward_weights_rounding = {.terms = backward_weights_terms, .of_terms = true};

const dl_op_info dl_op_info_conv2d_forward = {
    .name = "conv2d_forward",
    .doc =
        "y[n,p,q,k] = activation(b[k] + sum of x[n, p stride - top + r, q stride - left + s, c] w[k,c,r,s])",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(forward_slots),
    .slots = forward_slots,
    .n_gradients = 2,
    .gradients = {{DL_OP_CONV2D_BACKWARD_DATA, {"x", NULL}}, {DL_OP_CONV2D_BACKWARD_WEIGHTS, {"w", "b"}}},
    .fuses_activation = true,
    .check = check_forward,
    .flops = flops,
    .rounding = &forward_rounding,
};

const dl_op_info dl_op_info_conv2d_backward_data = {
    .name = "conv2d_backward_data",
    .doc = "dx = the transpose of the convolution applied to dy",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(backward_data_slots),
    .slots = backward_data_slots,
    .check = check_backward_data,
    .flops = flops,
    .rounding = &backward_data_rounding,
};

const dl_op_info dl_op_info_conv2d_backward_weights = {
    .name = "conv2d_backward_weights",
    .doc = "dw[k,c,r,s] = sum over n,p,q of dy[n,p,q,k] x[n, p stride - top + r, ...]; db[k] = sum of dy",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(backward_weights_slots),
    .slots = backward_weights_slots,
    .check = check_backward_weights,
    .flops = flops,
    .rounding = &backward_weights_rounding,
};
