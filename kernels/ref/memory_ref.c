#include "kernels/common/half.h"
#include "kernels/ref/ref.h"

#include <string.h>

void dl_fill_zero_ref(const dl_op *op, void *const *slots) {
    memset(slots[0], 0, dl_op_slot_bytes(op, 0));
}

static void copy(const dl_op *op, void *const *slots) {
    memcpy(slots[1], slots[0], dl_op_slot_bytes(op, 1));
}

void dl_copy_ref(const dl_op *op, void *const *slots) {
    copy(op, slots);
}

static float load(dl_dtype dtype, const void *values, int64_t i) {
    return dtype == DL_F32 ? ((const float *)values)[i]
                           : dl_float_of_half(dtype, ((const uint16_t *)values)[i]);
}

void dl_cast_ref(const dl_op *op, void *const *slots) {
    const dl_dtype from = op->desc.slot[0].dtype, to = op->desc.slot[1].dtype;
    const int64_t n = dl_shape_elements(&op->desc.slot[1].shape);
    for (int64_t i = 0; i < n; i++) {
        const float x = load(from, slots[0], i);
        if (to == DL_F32) {
            ((float *)slots[1])[i] = x;
        } else {
            ((uint16_t *)slots[1])[i] = dl_half_of(to, x);
        }
    }
}

/* ref has plain layouts only, so that changing layouts is copying. */
void dl_reorder_ref(const dl_op *op, void *const *slots) {
    copy(op, slots);
}

void dl_pack_ref(const dl_op *op, void *const *slots) {
    copy(op, slots);
}

void dl_unpack_ref(const dl_op *op, void *const *slots) {
    if (!op->desc.attr.accumulate) {
        copy(op, slots);
        return;
    }
    const float *x = slots[0];
    float *y = slots[1];
    const int64_t n = dl_shape_elements(&op->desc.slot[1].shape);
    for (int64_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}
