/* metrics.jsonl: what happened, one JSON object a line, for programs. The reports below are also what the
 * console shows. Losses and metrics are means over the global samples (tokens) of the step or epoch, natural
 * logarithm.
 *
 * Rank 0 only. A line is one write(); nothing is allocated per line. A failing write is DL_ERR_IO naming the
 * file. */
#ifndef DLTRAIN_TRAIN_METRICS_H
#define DLTRAIN_TRAIN_METRICS_H

#include "base/status.h"

#include <stdint.h>

enum { DL_MAX_METRICS = 6 };

/* Loss and metrics of some samples; metric[i] belongs to the i-th name given to dl_metrics_create. */
typedef struct dl_score {
    bool present; /* false: there is no such split, its keys are left out */
    double loss;
    double metric[DL_MAX_METRICS];
} dl_score;

typedef struct dl_start_report {
    int ranks, threads; /* threads of each rank */
    const char *backend;
    int64_t parameters;
    const char *config_digest;
} dl_start_report;

/* A run goes on. */
typedef struct dl_resume_report {
    int64_t epoch, step, samples; /* where it stood */
    int ranks_before, ranks;
} dl_resume_report;

typedef struct dl_step_report {
    int64_t epoch, step; /* from 1; steps count over the whole training */
    int64_t samples;     /* seen so far by all ranks */
    dl_score train;      /* of this step */
    double learning_rate;
    const double *gradient_norm; /* of the mean gradient before it was clipped; NULL: not measured */
    const double *loss_scale;    /* behind this step; NULL: losses are not scaled */
    bool skipped;   /* a scaled gradient overflowed: the step has changed nothing but the scale */
    double step_ms; /* wall time of this step */
    double samples_per_s;
    double data_wait; /* share of the time that training waited for data, 0..1 */
    double seconds;   /* since training began */
} dl_step_report;

/* A step that changed nothing: its gradients were not finite. */
typedef struct dl_skip_report {
    int64_t epoch, step, samples;
    int64_t in_row;    /* with this one */
    const char *where; /* the first value that was not finite came from */
} dl_skip_report;

typedef struct dl_epoch_report {
    int64_t epoch, step, samples;
    dl_score train, valid;
    double samples_per_s, data_wait;
    double seconds; /* since training began */
} dl_epoch_report;

typedef struct dl_end_report {
    int64_t epoch, step, samples;
    dl_score test;
    const char *best; /* the figure whose best weights were kept, "valid_loss"; NULL: none */
    int64_t best_epoch;
    double best_value;
    int64_t skipped; /* steps that were skipped; 0: left out */
    double seconds;
    const char *weights; /* 32 hex digits */
} dl_end_report;

typedef struct dl_metrics dl_metrics;

/* Writes to `fd` (borrowed, as `names` and the strings in it); `path` is for messages and copied.
 * names[n_metrics]: "accuracy", ... patient: lines that cannot be written (a full disk) are told of once and
 * kept, and written before later ones; the last line, "end", is an error when it cannot be written. */
DL_NODISCARD dl_status dl_metrics_create(int fd, const char *path, const char *const *names, int n_metrics,
                                         bool patient, dl_metrics **out);
void dl_metrics_destroy(dl_metrics **metrics); /* NULL-safe */

DL_NODISCARD dl_status dl_metrics_start(dl_metrics *metrics, const dl_start_report *report);
/* What is to fail on purpose, as it was asked for (inject.h). */
DL_NODISCARD dl_status dl_metrics_inject(dl_metrics *metrics, const char *what);
DL_NODISCARD dl_status dl_metrics_resume(dl_metrics *metrics, const dl_resume_report *report);
DL_NODISCARD dl_status dl_metrics_step(dl_metrics *metrics, const dl_step_report *report);
DL_NODISCARD dl_status dl_metrics_skip(dl_metrics *metrics, const dl_skip_report *report);
DL_NODISCARD dl_status dl_metrics_epoch(dl_metrics *metrics, const dl_epoch_report *report);
DL_NODISCARD dl_status dl_metrics_end(dl_metrics *metrics, const dl_end_report *report);

#endif
