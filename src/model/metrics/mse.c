/* Mean squared error. */
#include "model/scoring.h"

static dl_status build(dl_score_build *b, int *value) {
    const dl_op_attr attr = {.u.loss.absolute = false};
    return dl_score_rows(b, "mse", DL_OP_ERROR_FORWARD, &attr, value);
}

const dl_metric_kind dl_metric_mse = {
    .variant = {.name = "mse",
                .doc = "numbers: mean squared difference of outputs and targets",
                .options = dl_no_options},
    .target = DL_TARGET_VALUES,
    .build = build,
};
