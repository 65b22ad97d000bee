#include "kernels/common/activation.h"

#include "kernels/common/blocks.h"
#include "kernels/common/dropout.h"
#include "kernels/ref/ref.h"

#include <string.h>

void dl_activation_forward_ref(const dl_op *op, void *const *slots) {
    const float *x = slots[0];
    float *y = slots[1];
    const int64_t n = dl_shape_elements(&op->desc.slot[1].shape);
    for (int64_t i = 0; i < n; i++) {
        y[i] = dl_activate(op->desc.attr.activation, x[i]);
    }
}

void dl_activation_backward_ref(const dl_op *op, void *const *slots) {
    const float *y = slots[0], *dy = slots[1];
    float *dx = slots[2];
    const int64_t n = dl_shape_elements(&op->desc.slot[2].shape);
    for (int64_t i = 0; i < n; i++) {
        dx[i] = dl_activate_backward(op->desc.attr.activation, y[i], dy[i]);
    }
}

/* Forward and backward are one thing: slots x (dy), ids, step, y (dx). */
static void dropout(const dl_op *op, void *const *slots) {
    const float *x = slots[0];
    const int64_t *ids = slots[1];
    const dl_step_block *step = slots[2];
    float *y = slots[3];
    const dl_shape *shape = &op->desc.slot[0].shape;
    const int64_t n_samples = shape->dim[0], n = dl_shape_stride(shape, 1);
    if (!op->desc.attr.training) {
        memmove(y, x, (size_t)(n_samples * n) * sizeof *x);
        return;
    }
    const dl_dropout_attr *attr = &op->desc.attr.u.dropout;
    const dl_dropout mask = dl_dropout_of(attr);
    const int64_t row = shape->dim[shape->n_dims - 1];
    for (int64_t i = 0; i < n_samples; i++) {
        dl_dropout_sample(attr, dl_dropout_run, &mask, step->step, ids[i], n, row, x + i * n, y + i * n);
    }
}

void dl_dropout_forward_ref(const dl_op *op, void *const *slots) {
    dropout(op, slots);
}

void dl_dropout_backward_ref(const dl_op *op, void *const *slots) {
    dropout(op, slots);
}
