/* Images with a border of zeros, and tensors side by side: rows are moved as they are. */
#include "kernels/cpu/loops/isa.h"

#include <string.h>

/* Moves the cells of n images between the padded image and the one inside. */
static void move_cells(const dl_op_desc *desc, const dl_shape *inner, const dl_shape *outer, float *in,
                       float *out, bool outwards) {
    const dl_padding_attr *pad = &desc->attr.u.padding;
    const int64_t *x = inner->dim, *y = outer->dim;
    const bool whole_rows = x[3] == y[3];
    const int64_t run = whole_rows ? x[2] * x[3] : x[3], runs = whole_rows ? 1 : x[2];
    for (int64_t h = 0; h < x[1]; h++) {
        for (int64_t v = 0; v < runs; v++) {
            float *small = in + (h * x[2] + v) * x[3];
            float *large = out + ((h + pad->cells[0]) * y[2] + v + pad->cells[2]) * y[3] + pad->channels[0];
            memcpy(outwards ? large : small, outwards ? small : large, (size_t)run * sizeof *small);
        }
    }
}

void DL_ISA(zero_padding2d_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                    dl_range images) {
    (void)loop;
    const dl_shape *x = &desc->slot[0].shape, *y = &desc->slot[1].shape;
    const int64_t small = dl_shape_stride(x, 1), large = dl_shape_stride(y, 1);
    for (int64_t n = images.begin; n < images.end; n++) {
        float *to = (float *)slots[1] + n * large;
        memset(to, 0, (size_t)large * sizeof *to);
        move_cells(desc, x, y, (float *)slots[0] + n * small, to, true);
    }
}

void DL_ISA(zero_padding2d_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                     dl_range images) {
    (void)loop;
    const dl_shape *dy = &desc->slot[0].shape, *dx = &desc->slot[1].shape;
    const int64_t small = dl_shape_stride(dx, 1), large = dl_shape_stride(dy, 1);
    for (int64_t n = images.begin; n < images.end; n++) {
        move_cells(desc, dx, dy, (float *)slots[1] + n * small, (float *)slots[0] + n * large, false);
    }
}

/* Moves between the whole, `row` floats wide, and its parts, which are slots 0, 1, ... */
static void move_parts(const dl_op_desc *desc, float *whole, int64_t row, void *const *slots, dl_range rows,
                       bool together) {
    int64_t at = 0;
    for (int i = 0; i < DL_MAX_CONCATENATED; i++) {
        const int64_t width = desc->attr.u.concatenate.width[i];
        for (int64_t r = rows.begin; r < rows.end && slots[i] != NULL; r++) {
            float *part = (float *)slots[i] + r * width, *in_whole = whole + r * row + at;
            memcpy(together ? in_whole : part, together ? part : in_whole, (size_t)width * sizeof *part);
        }
        at += width;
    }
}

void DL_ISA(concatenate_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                 dl_range rows) {
    move_parts(desc, slots[DL_MAX_CONCATENATED], loop->row, slots, rows, true);
}

void DL_ISA(concatenate_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                  dl_range rows) {
    move_parts(desc, slots[DL_MAX_CONCATENATED], loop->row, slots, rows, false);
}
