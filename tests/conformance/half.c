/* Cases on 16-bit floats: every case of float32 again, with its inputs rounded. What is right is what ref
 * computes in float32 from the same rounded inputs, rounded once: no backend's own conversions are in it. */
#include "half.h"

#include "kernels/common/half.h"

#include <math.h>
#include <string.h>

dl_dtype dlc_half_of_desc(const dl_op_desc *desc) {
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        if (desc->slot[i].present && dl_dtype_is_half(desc->slot[i].dtype)) {
            return desc->slot[i].dtype;
        }
    }
    return DL_F32;
}

void dlc_narrow(dl_op_desc *desc, dl_dtype dtype) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].half && desc->slot[i].present && desc->slot[i].dtype == DL_F32) {
            desc->slot[i].dtype = dtype;
        }
    }
}

double dlc_unit_roundoff(dl_dtype dtype) {
    return dtype == DL_BF16 ? 0x1p-8 : dtype == DL_F16 ? 0x1p-11 : 0x1p-24;
}

double dlc_sum_length(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    for (int i = 0; i < info->n_slots && info->flops != NULL; i++) {
        if (dlc_is_result(desc, i)) {
            const double outputs = (double)dl_shape_elements(&desc->slot[i].shape);
            return outputs > 0 ? fmax(1.0, info->flops(desc) / (2.0 * outputs)) : 1.0;
        }
    }
    return 1.0;
}

void dlc_round_floats(dl_dtype dtype, int64_t n, const float *from, void *to) {
    uint16_t *half = to;
    for (int64_t i = 0; i < n; i++) {
        half[i] = dl_half_of(dtype, from[i]);
    }
}

void dlc_widen_halves(dl_dtype dtype, int64_t n, const void *from, float *to) {
    const uint16_t *half = from;
    for (int64_t i = 0; i < n; i++) {
        to[i] = dl_float_of_half(dtype, half[i]);
    }
}

/* The values of a desc as those of its widened desc. */
static dl_status widen_values(const dl_op_desc *desc, const dlc_values *values, dlc_values *out) {
    const dl_op_desc wide = dl_op_widened(desc);
    DL_RETURN_IF_ERROR(dlc_values_create(&wide, out));
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        if (desc->slot[i].present && dl_dtype_is_half(desc->slot[i].dtype)) {
            dlc_widen_halves(desc->slot[i].dtype, dl_shape_elements(&desc->slot[i].shape), values->slot[i],
                             out->slot[i]);
        } else if (desc->slot[i].present) {
            memcpy(out->slot[i], values->slot[i], out->n_bytes[i]);
        }
    }
    return DL_OK;
}

dl_status dlc_half_expected(dl_device *ref, const dlc_problem *problem, dlc_values *expected) {
    dlc_problem wide = {.name = problem->name,
                        .desc = dl_op_widened(&problem->desc),
                        .has_forward = problem->has_forward,
                        .forward = dl_op_widened(&problem->forward)};
    dlc_values got;
    dlc_findings ignored;
    DL_RETURN_IF_ERROR(widen_values(&problem->desc, &problem->in, &wide.in));
    if (problem->has_forward) {
        DL_RETURN_IF_ERROR(widen_values(&problem->forward, &problem->forward_in, &wide.forward_in));
    }
    DL_RETURN_IF_ERROR(dlc_values_create(&wide.desc, &got));
    const dl_status status = dlc_execute(ref, &wide, (dlc_way){.once = true}, &got, &ignored);
    for (int i = 0; i < dl_op_info_of(wide.desc.kind)->n_slots && status == DL_OK; i++) {
        const dl_tensor_desc *tensor = &problem->desc.slot[i];
        if (tensor->present && dl_dtype_is_half(tensor->dtype)) {
            dlc_round_floats(tensor->dtype, dl_shape_elements(&tensor->shape), got.slot[i],
                             expected->slot[i]);
        } else if (tensor->present) {
            memcpy(expected->slot[i], got.slot[i], got.n_bytes[i]);
        }
    }
    dlc_values_destroy(&got);
    dlc_problem_destroy(&wide);
    return status;
}
