/* 16-bit operations by way of float32: for every kind that no backend takes on 16-bit floats itself. */
#ifndef DLTRAIN_KERNELS_WIDENED_H
#define DLTRAIN_KERNELS_WIDENED_H

#include "kernels/backend.h"

/* Prepares the float32 operation and around it the casts of its 16-bit slots, through the workspace: inputs
 * are exact in float32, outputs are rounded to nearest even once the whole operation is done. Slots of 16
 * bits are plain. `forward` as in dl_op_prepare. */
DL_NODISCARD dl_status dl_widened_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                          dl_op **out);

#endif
