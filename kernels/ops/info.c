#include "kernels/ops/info.h"

#include "kernels/common/blocks.h"
#include "kernels/ops/sizes.h"

static const dl_tensor_desc *tensor_of(const dl_op_desc *desc, const char *name) {
    const int i = dl_op_slot(dl_op_info_of(desc->kind), name);
    return i < 0 ? NULL : &desc->slot[i];
}

dl_status dl_info_check_dtype(const dl_op_desc *desc, const char *name, dl_dtype dtype) {
    const dl_tensor_desc *tensor = tensor_of(desc, name);
    DL_RETURN_ERROR_IF(tensor != NULL && tensor->present && tensor->dtype != dtype, DL_ERR_INTERNAL,
                       "%s: slot '%s' is %s, not %s", dl_op_info_of(desc->kind)->name, name,
                       dl_dtype_name(tensor->dtype), dl_dtype_name(dtype));
    return DL_OK;
}

dl_status dl_info_check_dtypes(const dl_op_desc *desc, const char *const *names, dl_dtype dtype) {
    for (int i = 0; names[i] != NULL; i++) {
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, names[i], dtype));
    }
    return DL_OK;
}

dl_status dl_info_check_shape(const dl_op_desc *desc, const char *name, dl_shape shape) {
    const dl_tensor_desc *tensor = tensor_of(desc, name);
    char has[DL_SHAPE_TEXT_BYTES], wants[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(tensor != NULL && tensor->present && !dl_shape_equal(&tensor->shape, &shape),
                       DL_ERR_INTERNAL, "%s: slot '%s' has shape %s, the others want %s",
                       dl_op_info_of(desc->kind)->name, name, dl_shape_text(&tensor->shape, has),
                       dl_shape_text(&shape, wants));
    return DL_OK;
}

dl_status dl_info_check_dims(const dl_op_desc *desc, const char *name, int n_dims) {
    const dl_tensor_desc *tensor = tensor_of(desc, name);
    char text[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(tensor != NULL && tensor->present && tensor->shape.n_dims != n_dims, DL_ERR_INTERNAL,
                       "%s: slot '%s' has shape %s, not %d dimensions", dl_op_info_of(desc->kind)->name, name,
                       dl_shape_text(&tensor->shape, text), n_dims);
    return DL_OK;
}

dl_status dl_info_check_same(const dl_op_desc *desc, const char *a, const char *b) {
    const dl_tensor_desc *first = tensor_of(desc, a);
    if (first == NULL || !first->present) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, b, first->shape));
    return DL_OK;
}

dl_status dl_info_check_floats(const dl_op_desc *desc, const char *const *names, dl_shape shape) {
    for (int i = 0; names[i] != NULL; i++) {
        DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, names[i], DL_F32));
        DL_RETURN_IF_ERROR(dl_info_check_shape(desc, names[i], shape));
    }
    return DL_OK;
}

dl_status dl_info_check_blocks(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "step", DL_U8));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "step", DL_SHAPE((int64_t)sizeof(dl_step_block))));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "totals", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "totals", DL_SHAPE(DL_N_TOTALS)));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "norm", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "norm", DL_SHAPE(DL_N_NORMS)));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "scale", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "scale", DL_SHAPE(DL_N_SCALES)));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "control", DL_I32));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "control", DL_SHAPE(DL_N_CONTROLS)));
    return DL_OK;
}

static int64_t few(const dl_op_desc *desc, int slot) {
    (void)desc;
    (void)slot;
    return 4;
}

static int64_t two(const dl_op_desc *desc, int slot) {
    (void)desc;
    (void)slot;
    return 2;
}

static int64_t row_length(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_row_sizes_of(desc).k;
}

const dl_op_rounding dl_rounding_pointwise = {.terms = few};
const dl_op_rounding dl_rounding_of_rows = {.terms = row_length};
const dl_op_rounding dl_rounding_of_two = {.terms = two, .of_terms = true};
