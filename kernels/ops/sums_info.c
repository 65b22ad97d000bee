/* Sums of equal things: two tensors, samples, pieces, squares; and the search for a value that is not finite.
 */
#include "kernels/common/blocks.h"
#include "kernels/ops/info.h"

static const dl_slot_info sum_samples_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_BATCHED, -1),
    DL_SLOT_ROW("total", OUT, 0, -1),
};

static const dl_slot_info add_slots[] = {
    DL_SLOT_ROW("a", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("b", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_IMAGE, 0),
};

static const dl_slot_info tree_sum_slots[] = {
    DL_SLOT_ROW("x", IN, 0, -1),
    DL_SLOT_ROW("y", OUT, 0, -1),
};

static const dl_slot_info check_finite_slots[] = {
    DL_SLOT_ROW("x", IN, 0, -1),
    DL_SLOT_ROW("control", INOUT, 0, -1),
};

static const dl_slot_info sum_squares_slots[] = {
    DL_SLOT_ROW("x", IN, 0, -1),
    DL_SLOT_ROW("sums", OUT, 0, -1),
    DL_SLOT_ROW("control", INOUT, 0, -1),
};

static const dl_slot_info gradient_norm_slots[] = {
    DL_SLOT_ROW("sums", IN, 0, -1),
    DL_SLOT_ROW("totals", IN, 0, -1),
    DL_SLOT_ROW("norm", OUT, 0, -1),
};

static dl_status check_sum_samples(const dl_op_desc *desc) {
    DL_RETURN_ERROR_IF(desc->slot[0].dtype != DL_F32 && desc->slot[0].dtype != DL_F64, DL_ERR_INTERNAL,
                       "sum_samples: slot 'x' is %s, not float32 or float64",
                       dl_dtype_name(desc->slot[0].dtype));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "total", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, "total", DL_SHAPE(1)));
    return DL_OK;
}

static dl_status check_add(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, (const char *const[]){"a", "b", "y", NULL}, DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "a", "b"));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, "a", "y"));
    return DL_OK;
}

static dl_status check_tree_sum(const dl_op_desc *desc) {
    const dl_shape *x = &desc->slot[0].shape;
    const dl_dtype dtype = desc->slot[0].dtype;
    DL_RETURN_ERROR_IF(dtype != DL_F32 && dtype != DL_F64, DL_ERR_INTERNAL,
                       "tree_sum: slot 'x' is %s, not float32 or float64", dl_dtype_name(dtype));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "y", dtype));
    DL_RETURN_ERROR_IF(x->n_dims < 1 || x->dim[0] < 1 || (x->dim[0] & (x->dim[0] - 1)) != 0, DL_ERR_INTERNAL,
                       "tree_sum: the first dimension of slot 'x' is not a power of two");
    DL_RETURN_ERROR_IF(dl_shape_elements(&desc->slot[1].shape) != dl_shape_stride(x, 1), DL_ERR_INTERNAL,
                       "tree_sum: slot 'y' has not the elements of one piece of slot 'x'");
    return DL_OK;
}

static dl_status check_check_finite(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "x", DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_blocks(desc));
    return DL_OK;
}

static dl_status check_sum_squares(const dl_op_desc *desc) {
    const int64_t n = dl_shape_elements(&desc->slot[0].shape);
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "x", DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "sums", DL_F64));
    DL_RETURN_IF_ERROR(
        dl_info_check_shape(desc, "sums", DL_SHAPE((n + DL_SQUARES_BLOCK - 1) / DL_SQUARES_BLOCK)));
    DL_RETURN_IF_ERROR(dl_info_check_blocks(desc));
    return DL_OK;
}

static dl_status check_gradient_norm(const dl_op_desc *desc) {
    DL_RETURN_ERROR_IF(!(desc->attr.u.clip.capacity > 0), DL_ERR_INTERNAL,
                       "gradient_norm: capacity is not positive");
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "sums", DL_F64));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, "sums", 1));
    DL_RETURN_IF_ERROR(dl_info_check_blocks(desc));
    return DL_OK;
}

static int64_t all_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    return dl_shape_elements(&desc->slot[0].shape) + 1;
}

static int64_t block_terms(const dl_op_desc *desc, int slot) {
    const int64_t n = all_terms(desc, slot);
    return n < DL_SQUARES_BLOCK ? n : DL_SQUARES_BLOCK;
}

static const dl_op_rounding sum_rounding = {.terms = all_terms, .of_terms = true};
static const dl_op_rounding squares_rounding = {.terms = block_terms, .of_terms = true};
static const dl_op_rounding norm_rounding = {.terms = all_terms};

const dl_op_info dl_op_info_sum_squares = {
    .name = "sum_squares",
    .doc =
        "sums[b] = sum of x^2 over block b, in double; control[NONFINITE] = 1 when an x is NaN or infinite",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(sum_squares_slots),
    .slots = sum_squares_slots,
    .check = check_sum_squares,
    .rounding = &squares_rounding,
};

const dl_op_info dl_op_info_gradient_norm = {
    .name = "gradient_norm",
    .doc = "norm = root of the sums, in order, times capacity / weight; and min(1, limit / (norm + 1e-6))",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(gradient_norm_slots),
    .slots = gradient_norm_slots,
    .check = check_gradient_norm,
    .rounding = &norm_rounding,
};

const dl_op_info dl_op_info_sum_samples = {
    .name = "sum_samples",
    .doc = "total = sum of all x, in order, in double; with accumulate, total += sum",
    .batch = DL_BATCH_SUMS_SAMPLES,
    .n_slots = DL_N_SLOTS(sum_samples_slots),
    .slots = sum_samples_slots,
    .check = check_sum_samples,
    .rounding = &sum_rounding,
};

const dl_op_info dl_op_info_add = {
    .name = "add",
    .doc = "y = a + b",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(add_slots),
    .slots = add_slots,
    .passes_gradient = true,
    .check = check_add,
    .rounding = &dl_rounding_of_two,
};

const dl_op_info dl_op_info_tree_sum = {
    .name = "tree_sum",
    .doc = "y = ((x[0] + x[1]) + (x[2] + x[3])) + ...: a binary tree over pieces, in the tensors' precision",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(tree_sum_slots),
    .slots = tree_sum_slots,
    .check = check_tree_sum,
};

const dl_op_info dl_op_info_check_finite = {
    .name = "check_finite",
    .doc = "control[NONFINITE] = 1 when an x is NaN or infinite; unchanged otherwise",
    .batch = DL_BATCH_NONE,
    .n_slots = DL_N_SLOTS(check_finite_slots),
    .slots = check_finite_slots,
    .check = check_check_finite,
};
