#include "kernels/common/augmentation.h"
#include "kernels/common/blocks.h"
#include "kernels/ref/ref.h"

#include <string.h>

/* An image being made: its cell (h, w) is cell (h', w') of the source, or empty. */
typedef struct picture {
    const char *from;
    char *to;
    int64_t rows, columns;
    size_t cell; /* bytes */
} picture;

static picture picture_of(const dl_op *op, void *const *slots, int64_t n) {
    const dl_tensor_desc *x = &op->desc.slot[0];
    const size_t cell = (size_t)x->shape.dim[3] * dl_dtype_bytes(x->dtype);
    const size_t image = (size_t)(x->shape.dim[1] * x->shape.dim[2]) * cell;
    return (picture){(const char *)slots[0] + (size_t)n * image, (char *)slots[3] + (size_t)n * image,
                     x->shape.dim[1], x->shape.dim[2], cell};
}

static void set_cell(const picture *p, int64_t h, int64_t w, int64_t source_h, int64_t source_w) {
    char *to = p->to + (size_t)(h * p->columns + w) * p->cell;
    if (source_h < 0 || source_h >= p->rows || source_w < 0 || source_w >= p->columns) {
        memset(to, 0, p->cell);
    } else {
        memcpy(to, p->from + (size_t)(source_h * p->columns + source_w) * p->cell, p->cell);
    }
}

void dl_random_crop_ref(const dl_op *op, void *const *slots) {
    const int64_t *ids = slots[1];
    const dl_step_block *step = slots[2];
    for (int64_t n = 0; n < op->desc.slot[0].shape.dim[0]; n++) {
        const picture p = picture_of(op, slots, n);
        int64_t move[2];
        dl_crop_move(&op->desc.attr.u.augment, step->step, ids[n], move);
        for (int64_t i = 0; i < p.rows * p.columns; i++) {
            const int64_t h = i / p.columns, w = i % p.columns;
            set_cell(&p, h, w, h + move[0], w + move[1]);
        }
    }
}

void dl_random_flip_ref(const dl_op *op, void *const *slots) {
    const dl_augment_attr *attr = &op->desc.attr.u.augment;
    const int64_t *ids = slots[1];
    const dl_step_block *step = slots[2];
    for (int64_t n = 0; n < op->desc.slot[0].shape.dim[0]; n++) {
        const picture p = picture_of(op, slots, n);
        const bool flips = dl_flips(attr, step->step, ids[n]);
        for (int64_t i = 0; i < p.rows * p.columns; i++) {
            const int64_t h = i / p.columns, w = i % p.columns;
            set_cell(&p, h, w, flips && !attr->columns ? p.rows - 1 - h : h,
                     flips && attr->columns ? p.columns - 1 - w : w);
        }
    }
}
