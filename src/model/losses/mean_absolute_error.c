/* The mean over a row's outputs of the distance from the targets. */
#include "model/scoring.h"

static dl_status build(dl_score_build *b, int *value) {
    const dl_op_attr attr = {.u.loss.absolute = true};
    return dl_score_rows(b, "loss", DL_OP_ERROR_FORWARD, &attr, value);
}

const dl_loss_kind dl_loss_mean_absolute_error = {
    .variant = {.name = "mean_absolute_error",
                .doc = "for numbers: mean over the outputs of |output - target|",
                .options = dl_no_options},
    .target = DL_TARGET_VALUES,
    .build = build,
};
