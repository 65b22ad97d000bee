#include "kernels/ops/sizes.h"

#include <stdio.h>

enum { NAME_BYTES = 32 };

const dl_shape *dl_op_shape_of(const dl_op_desc *desc, const char *name) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    int i = dl_op_slot(info, name);
    if (i < 0) {
        char gradient[NAME_BYTES];
        (void)snprintf(gradient, sizeof gradient, "d%s", name);
        i = dl_op_slot(info, gradient);
    }
    return i < 0 ? NULL : &desc->slot[i].shape;
}

dl_row_sizes dl_row_sizes_of(const dl_op_desc *desc) {
    const dl_shape *shape = &desc->slot[0].shape;
    dl_row_sizes sizes = {.n = 1, .k = shape->dim[shape->n_dims - 1]};
    for (int i = 0; i + 1 < shape->n_dims; i++) {
        sizes.n *= shape->dim[i];
    }
    return sizes;
}

dl_conv2d_sizes dl_conv2d_sizes_of(const dl_op_desc *desc) {
    const int64_t *x = dl_op_shape_of(desc, "x")->dim, *w = dl_op_shape_of(desc, "w")->dim,
                  *y = dl_op_shape_of(desc, "y")->dim;
    const int64_t groups = desc->attr.u.conv.groups;
    return (dl_conv2d_sizes){.n = x[0],
                             .h = x[1],
                             .w = x[2],
                             .c = x[3],
                             .k = w[0],
                             .p = y[1],
                             .q = y[2],
                             .r = w[2],
                             .s = w[3],
                             .groups = groups,
                             .c_group = w[1],
                             .k_group = w[0] / groups};
}

dl_pooling2d_sizes dl_pooling2d_sizes_of(const dl_op_desc *desc) {
    const int64_t *x = dl_op_shape_of(desc, "x")->dim;
    /* The gradient kind has both y (optional) and dy. */
    const bool backward = dl_op_slot(dl_op_info_of(desc->kind), "dy") >= 0;
    const int64_t *y = dl_op_shape_of(desc, backward ? "dy" : "y")->dim;
    return (dl_pooling2d_sizes){.n = x[0],
                                .h = x[1],
                                .w = x[2],
                                .c = x[3],
                                .p = y[1],
                                .q = y[2],
                                .r = desc->attr.u.pool.window[0],
                                .s = desc->attr.u.pool.window[1]};
}

/* The product of all dimensions but the last. */
static int64_t rows_of(const dl_shape *shape) {
    int64_t rows = 1;
    for (int i = 0; i < shape->n_dims - 1; i++) {
        rows *= shape->dim[i];
    }
    return rows;
}

dl_dense_sizes dl_dense_sizes_of(const dl_op_desc *desc) {
    const dl_shape *x = dl_op_shape_of(desc, "x"), *y = dl_op_shape_of(desc, "y");
    const int64_t inputs = x->dim[x->n_dims - 1];
    return (dl_dense_sizes){.n = rows_of(x), .inputs = inputs, .outputs = y->dim[y->n_dims - 1]};
}

dl_lstm_sizes dl_lstm_sizes_of(const dl_op_desc *desc) {
    const int64_t *y = dl_op_shape_of(desc, "y")->dim, *w_hh = dl_op_shape_of(desc, "w_hh")->dim;
    return (dl_lstm_sizes){.n = y[0], .t = y[1], .h = w_hh[1]};
}

dl_lstm_layer_sizes dl_lstm_layer_sizes_of(const dl_op_desc *desc) {
    const dl_lstm_sizes s = dl_lstm_sizes_of(desc);
    return (dl_lstm_layer_sizes){
        .n = s.n, .t = s.t, .inputs = dl_op_shape_of(desc, "w_ih")->dim[1], .h = s.h};
}

dl_sequence_sizes dl_sequence_sizes_of(const dl_op_desc *desc) {
    const dl_shape *x = dl_op_shape_of(desc, "x");
    return (dl_sequence_sizes){.n = x->dim[0], .t = x->dim[1], .features = dl_shape_stride(x, 2)};
}

dl_embedding_sizes dl_embedding_sizes_of(const dl_op_desc *desc) {
    const int64_t *w = dl_op_shape_of(desc, "w")->dim;
    return (dl_embedding_sizes){
        .tokens = dl_shape_elements(dl_op_shape_of(desc, "x")), .vocabulary = w[0], .width = w[1]};
}

dl_embedding_dense_sizes dl_embedding_dense_sizes_of(const dl_op_desc *desc) {
    const int64_t *table = dl_op_shape_of(desc, "table")->dim, *w = dl_op_shape_of(desc, "w")->dim;
    return (dl_embedding_dense_sizes){.tokens = dl_shape_elements(dl_op_shape_of(desc, "x")),
                                      .vocabulary = table[0],
                                      .inputs = table[1],
                                      .outputs = w[0]};
}

/* A slot of this name that is present, or NULL. */
static const dl_shape *present_shape(const dl_op_desc *desc, const char *name) {
    const int i = dl_op_slot(dl_op_info_of(desc->kind), name);
    return i >= 0 && desc->slot[i].present ? &desc->slot[i].shape : NULL;
}

dl_batch_norm_sizes dl_batch_norm_sizes_of(const dl_op_desc *desc) {
    const dl_shape *x = dl_op_info_of(desc->kind)->slots[0].batched ? &desc->slot[0].shape : NULL;
    if (x != NULL) {
        const int64_t n = x->dim[0], channels = x->n_dims < 2 ? 0 : x->dim[x->n_dims - 1];
        const int64_t all = n > 0 ? n : 1; /* sample 0 is in group 0, also where there is none */
        const int64_t group = desc->attr.u.norm.group > 0 ? desc->attr.u.norm.group : all;
        const int64_t groups = desc->attr.u.norm.group > 0 ? (n + group - 1) / group : 1;
        const int64_t cells = channels == 0 ? 0 : dl_shape_stride(x, 1) / channels;
        return (dl_batch_norm_sizes){n, cells, channels, groups, group};
    }
    const dl_shape *sums = present_shape(desc, "sums"), *dstat = present_shape(desc, "dstat"),
                   *stat = present_shape(desc, "stat"), *moving = present_shape(desc, "moving_mean");
    const int64_t groups = sums != NULL ? sums->dim[0] : dstat != NULL ? dstat->dim[0] : 1;
    const int64_t channels = sums != NULL    ? (sums->dim[1] - 1) / 2
                             : dstat != NULL ? dstat->dim[2]
                             : stat != NULL  ? stat->dim[2]
                                             : moving->dim[0];
    return (dl_batch_norm_sizes){.channels = channels, .groups = groups};
}
