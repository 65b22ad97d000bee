/* Inside the ref backend: one run function for each kind, plain layouts, one thread. Sums are made in double
 * and rounded once: this is what the other backends are measured against, so it is written to be read. */
#ifndef DLTRAIN_KERNELS_REF_REF_H
#define DLTRAIN_KERNELS_REF_REF_H

#include "kernels/backend.h"

#define DL_OP_KIND(NAME, name) void dl_##name##_ref(const dl_op *op, void *const *slots);
#include "kernels/ops.def"
#undef DL_OP_KIND

/* Bytes of workspace; other kinds need none. */
size_t dl_lstm_backward_data_ref_workspace(const dl_op_desc *desc);
size_t dl_lstm_layer_ref_workspace(const dl_op_desc *desc);

#endif
