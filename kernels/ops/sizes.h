/* The sizes that an operation's loops run over, read from a desc by slot names: the same for a forward kind
 * and its gradient kinds. For backends and for FLOP counts. */
#ifndef DLTRAIN_KERNELS_OPS_SIZES_H
#define DLTRAIN_KERNELS_OPS_SIZES_H

#include "kernels/op.h"

/* x [n, h, w, c], w [k, c / groups, r, s], y [n, p, q, k]; c_group = c / groups, k_group = k / groups. */
typedef struct dl_conv2d_sizes {
    int64_t n, h, w, c, k, p, q, r, s, groups, c_group, k_group;
} dl_conv2d_sizes;

/* Do filters [k, c, r, s] lie in another order as [k, r, s, c]: several channels of several cells? */
static inline bool dl_filters_reorder(const dl_shape *filters) {
    return filters->dim[1] != 1 && filters->dim[2] * filters->dim[3] != 1;
}

/* x [n, h, w, c], y [n, p, q, c], window r x s. */
typedef struct dl_pooling2d_sizes {
    int64_t n, h, w, c, p, q, r, s;
} dl_pooling2d_sizes;

/* x [..., inputs], w [outputs, inputs], y [..., outputs]; n is the product of all leading dimensions: a row
 * for each position of each sample. */
typedef struct dl_dense_sizes {
    int64_t n, inputs, outputs;
} dl_dense_sizes;

/* x [n, cells..., channels]; `groups` groups of `group` samples each, the last one perhaps smaller. Kinds
 * without x have n = cells = 0 and read channels and groups from their other slots. */
typedef struct dl_batch_norm_sizes {
    int64_t n, cells, channels, groups, group;
} dl_batch_norm_sizes;

/* z [n, t, 4 h], w_hh [4 h, h], y [n, t, h]. */
typedef struct dl_lstm_sizes {
    int64_t n, t, h;
} dl_lstm_sizes;

/* x [n, t, inputs], w_ih [4 h, inputs], w_hh [4 h, h], y [n, t, h]. */
typedef struct dl_lstm_layer_sizes {
    int64_t n, t, inputs, h;
} dl_lstm_layer_sizes;

/* n samples of t positions of `features` values each. */
typedef struct dl_sequence_sizes {
    int64_t n, t, features;
} dl_sequence_sizes;

/* tokens (as many as there are) of a vocabulary, each a row of `width` values. */
typedef struct dl_embedding_sizes {
    int64_t tokens, vocabulary, width;
} dl_embedding_sizes;

/* x: `tokens` numbers of any shape, table [vocabulary, inputs], w [outputs, inputs], y [tokens, outputs]. */
typedef struct dl_embedding_dense_sizes {
    int64_t tokens, vocabulary, inputs, outputs;
} dl_embedding_dense_sizes;

/* Slot 0 is [N, ..., k]: n rows of k values, along the last dimension. */
typedef struct dl_row_sizes {
    int64_t n, k;
} dl_row_sizes;

dl_row_sizes dl_row_sizes_of(const dl_op_desc *desc);
dl_conv2d_sizes dl_conv2d_sizes_of(const dl_op_desc *desc);
dl_pooling2d_sizes dl_pooling2d_sizes_of(const dl_op_desc *desc);
dl_dense_sizes dl_dense_sizes_of(const dl_op_desc *desc);
dl_batch_norm_sizes dl_batch_norm_sizes_of(const dl_op_desc *desc);
dl_lstm_sizes dl_lstm_sizes_of(const dl_op_desc *desc);
dl_lstm_layer_sizes dl_lstm_layer_sizes_of(const dl_op_desc *desc);
/* Of the slot that holds whole sequences: x (dx) of reverse_by_length, take_last and their gradients. */
dl_sequence_sizes dl_sequence_sizes_of(const dl_op_desc *desc);
dl_embedding_sizes dl_embedding_sizes_of(const dl_op_desc *desc);
dl_embedding_dense_sizes dl_embedding_dense_sizes_of(const dl_op_desc *desc);

/* The shape of slot `name`, or of "d" `name` where the kind has only that; NULL when it has neither. */
const dl_shape *dl_op_shape_of(const dl_op_desc *desc, const char *name);

/* Positions of a window of size `window` over `size` cells with padding before and after. */
static inline int64_t dl_window_positions(int64_t size, int64_t window, int64_t stride, int64_t before,
                                          int64_t after) {
    const int64_t room = size + before + after - window;
    return room < 0 ? 0 : room / stride + 1;
}

#endif
