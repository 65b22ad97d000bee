/* How far a result may be from ref's: one table by class of kind, without exceptions. One that a kind or an
 * implementation needs belongs here, with its reason; there may be five. */
#include "half.h"

#include "kernels/common/half.h"

#include <math.h>
#include <string.h>

typedef enum kind_class {
    CLASS_EXACT,     /* moves values, or adds them in an order that is part of what the kind means */
    CLASS_POINTWISE, /* a few roundings for each element */
    CLASS_SUM,       /* a sum for each element, in any order, in single precision */
} kind_class;

static const double tolerances[] = {[CLASS_EXACT] = 0, [CLASS_POINTWISE] = 3e-7, [CLASS_SUM] = 2e-6};

/* Kinds that are not listed are exact. */
static const kind_class classes[DL_N_OP_KINDS] = {
    [DL_OP_CONV2D_FORWARD] = CLASS_SUM,
    [DL_OP_CONV2D_BACKWARD_DATA] = CLASS_SUM,
    [DL_OP_CONV2D_BACKWARD_WEIGHTS] = CLASS_SUM,
    [DL_OP_DENSE_FORWARD] = CLASS_SUM,
    [DL_OP_DENSE_BACKWARD_DATA] = CLASS_SUM,
    [DL_OP_DENSE_BACKWARD_WEIGHTS] = CLASS_SUM,
    [DL_OP_EMBEDDING_BACKWARD_WEIGHTS] = CLASS_SUM,
    [DL_OP_EMBEDDING_DENSE_FORWARD] = CLASS_SUM,
    [DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS] = CLASS_SUM,
    [DL_OP_LSTM_FORWARD] = CLASS_SUM,
    [DL_OP_LSTM_BACKWARD_DATA] = CLASS_SUM,
    [DL_OP_LSTM_BACKWARD_WEIGHTS] = CLASS_SUM,
    [DL_OP_LSTM_LAYER_FORWARD] = CLASS_SUM,
    [DL_OP_LSTM_LAYER_BACKWARD] = CLASS_SUM,
    [DL_OP_AVERAGE_POOLING2D_FORWARD] = CLASS_SUM,
    [DL_OP_AVERAGE_POOLING2D_BACKWARD] = CLASS_SUM,
    [DL_OP_BATCH_NORM_SUMS] = CLASS_SUM,
    [DL_OP_BATCH_NORM_FORWARD] = CLASS_POINTWISE,
    [DL_OP_BATCH_NORM_BACKWARD_SUMS] = CLASS_SUM,
    [DL_OP_BATCH_NORM_BACKWARD_DATA] = CLASS_SUM,
    [DL_OP_SOFTMAX_FORWARD] = CLASS_SUM,
    [DL_OP_SOFTMAX_BACKWARD] = CLASS_SUM,
    [DL_OP_SOFTMAX_CROSS_ENTROPY] = CLASS_SUM,
    [DL_OP_MAX_POOLING2D_BACKWARD] = CLASS_POINTWISE,
    [DL_OP_ACTIVATION_FORWARD] = CLASS_POINTWISE,
    [DL_OP_ACTIVATION_BACKWARD] = CLASS_POINTWISE,
    [DL_OP_DROPOUT_FORWARD] = CLASS_POINTWISE,
    [DL_OP_DROPOUT_BACKWARD] = CLASS_POINTWISE,
    [DL_OP_CROSS_ENTROPY_FORWARD] = CLASS_POINTWISE,
    [DL_OP_CROSS_ENTROPY_BACKWARD] = CLASS_POINTWISE,
    [DL_OP_ERROR_FORWARD] = CLASS_SUM,
    [DL_OP_ERROR_BACKWARD] = CLASS_POINTWISE,
    [DL_OP_NORMALIZE_IMAGES] = CLASS_POINTWISE,
    [DL_OP_SUM_SAMPLES] = CLASS_POINTWISE,
    [DL_OP_ADD] = CLASS_POINTWISE,
    [DL_OP_SGD_UPDATE] = CLASS_POINTWISE,
    [DL_OP_ADAM_UPDATE] = CLASS_POINTWISE,
    [DL_OP_RMSPROP_UPDATE] = CLASS_POINTWISE,
    [DL_OP_COMMIT] = CLASS_POINTWISE,
    [DL_OP_SUM_SQUARES] = CLASS_POINTWISE,
    [DL_OP_GRADIENT_NORM] = CLASS_POINTWISE,
};

/* 16-bit results: 8 u sqrt(K). What an LSTM carries out of a sequence comes from products of rounded outputs,
 * whatever its own type is. */
double dlc_tolerance(const dl_op_desc *desc, int slot, bool rounds_sums) {
    const bool narrow =
        rounds_sums || desc->kind == DL_OP_LSTM_FORWARD || desc->kind == DL_OP_LSTM_LAYER_FORWARD;
    const dl_dtype half = narrow ? dlc_half_of_desc(desc) : desc->slot[slot].dtype;
    if (classes[desc->kind] != CLASS_EXACT && dl_dtype_is_half(half)) {
        return 8.0 * dlc_unit_roundoff(half) * sqrt(dlc_sum_length(desc));
    }
    return tolerances[classes[desc->kind]];
}

static double value_at(dl_dtype dtype, const void *values, int64_t i) {
    if (dl_dtype_is_half(dtype)) {
        return (double)dl_float_of_half(dtype, ((const uint16_t *)values)[i]);
    }
    return dtype == DL_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

double dlc_difference(const dl_tensor_desc *tensor, const void *a, const void *b) {
    if (tensor->dtype != DL_F32 && tensor->dtype != DL_F64 && !dl_dtype_is_half(tensor->dtype)) {
        return memcmp(a, b, dl_tensor_plain_bytes(tensor)) == 0 ? 0 : INFINITY;
    }
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < dl_shape_elements(&tensor->shape); i++) {
        const double x = value_at(tensor->dtype, a, i), y = value_at(tensor->dtype, b, i);
        if (isfinite(y) && isfinite(x)) {
            difference += (x - y) * (x - y);
            norm += y * y;
        } else if (!(isnan(x) && isnan(y)) && !(isinf(y) && x == y)) {
            return INFINITY;
        }
    }
    return difference == 0 ? 0 : norm == 0 ? INFINITY : sqrt(difference / norm);
}
