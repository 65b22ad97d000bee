/* Tokens and sequences: rows of a table by token, and what knows where a padded sequence ends.
 *
 * Sequences are padded at their end. Lengths live in these kinds only: an LSTM is causal, so nothing that is
 * read depends on the padding, and zero gradients there add exactly zero. */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

static const dl_slot_info embedding_forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("w", IN, 0, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info embedding_backward_weights_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dw", OUT, 0, -1),
};

static const dl_slot_info reverse_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("lengths", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info reverse_backward_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("lengths", IN, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_ROWS, -1),
};

static dl_status check_embedding(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const bool forward = desc->kind == DL_OP_EMBEDDING_FORWARD;
    const char *w = forward ? "w" : "dw", *y = forward ? "y" : "dy";
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "x", DL_I32));
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, (const char *const[]){w, y, NULL}, DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, w, 2));
    dl_shape rows = desc->slot[0].shape;
    DL_RETURN_ERROR_IF(rows.n_dims >= DL_MAX_DIMS, DL_ERR_INTERNAL, "%s: slot 'x' has %d dimensions",
                       info->name, rows.n_dims);
    rows.dim[rows.n_dims++] = dl_embedding_sizes_of(desc).width;
    return dl_info_check_shape(desc, y, rows);
}

static dl_status check_lengths(const dl_op_desc *desc, int64_t n_samples) {
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "lengths", DL_I32));
    return dl_info_check_shape(desc, "lengths", DL_SHAPE(n_samples));
}

static dl_status check_sequences(const dl_op_desc *desc) {
    const dl_shape *x = dl_op_shape_of(desc, "x");
    DL_RETURN_ERROR_IF(x->n_dims < 2, DL_ERR_INTERNAL, "%s: sequences have positions",
                       dl_op_info_of(desc->kind)->name);
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, (const char *const[]){"x", "y", "dy", "dx", NULL}, DL_F32));
    return check_lengths(desc, x->dim[0]);
}

static dl_status check_reverse(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(check_sequences(desc));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "x", "y"));
    return dl_info_check_same(desc, "dy", "dx");
}

static dl_status check_take_last(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(check_sequences(desc));
    dl_shape one = *dl_op_shape_of(desc, "x");
    DL_RETURN_ERROR_IF(one.dim[1] < 1, DL_ERR_INTERNAL, "%s: there is no last of no position",
                       dl_op_info_of(desc->kind)->name);
    for (int i = 1; i + 1 < one.n_dims; i++) {
        one.dim[i] = one.dim[i + 1];
    }
    one.n_dims--;
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "y", one));
    return dl_info_check_shape(desc, "dy", one);
}

const dl_op_info dl_op_info_embedding_forward = {
    .name = "embedding_forward",
    .doc = "y[..,d] = w[x[..],d]; NaN where x is no row of w",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(embedding_forward_slots),
    .slots = embedding_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_EMBEDDING_BACKWARD_WEIGHTS, {"w", NULL}}},
    .check = check_embedding,
};

static int64_t embedding_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_embedding_sizes_of(desc).tokens;
}

static const dl_op_rounding embedding_rounding = {.terms = embedding_terms, .of_terms = true};

const dl_op_info dl_op_info_embedding_backward_weights = {
    .name = "embedding_backward_weights",
    .doc = "dw[v,d] = sum of dy[..,d] where x[..] = v, in the order of x",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(embedding_backward_weights_slots),
    .slots = embedding_backward_weights_slots,
    .check = check_embedding,
    .rounding = &embedding_rounding,
};

const dl_op_info dl_op_info_reverse_by_length = {
    .name = "reverse_by_length",
    .doc =
        "y[n,t] = x[n, length - 1 - t] below the length of sample n, x[n,t] from there on; no lengths: all",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(reverse_slots),
    .slots = reverse_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_REVERSE_BY_LENGTH_BACKWARD, {"x", NULL}}},
    .check = check_reverse,
};

const dl_op_info dl_op_info_reverse_by_length_backward = {
    .name = "reverse_by_length_backward",
    .doc = "dx[n, length - 1 - t] = dy[n,t] below the length, dx[n,t] = dy[n,t] from there on",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(reverse_backward_slots),
    .slots = reverse_backward_slots,
    .check = check_reverse,
};

const dl_op_info dl_op_info_take_last = {
    .name = "take_last",
    .doc = "y[n] = x[n, length - 1]; no lengths: the last position",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(reverse_slots),
    .slots = reverse_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_TAKE_LAST_BACKWARD, {"x", NULL}}},
    .check = check_take_last,
};

const dl_op_info dl_op_info_take_last_backward = {
    .name = "take_last_backward",
    .doc = "dx[n, length - 1] = dy[n], 0 elsewhere",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(reverse_backward_slots),
    .slots = reverse_backward_slots,
    .check = check_take_last,
};
