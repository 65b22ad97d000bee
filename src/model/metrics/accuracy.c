/* Accuracy, and among the k best. Of equal scores the first stands before the others. */
#include "model/scoring.h"

static dl_status build(dl_score_build *b, const char *name, int64_t k, int *value) {
    const dl_op_attr attr = {.u.accuracy.k = k};
    return dl_score_rows(b, name, DL_OP_ACCURACY, &attr, value);
}

static dl_status build_top_1(dl_score_build *b, int *value) {
    return build(b, "accuracy", 1, value);
}

static dl_status build_top_3(dl_score_build *b, int *value) {
    return build(b, "top_3_accuracy", 3, value);
}

static dl_status build_top_5(dl_score_build *b, int *value) {
    return build(b, "top_5_accuracy", 5, value);
}

static dl_status build_top_10(dl_score_build *b, int *value) {
    return build(b, "top_10_accuracy", 10, value);
}

const dl_metric_kind dl_metric_accuracy = {
    .variant = {.name = "accuracy",
                .doc = "classes: share of labels with the largest score",
                .options = dl_no_options},
    .target = DL_TARGET_CLASSES,
    .larger_is_better = true,
    .build = build_top_1,
};

const dl_metric_kind dl_metric_top_3_accuracy = {
    .variant = {.name = "top_3_accuracy",
                .doc = "classes: share of labels among the 3 largest scores",
                .options = dl_no_options},
    .target = DL_TARGET_CLASSES,
    .larger_is_better = true,
    .build = build_top_3,
};

const dl_metric_kind dl_metric_top_5_accuracy = {
    .variant = {.name = "top_5_accuracy",
                .doc = "classes: share of labels among the 5 largest scores",
                .options = dl_no_options},
    .target = DL_TARGET_CLASSES,
    .larger_is_better = true,
    .build = build_top_5,
};

const dl_metric_kind dl_metric_top_10_accuracy = {
    .variant = {.name = "top_10_accuracy",
                .doc = "classes: share of labels among the 10 largest scores",
                .options = dl_no_options},
    .target = DL_TARGET_CLASSES,
    .larger_is_better = true,
    .build = build_top_10,
};
