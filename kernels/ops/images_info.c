/* Pixels to network input. */
#include "kernels/ops/info.h"

static const dl_slot_info slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_ROWS, -1),
};

static dl_status check(const dl_op_desc *desc) {
    const dl_normalize_attr *attr = &desc->attr.u.normalize;
    const dl_shape *x = &desc->slot[0].shape;
    DL_RETURN_ERROR_IF(desc->slot[0].dtype != DL_U8 && desc->slot[0].dtype != DL_F32, DL_ERR_INTERNAL,
                       "normalize_images: slot 'x' is %s, not uint8 or float32",
                       dl_dtype_name(desc->slot[0].dtype));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "y", DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "x", "y"));
    DL_RETURN_ERROR_IF(x->n_dims < 2, DL_ERR_INTERNAL, "normalize_images: slot 'x' has no channels");
    const int n = attr->n_values;
    DL_RETURN_ERROR_IF(n < 1 || n > DL_MAX_CHANNEL_VALUES || (n != 1 && n != x->dim[x->n_dims - 1]),
                       DL_ERR_INTERNAL, "normalize_images: %d values of mean and std for %lld channels", n,
                       (long long)x->dim[x->n_dims - 1]);
    for (int i = 0; i < n; i++) {
        DL_RETURN_ERROR_IF(!(attr->std[i] > 0), DL_ERR_INTERNAL, "normalize_images: std %g is not positive",
                           attr->std[i]);
    }
    return DL_OK;
}

const dl_op_info dl_op_info_normalize_images = {
    .name = "normalize_images",
    .doc = "y[..., c] = (x[..., c] scale - mean[c]) / std[c]",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(slots),
    .slots = slots,
    .check = check,
    .rounding = &dl_rounding_pointwise,
};
