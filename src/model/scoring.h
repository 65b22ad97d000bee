/* Losses and metrics: what a model's output is compared with, and how it is scored.
 *
 * One file in losses/ or metrics/ and one row in losses.def or metrics.def each. build() appends the
 * operations that give one float number for each row of the output (a sample; a position of a sequence): [N]
 * for outputs [N, K], and [N, T] for [N, T, K]. Figures are sums of these numbers over the sum of weights, so
 * means over all rows; `finish` turns such a mean into the figure where that is not the mean itself. */
#ifndef DLTRAIN_MODEL_SCORING_H
#define DLTRAIN_MODEL_SCORING_H

#include "config/config.h"
#include "model/layer.h"

/* What field y of the data set holds. */
typedef enum dl_target {
    DL_TARGET_CLASSES, /* int32, one class number for each row; below 0: none */
    DL_TARGET_VALUES   /* float32, one number for each output */
} dl_target;

/* What losses and metrics are built from. */
typedef struct dl_score_build {
    dl_layer_build build; /* of no layer */
    int scores;           /* value [.., K]: probabilities of the classes, or the model's output */
    int targets;          /* value: field y */
    double label_smoothing;
    int loss; /* value, for metrics: what the loss gave, -1 before */
} dl_score_build;

typedef struct dl_loss_kind {
    dl_variant_kind variant; /* name and doc; no options */
    dl_target target;
    const char
        *metric; /* what is reported beside it unless the configuration says otherwise; NULL: nothing */
    /* Appends the loss; *value is one number for each row. */
    dl_status (*build)(dl_score_build *build, int *value);
} dl_loss_kind;

typedef struct dl_metric_kind {
    dl_variant_kind variant;
    dl_target target;
    bool larger_is_better;
    dl_status (*build)(dl_score_build *build, int *value);
    double (*finish)(double mean); /* NULL: the figure is the mean */
} dl_metric_kind;

/* --- for the files of losses/ and metrics/ --- */

/* The table of options that losses and metrics do not have. */
extern const dl_option dl_no_options[];

/* Appends an operation of a kind with the slots (scores, targets, rows) and gives its rows as *value. */
DL_NODISCARD dl_status dl_score_rows(dl_score_build *build, const char *name, dl_op_kind kind,
                                     const dl_op_attr *attr, int *value);

/* --- the tables --- */

/* Names and docs, aliases behind the rows, NULL-terminated: what configurations may name. An index into them
 * is what dl_train_config holds. */
const dl_variant_kind *const *dl_loss_variants(void);
const dl_variant_kind *const *dl_metric_variants(void);

/* The loss that the index-th name stands for, and the metric. */
const dl_loss_kind *dl_loss_at(int index);
const dl_metric_kind *dl_metric_at(int64_t index);

/* By name, or NULL. */
const dl_loss_kind *dl_loss_find(const char *name);
const dl_metric_kind *dl_metric_find(const char *name);

/* Completes train.loss (aliases become the name they stand for), train.metrics (what the loss brings where
 * none are named) and checkpoint.best, and reports what does not go together, each at its place: metrics and
 * smoothing that the loss does not have, figures to watch that nobody computes. */
DL_NODISCARD dl_status dl_scoring_check(dl_config *config, dl_diagnostics *diagnostics);

/* A figure to watch: "valid_loss", "valid_accuracy", "loss", "accuracy". */
typedef struct dl_monitor {
    bool valid; /* of the validation split; otherwise of the epoch's training */
    int metric; /* number in train.metrics, -1: the loss */
    bool larger_is_better;
} dl_monitor;

/* Reads the name of a figure that this configuration computes; false when it computes no such. */
bool dl_monitor_parse(const dl_train_config *train, const char *name, dl_monitor *out);

#endif
