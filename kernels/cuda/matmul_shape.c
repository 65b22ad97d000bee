#include "kernels/cuda/matmul_shape.h"

#include "kernels/ops/sizes.h"

/* The widest loads and stores of a GPU. */
enum { MAX_ALIGNMENT = 16 };

int64_t dl_slot_alignment(const dl_op_desc *desc, int slot) {
    const dl_tensor_desc *tensor = &desc->slot[slot];
    const bool batched = dl_op_info_of(desc->kind)->slots[slot].batched;
    const int64_t elements = batched ? dl_shape_stride(&tensor->shape, 1) : dl_shape_elements(&tensor->shape);
    const int64_t n_bytes = elements * (int64_t)dl_dtype_bytes(tensor->dtype);
    int64_t alignment = MAX_ALIGNMENT;
    while (n_bytes % alignment != 0) {
        alignment /= 2;
    }
    return alignment;
}

/* Row by row, what lies there is rows x columns. */
static dl_blas_matrix matrix_of(const dl_matmul_side *side, int64_t rows, int64_t columns) {
    return (dl_blas_matrix){.rows = side->transposed ? rows : columns,
                            .columns = side->transposed ? columns : rows,
                            .ld = side->stride,
                            .transpose = side->transposed};
}

dl_blas_product dl_blas_product_of(const dl_matmul_shape *shape) {
    return (dl_blas_product){.m = shape->columns,
                             .n = shape->rows,
                             .k = shape->inner,
                             .a = matrix_of(&shape->right, shape->inner, shape->columns),
                             .b = matrix_of(&shape->left, shape->rows, shape->inner),
                             .d = matrix_of(&shape->out, shape->rows, shape->columns)};
}

static dl_matmul_side side(const dl_op_desc *desc, int slot, int64_t stride, bool transposed) {
    return (dl_matmul_side){.dtype = desc->slot[slot].dtype, .stride = stride, .transposed = transposed};
}

static int64_t common_alignment(const dl_op_desc *desc, const int slots[3]) {
    int64_t least = MAX_ALIGNMENT;
    for (int i = 0; i < 3; i++) {
        const int64_t alignment = dl_slot_alignment(desc, slots[i]);
        least = alignment < least ? alignment : least;
    }
    return least;
}

dl_matmul_shape dl_dense_shape_of(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_dense_sizes z = dl_dense_sizes_of(desc);
    dl_matmul_shape shape = {.rows = z.n, .columns = z.outputs, .inner = z.inputs};
    int slots[3];
    switch (desc->kind) {
    case DL_OP_DENSE_FORWARD:
        slots[0] = dl_op_slot(info, "x");
        slots[1] = dl_op_slot(info, "w");
        slots[2] = dl_op_slot(info, "y");
        shape.left = side(desc, slots[0], z.inputs, false);
        shape.right = side(desc, slots[1], z.inputs, true);
        break;
    case DL_OP_DENSE_BACKWARD_DATA:
        slots[0] = dl_op_slot(info, "dy");
        slots[1] = dl_op_slot(info, "w");
        slots[2] = dl_op_slot(info, "dx");
        shape.columns = z.inputs;
        shape.inner = z.outputs;
        shape.left = side(desc, slots[0], z.outputs, false);
        shape.right = side(desc, slots[1], z.inputs, false);
        break;
    default:
        slots[0] = dl_op_slot(info, "dy");
        slots[1] = dl_op_slot(info, "x");
        slots[2] = dl_op_slot(info, "dw");
        shape.rows = z.outputs;
        shape.columns = z.inputs;
        shape.inner = z.n;
        shape.left = side(desc, slots[0], z.outputs, true);
        shape.right = side(desc, slots[1], z.inputs, false);
    }
    shape.out = side(desc, slots[2], shape.columns, false);
    shape.alignment = common_alignment(desc, slots);
    return shape;
}

static dl_matmul_side floats(int64_t stride, bool transposed) {
    return (dl_matmul_side){.dtype = DL_F32, .stride = stride, .transposed = transposed};
}

/* Rows of a position lie a whole sequence apart, and begin h floats (dz: 4 h) behind those of the position
 * before. */
dl_matmul_shape dl_lstm_shape_of(const dl_op_desc *desc, bool initial) {
    const dl_lstm_sizes s = dl_lstm_sizes_of(desc);
    int64_t alignment = MAX_ALIGNMENT;
    while (s.h * (int64_t)sizeof(float) % alignment != 0) {
        alignment /= 2;
    }
    switch (desc->kind) {
    case DL_OP_LSTM_FORWARD:
        return (dl_matmul_shape){.rows = s.n,
                                 .columns = 4 * s.h,
                                 .inner = s.h,
                                 .left = floats(initial ? s.h : s.t * s.h, false),
                                 .right = floats(s.h, true),
                                 .out = floats(4 * s.h, false),
                                 .alignment = alignment};
    case DL_OP_LSTM_BACKWARD_DATA:
        return (dl_matmul_shape){.rows = s.n,
                                 .columns = s.h,
                                 .inner = 4 * s.h,
                                 .left = floats(s.t * 4 * s.h, false),
                                 .right = floats(s.h, false),
                                 .out = floats(s.h, false),
                                 .alignment = alignment};
    default:
        return (dl_matmul_shape){.rows = 4 * s.h,
                                 .columns = s.h,
                                 .inner = s.n * s.t,
                                 .left = floats(4 * s.h, true),
                                 .right = floats(s.h, false),
                                 .out = floats(s.h, false),
                                 .alignment = alignment};
    }
}
