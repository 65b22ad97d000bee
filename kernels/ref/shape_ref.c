#include "kernels/ref/ref.h"

/* The cell of x that cell i of the padded image is, or -1 in the border. */
static int64_t inner_cell(const dl_op *op, const dl_shape *x, const dl_shape *y, int64_t i) {
    const int64_t *cells = op->desc.attr.u.padding.cells;
    const int64_t c = i % y->dim[3], v = i / y->dim[3] % y->dim[2] - cells[2];
    const int64_t h = i / (y->dim[3] * y->dim[2]) % y->dim[1] - cells[0];
    const int64_t n = i / (y->dim[3] * y->dim[2] * y->dim[1]);
    const bool inside = h >= 0 && h < x->dim[1] && v >= 0 && v < x->dim[2];
    return inside ? ((n * x->dim[1] + h) * x->dim[2] + v) * x->dim[3] + c : -1;
}

void dl_zero_padding2d_forward_ref(const dl_op *op, void *const *slots) {
    const dl_shape *x_shape = &op->desc.slot[0].shape, *y_shape = &op->desc.slot[1].shape;
    const float *x = slots[0];
    float *y = slots[1];
    for (int64_t i = 0; i < dl_shape_elements(y_shape); i++) {
        const int64_t from = inner_cell(op, x_shape, y_shape, i);
        y[i] = from < 0 ? 0.0f : x[from];
    }
}

void dl_zero_padding2d_backward_ref(const dl_op *op, void *const *slots) {
    const dl_shape *dy_shape = &op->desc.slot[0].shape, *dx_shape = &op->desc.slot[1].shape;
    const float *dy = slots[0];
    float *dx = slots[1];
    for (int64_t i = 0; i < dl_shape_elements(dy_shape); i++) {
        const int64_t to = inner_cell(op, dx_shape, dy_shape, i);
        if (to >= 0) {
            dx[to] = dy[i];
        }
    }
}

/* Moves every element of every part that is there to its place in the whole, or back. */
static void move_parts(const dl_op *op, void *const *slots, bool together) {
    const dl_shape *whole = &op->desc.slot[DL_MAX_CONCATENATED].shape;
    const int64_t width = whole->dim[whole->n_dims - 1], rows = dl_shape_elements(whole) / width;
    float *y = slots[DL_MAX_CONCATENATED];
    int64_t begin = 0;
    for (int p = 0; p < DL_MAX_CONCATENATED; p++) {
        const int64_t part_width = op->desc.attr.u.concatenate.width[p];
        float *part = slots[p];
        for (int64_t i = 0; i < rows * part_width && part != NULL; i++) {
            float *in_whole = &y[i / part_width * width + begin + i % part_width];
            *(together ? in_whole : &part[i]) = together ? part[i] : *in_whole;
        }
        begin += part_width;
    }
}

void dl_concatenate_forward_ref(const dl_op *op, void *const *slots) {
    move_parts(op, slots, true);
}

void dl_concatenate_backward_ref(const dl_op *op, void *const *slots) {
    move_parts(op, slots, false);
}
