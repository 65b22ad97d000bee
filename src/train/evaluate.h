/* Evaluation: every sample of a split exactly once, at any number of ranks. */
#ifndef DLTRAIN_TRAIN_EVALUATE_H
#define DLTRAIN_TRAIN_EVALUATE_H

#include "train/console.h"
#include "train/predictions.h"
#include "train/run_dir.h"
#include "train/session.h"

typedef struct dl_evaluation {
    dl_session *session;
    dl_split split;
    dl_console *console;         /* progress; may be NULL */
    dl_run_dir *audit;           /* records the samples when its audit is on; may be NULL */
    int64_t epoch;               /* for the audit */
    dl_predictions *predictions; /* are given every batch; may be NULL */
    /* Asked before each batch: a word other than 0, on any rank, ends the evaluation about there on all of
     * them, with the largest word in *stopped and no score; 0 in *stopped: it came to its end. NULL: nothing
     * does. */
    int (*stop_word)(void *context);
    void *context;
    int *stopped;
} dl_evaluation;

/* Loss and metrics from sums over samples: means, and what a metric makes of its mean. */
dl_score dl_score_of(const dl_model *model, const double totals[DL_N_TOTALS]);

/* Means of loss and metrics over the split, with the parameters as they are now. Collective over the data
 * axis; all ranks get the same numbers. score->present is false when there is no such split. */
DL_NODISCARD dl_status dl_evaluate(const dl_evaluation *evaluation, dl_score *score);

#endif
