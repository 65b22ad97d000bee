/* Images with a border of zeros, and tensors side by side: rows are moved as they are. */
#include "kernels/cpu/loops/isa.h"

#include <string.h>

void DL_ISA(zero_padding2d_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                    dl_range images) {
    (void)loop;
    const int64_t *x = desc->slot[0].shape.dim, *y = desc->slot[1].shape.dim;
    const int64_t *cells = desc->attr.u.padding.cells, row = x[2] * x[3], wide = y[2] * y[3];
    for (int64_t n = images.begin; n < images.end; n++) {
        const float *from = (const float *)slots[0] + n * x[1] * row;
        float *to = (float *)slots[1] + n * y[1] * wide;
        memset(to, 0, (size_t)(y[1] * wide) * sizeof *to);
        for (int64_t h = 0; h < x[1]; h++) {
            memcpy(to + (h + cells[0]) * wide + cells[2] * x[3], from + h * row, (size_t)row * sizeof *to);
        }
    }
}

void DL_ISA(zero_padding2d_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                     dl_range images) {
    (void)loop;
    const int64_t *dy = desc->slot[0].shape.dim, *dx = desc->slot[1].shape.dim;
    const int64_t *cells = desc->attr.u.padding.cells, row = dx[2] * dx[3], wide = dy[2] * dy[3];
    for (int64_t n = images.begin; n < images.end; n++) {
        const float *from = (const float *)slots[0] + n * dy[1] * wide;
        float *to = (float *)slots[1] + n * dx[1] * row;
        for (int64_t h = 0; h < dx[1]; h++) {
            memcpy(to + h * row, from + (h + cells[0]) * wide + cells[2] * dx[3], (size_t)row * sizeof *to);
        }
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
