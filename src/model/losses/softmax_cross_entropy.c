/* -log of the probability that softmax gives the label; with label smoothing, of the smoothed target. */
#include "model/scoring.h"

static dl_status build(dl_score_build *b, int *value) {
    const dl_op_attr attr = {.u.loss.smoothing = b->label_smoothing};
    return dl_score_rows(b, "loss", DL_OP_CROSS_ENTROPY_FORWARD, &attr, value);
}

const dl_loss_kind dl_loss_softmax_cross_entropy = {
    .variant =
        {.name = "softmax_cross_entropy",
         .doc =
             "for classes: -log of the label's probability; a final softmax is part of it, not applied twice",
         .options = dl_no_options},
    .target = DL_TARGET_CLASSES,
    .metric = "accuracy",
    .build = build,
};
