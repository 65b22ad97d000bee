/* Where a padded sequence ends. Lengths are 1..T: data sets are checked when they are opened; a value outside
 * is moved to the nearer end, so that nothing reads beyond the tensor. */
#ifndef DLTRAIN_KERNELS_COMMON_SEQUENCE_H
#define DLTRAIN_KERNELS_COMMON_SEQUENCE_H

#include "kernels/common/pointwise.h"

#include <stddef.h>
#include <stdint.h>

/* The length of sample n of a batch of t positions; lengths NULL: t. */
DL_SHARED int64_t dl_length_of(const int32_t *lengths, int64_t n, int64_t t) {
    if (lengths == NULL || lengths[n] > t) {
        return t;
    }
    return lengths[n] < 1 ? 1 : lengths[n];
}

/* Position t of a sequence that is reversed within its length. */
DL_SHARED int64_t dl_reversed_position(int64_t t, int64_t length) {
    return t < length ? length - 1 - t : t;
}

#endif
