/* A dense layer of embedded tokens: what fusion makes of an embedding whose rows one dense layer alone reads.
 * The layer's sum for a token does not depend on where the token stands, so a backend may compute it once for
 * each distinct token of the batch; how many those are is found while it runs, shapes do not show it. */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

#include <string.h>

static const dl_slot_info forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1), DL_SLOT_ROW("table", IN, 0, -1),
    DL_SLOT_ROW("w", IN, DL_SLOT_FREE, -1),    DL_SLOT_ROW("b", IN, DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

static const dl_slot_info backward_weights_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("table", IN, 0, -1),
    DL_SLOT_ROW("w", IN, 0, -1),
    DL_SLOT_ROW("dy", IN, DL_SLOT_ROWS, -1),
    DL_SLOT_ROW("dtable", OUT, 0, -1),
    DL_SLOT_ROW("dw", OUT, 0, -1),
    DL_SLOT_ROW("db", OUT, DL_SLOT_OPTIONAL, -1),
};

static dl_status check_shapes(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const bool forward = desc->kind == DL_OP_EMBEDDING_DENSE_FORWARD;
    const char *y = forward ? "y" : "dy";
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "x", DL_I32));
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(
        desc, (const char *const[]){"table", "w", "b", y, "dtable", "dw", "db", NULL}, DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "table", 2));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "w", 2));
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(desc);
    DL_RETURN_ERROR_IF(z.vocabulary < 1 || z.inputs < 1 || z.outputs < 1, DL_ERR_INTERNAL,
                       "%s: slot 'table' or 'w' is empty", info->name);
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "w", DL_SHAPE(z.outputs, z.inputs)));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, forward ? "b" : "db", DL_SHAPE(z.outputs)));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "table", "dtable"));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "w", "dw"));
    dl_shape rows = desc->slot[0].shape;
    DL_RETURN_ERROR_IF(rows.n_dims >= DL_MAX_DIMS, DL_ERR_INTERNAL, "%s: slot 'x' has %d dimensions",
                       info->name, rows.n_dims);
    rows.dim[rows.n_dims++] = z.outputs;
    return dl_info_check_shape(desc, y, rows);
}

/* As if no token occurred twice. */
static double forward_flops(const dl_op_desc *desc) {
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(desc);
    return 2.0 * (double)z.tokens * (double)(z.inputs * z.outputs);
}

static double backward_flops(const dl_op_desc *desc) {
    return 2.0 * forward_flops(desc);
}

static int64_t forward_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_embedding_dense_sizes_of(desc).inputs + 1;
}

/* All tokens may be one; then come the sum over outputs (dtable) and that over the vocabulary (dw). */
static int64_t backward_weights_terms(const dl_op_desc *desc, int slot) {
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(desc);
    const char *name = dl_op_info_of(desc->kind)->slots[slot].name;
    return z.tokens + (strcmp(name, "dtable") == 0 ? z.outputs : strcmp(name, "dw") == 0 ? z.vocabulary : 0);
}

static const dl_op_rounding forward_rounding = {.terms = forward_terms, .of_terms = true};
static const dl_op_rounding backward_weights_rounding = {.terms = backward_weights_terms, .of_terms = true};

const dl_op_info dl_op_info_embedding_dense_forward = {
    .name = "embedding_dense_forward",
    .doc = "y[..,o] = b[o] + sum over i of table[x[..],i] w[o,i]; NaN where x is no row of table",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(forward_slots),
    .slots = forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS, {"table", "w", "b"}}},
    .check = check_shapes,
    .flops = forward_flops,
    .rounding = &forward_rounding,
};

const dl_op_info dl_op_info_embedding_dense_backward_weights = {
    .name = "embedding_dense_backward_weights",
    .doc = "p[v,o] = sum of dy[..,o] where x[..] = v; dtable[v,i] = sum over o of p[v,o] w[o,i]; dw[o,i] = "
           "sum over v of p[v,o] table[v,i]; db[o] = sum of dy[..,o]; dw is NaN where any x is no row",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(backward_weights_slots),
    .slots = backward_weights_slots,
    .check = check_shapes,
    .flops = backward_flops,
    .rounding = &backward_weights_rounding,
};
