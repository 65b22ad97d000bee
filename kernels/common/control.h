/* The control word of a step. */
#ifndef DLTRAIN_KERNELS_COMMON_CONTROL_H
#define DLTRAIN_KERNELS_COMMON_CONTROL_H

#include "kernels/common/blocks.h"
#include "kernels/common/pointwise.h"

#include <stdbool.h>

/* Whether the control word lets a step change parameters and state. */
DL_SHARED bool dl_step_is_ok(const int32_t *control) {
    return control[DL_CONTROL_NONFINITE] == 0 && control[DL_CONTROL_BAD_DATA] == 0 &&
           control[DL_CONTROL_ERROR] == 0 && control[DL_CONTROL_VOID] == 0;
}

/* The word a step begins with, in place of that of the step before: the rank's requests. What the host gave a
 * step whose predecessor it had not seen was reckoned as if that had gone well. */
DL_SHARED void dl_begin_control(int32_t *control, const dl_step_block *step) {
    const bool is_void = step->unseen != 0 && !dl_step_is_ok(control);
    for (int i = 0; i < DL_N_CONTROLS; i++) {
        control[i] = step->control[i];
    }
    control[DL_CONTROL_VOID] = is_void;
}

#endif
