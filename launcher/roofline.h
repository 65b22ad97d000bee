/* How far a step is from what its device could do (the roofline model: Williams, Waterman, Patterson,
 * "Roofline: an insightful visual performance model", CACM 52(4), 2009). */
#ifndef DLTRAIN_LAUNCHER_ROOFLINE_H
#define DLTRAIN_LAUNCHER_ROOFLINE_H

#include "base/text.h"
#include "train/session.h"

/* What this device was measured to do: a product of matrices, a copy. */
typedef struct dl_roofline {
    double flops, bytes; /* a second */
} dl_roofline;

DL_NODISCARD dl_status dl_roofline_measure(dl_session *session, dl_roofline *out);

/* Runs the training program `n` times more, one operation after the other, each waited for, and appends a
 * table: for each layer its time (and that of what belongs to none: exchanges, updates), work, and the share
 * of the time that the larger of its floating-point operations and the bytes of its tensors would take at the
 * roofline. Above 100 % for convolutions by transforms, which do fewer operations than are counted, and for
 * tensors that stay in a cache. Collective over the world. */
DL_NODISCARD dl_status dl_roofline_layers(dl_session *session, const dl_host_batch *batch, int n,
                                          const dl_roofline *roofline, dl_text *out);

#endif
