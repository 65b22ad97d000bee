/* exp of the mean cross entropy: of the labels as they are, whatever smoothing the loss has. */
#include "model/scoring.h"

#include <math.h>

static dl_status build(dl_score_build *b, int *value) {
    if (b->label_smoothing == 0) {
        *value = b->loss; /* the same sum */
        return DL_OK;
    }
    return dl_score_rows(b, "perplexity", DL_OP_CROSS_ENTROPY_FORWARD, &(dl_op_attr){0}, value);
}

static double finish(double mean) {
    return exp(mean);
}

const dl_metric_kind dl_metric_perplexity = {
    .variant = {.name = "perplexity",
                .doc = "classes: exp of the mean cross entropy without label smoothing",
                .options = dl_no_options},
    .target = DL_TARGET_CLASSES,
    .build = build,
    .finish = finish,
};
