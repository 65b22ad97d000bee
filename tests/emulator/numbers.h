/* Elements of device memory as numbers: float32, bfloat16, float16. */
#ifndef DLTRAIN_TESTS_EMULATOR_NUMBERS_H
#define DLTRAIN_TESTS_EMULATOR_NUMBERS_H

#include "kernels/common/half.h"

#include <cudnn.h>

static inline dl_dtype dtype_of(cudnnDataType_t type) {
    return type == CUDNN_DATA_BFLOAT16 ? DL_BF16 : type == CUDNN_DATA_HALF ? DL_F16 : DL_F32;
}

static inline double number_at(const void *memory, int64_t i, dl_dtype dtype) {
    return dl_dtype_is_half(dtype) ? (double)dl_float_of_half(dtype, ((const uint16_t *)memory)[i])
                                   : (double)((const float *)memory)[i];
}

static inline void set_number(void *memory, int64_t i, dl_dtype dtype, double number) {
    if (dl_dtype_is_half(dtype)) {
        ((uint16_t *)memory)[i] = dl_half_of(dtype, (float)number);
    } else {
        ((float *)memory)[i] = (float)number;
    }
}

#endif
