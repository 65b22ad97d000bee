/* 16-bit floats on their way through sums: bfloat16 and float16 to float32 and back, rounding to nearest,
 * ties to even; infinities and NaN stay what they are. */
#ifndef DLTRAIN_COMM_NARROW_H
#define DLTRAIN_COMM_NARROW_H

#include "base/tensor.h"

static inline bool dl_is_narrow(dl_dtype dtype) {
    return dtype == DL_BF16 || dtype == DL_F16;
}

void dl_widen(dl_dtype dtype, const uint16_t *from, float *to, int64_t n);
void dl_narrow(dl_dtype dtype, const float *from, uint16_t *to, int64_t n);

#endif
