/* What chance does to a sample's image: a pure function of (seed, place in the list, step, sample), the same
 * on all backends, ranks and batch splits. */
#ifndef DLTRAIN_KERNELS_COMMON_AUGMENTATION_H
#define DLTRAIN_KERNELS_COMMON_AUGMENTATION_H

#include "kernels/common/philox.h"
#include "kernels/op.h"

/* Rows and columns by which a crop moves: -cells..cells, all equally likely. */
DL_SHARED void dl_crop_move(const dl_augment_attr *attr, int64_t step, int64_t id, int64_t move[2]) {
    uint32_t number[4];
    dl_philox_4x32(attr->seed, attr->purpose, (uint64_t)step, (uint64_t)id, number);
    for (int i = 0; i < 2; i++) {
        const uint64_t choices = (uint64_t)(2 * attr->cells[i] + 1);
        move[i] = (int64_t)(((uint64_t)number[i] * choices) >> 32) - attr->cells[i];
    }
}

DL_SHARED bool dl_flips(const dl_augment_attr *attr, int64_t step, int64_t id) {
    uint32_t number[4];
    dl_philox_4x32(attr->seed, attr->purpose, (uint64_t)step, (uint64_t)id, number);
    return (number[0] >> 31) != 0;
}

#endif
