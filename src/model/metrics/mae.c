/* Mean absolute error. */
#include "model/scoring.h"

static dl_status build(dl_score_build *b, int *value) {
    const dl_op_attr attr = {.u.loss.absolute = true};
    return dl_score_rows(b, "mae", DL_OP_ERROR_FORWARD, &attr, value);
}

const dl_metric_kind dl_metric_mae = {
    .variant = {.name = "mae",
                .doc = "numbers: mean absolute difference of outputs and targets",
                .options = dl_no_options},
    .target = DL_TARGET_VALUES,
    .build = build,
};
