#include "kernels/common/loss_scale.h"

#include "kernels/ref/ref.h"

void dl_scale_weight_ref(const dl_op *op, void *const *slots) {
    (void)op;
    const double *totals = slots[0];
    const double *scale = slots[1];
    double *scaled = slots[2];
    for (int i = 0; i < DL_N_TOTALS; i++) {
        scaled[i] = i == DL_TOTAL_WEIGHT ? totals[i] * scale[DL_SCALE_VALUE] : totals[i];
    }
}

void dl_commit_loss_scale_ref(const dl_op *op, void *const *slots) {
    (void)op;
    dl_next_loss_scale(slots[0], slots[1]);
}
