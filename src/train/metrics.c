#define _GNU_SOURCE
#include "train/metrics.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT_VERSION = 1, LINE_BYTES = 4096, KEY_BYTES = 64, MOST_KEPT_BYTES = 1 << 26 };

struct dl_metrics {
    int fd;
    char path[PATH_MAX];
    const char *const *names;
    int n_names;
    dl_text line;
    bool patient;
    dl_text kept;  /* what could not be written yet: whole lines, but for the first */
    size_t n_gone; /* bytes of it that are in the file */
    bool told;
};

/* All that is kept, or as much of it as there is room for: a line may be cut, and goes on where it was. */
static dl_status write_kept(dl_metrics *metrics) {
    dl_text *kept = &metrics->kept;
    size_t n = 0;
    const dl_status status = dl_write_some(metrics->fd, metrics->path, kept->data + metrics->n_gone,
                                           kept->size - metrics->n_gone, &n);
    metrics->n_gone += n;
    if (status == DL_OK) {
        kept->size = metrics->n_gone = 0;
    }
    return status;
}

dl_status dl_metrics_create(int fd, const char *path, const char *const *names, int n_metrics, bool patient,
                            dl_metrics **out) {
    *out = NULL;
    DL_RETURN_ERROR_IF(n_metrics < 0 || n_metrics > DL_MAX_METRICS, DL_ERR_INTERNAL,
                       "%d metrics, at most %d fit", n_metrics, DL_MAX_METRICS);
    DL_RETURN_ERROR_IF(strlen(path) >= PATH_MAX, DL_ERR_USAGE, "the path %.60s... is too long", path);
    dl_metrics *metrics = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *metrics, &metrics));
    dl_status status = dl_grow(&metrics->line.data, &metrics->line.capacity, LINE_BYTES, 1);
    if (status == DL_OK) {
        status = dl_grow(&metrics->kept.data, &metrics->kept.capacity, LINE_BYTES, 1);
    }
    if (status != DL_OK) {
        dl_text_free(&metrics->line);
        dl_free(&metrics);
        return status;
    }
    metrics->fd = fd;
    metrics->patient = patient;
    (void)snprintf(metrics->path, sizeof metrics->path, "%s", path);
    metrics->names = names;
    metrics->n_names = n_metrics;
    *out = metrics;
    return DL_OK;
}

void dl_metrics_destroy(dl_metrics **metrics) {
    if (*metrics != NULL) {
        (void)write_kept(*metrics); /* of a run that was stopped; it was told */
        dl_text_free(&(*metrics)->line);
        dl_text_free(&(*metrics)->kept);
        dl_free(metrics);
    }
}

static dl_json begin(dl_metrics *metrics, const char *kind) {
    dl_json json = dl_json_begin(&metrics->line);
    dl_json_int(&json, "v", FORMAT_VERSION);
    dl_json_string(&json, "kind", kind);
    dl_json_fixed(&json, "t", dl_clock_unix(), 3);
    return json;
}

static dl_status be_patient(dl_metrics *metrics) {
    if (metrics->kept.size - metrics->n_gone > MOST_KEPT_BYTES) {
        return DL_ERR_IO;
    }
    if (!metrics->told) {
        DL_WARN("%s; lines are kept in memory until there is room", dl_error_last()->message);
    }
    metrics->told = true;
    return DL_OK;
}

static dl_status end(dl_metrics *metrics, dl_json *json) {
    DL_RETURN_IF_ERROR(dl_json_end(json));
    DL_RETURN_IF_ERROR(dl_text_append_bytes(&metrics->kept, metrics->line.data, metrics->line.size));
    const dl_status status = write_kept(metrics);
    return status == DL_ERR_IO && metrics->patient ? be_patient(metrics) : status;
}

/* "PREFIXloss", "PREFIXaccuracy", ...: what was measured is written so that it reads back exactly. */
static void put_score(const dl_metrics *metrics, dl_json *json, const char *prefix, const dl_score *score) {
    if (!score->present) {
        return;
    }
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%sloss", prefix);
    dl_json_double(json, key, score->loss);
    for (int i = 0; i < metrics->n_names; i++) {
        (void)snprintf(key, sizeof key, "%s%s", prefix, metrics->names[i]);
        dl_json_double(json, key, score->metric[i]);
    }
}

static void put_position(dl_json *json, int64_t epoch, int64_t step, int64_t samples) {
    dl_json_int(json, "epoch", epoch);
    dl_json_int(json, "step", step);
    dl_json_int(json, "samples", samples);
}

static void put_speed(dl_json *json, double samples_per_s, double data_wait, double seconds) {
    dl_json_fixed(json, "samples_per_s", samples_per_s, 1);
    dl_json_fixed(json, "data_wait", data_wait, 4);
    dl_json_fixed(json, "seconds", seconds, 3);
}

dl_status dl_metrics_start(dl_metrics *metrics, const dl_start_report *report) {
    dl_json json = begin(metrics, "start");
    dl_json_string(&json, "version", DLTRAIN_VERSION);
    dl_json_int(&json, "ranks", report->ranks);
    dl_json_int(&json, "threads", report->threads);
    dl_json_string(&json, "backend", report->backend);
    dl_json_int(&json, "parameters", report->parameters);
    dl_json_string(&json, "config_digest", report->config_digest);
    DL_RETURN_IF_ERROR(end(metrics, &json));
    return DL_OK;
}

dl_status dl_metrics_inject(dl_metrics *metrics, const char *what) {
    dl_json json = begin(metrics, "inject");
    dl_json_string(&json, "what", what);
    DL_RETURN_IF_ERROR(end(metrics, &json));
    return DL_OK;
}

dl_status dl_metrics_resume(dl_metrics *metrics, const dl_resume_report *report) {
    dl_json json = begin(metrics, "resume");
    put_position(&json, report->epoch, report->step, report->samples);
    dl_json_int(&json, "ranks_before", report->ranks_before);
    dl_json_int(&json, "ranks", report->ranks);
    DL_RETURN_IF_ERROR(end(metrics, &json));
    return DL_OK;
}

dl_status dl_metrics_step(dl_metrics *metrics, const dl_step_report *report) {
    dl_json json = begin(metrics, "step");
    put_position(&json, report->epoch, report->step, report->samples);
    put_score(metrics, &json, "", &report->train);
    dl_json_double(&json, "lr", report->learning_rate);
    if (report->gradient_norm != NULL) {
        dl_json_double(&json, "grad_norm", *report->gradient_norm);
    }
    if (report->loss_scale != NULL) {
        dl_json_double(&json, "loss_scale", *report->loss_scale);
    }
    if (report->skipped) {
        dl_json_bool(&json, "skipped", true);
    }
    dl_json_fixed(&json, "step_ms", report->step_ms, 3);
    put_speed(&json, report->samples_per_s, report->data_wait, report->seconds);
    DL_RETURN_IF_ERROR(end(metrics, &json));
    return DL_OK;
}

dl_status dl_metrics_skip(dl_metrics *metrics, const dl_skip_report *report) {
    dl_json json = begin(metrics, "skip");
    put_position(&json, report->epoch, report->step, report->samples);
    dl_json_int(&json, "in_row", report->in_row);
    dl_json_string(&json, "where", report->where);
    DL_RETURN_IF_ERROR(end(metrics, &json));
    return DL_OK;
}

dl_status dl_metrics_epoch(dl_metrics *metrics, const dl_epoch_report *report) {
    dl_json json = begin(metrics, "epoch");
    put_position(&json, report->epoch, report->step, report->samples);
    put_score(metrics, &json, "", &report->train);
    put_score(metrics, &json, "valid_", &report->valid);
    put_speed(&json, report->samples_per_s, report->data_wait, report->seconds);
    DL_RETURN_IF_ERROR(end(metrics, &json));
    return DL_OK;
}

dl_status dl_metrics_end(dl_metrics *metrics, const dl_end_report *report) {
    metrics->patient = false;
    dl_json json = begin(metrics, "end");
    put_position(&json, report->epoch, report->step, report->samples);
    put_score(metrics, &json, "test_", &report->test);
    if (report->best != NULL) {
        char key[KEY_BYTES];
        (void)snprintf(key, sizeof key, "best_%s", report->best);
        dl_json_int(&json, "best_epoch", report->best_epoch);
        dl_json_double(&json, key, report->best_value);
    }
    if (report->skipped > 0) {
        dl_json_int(&json, "skipped", report->skipped);
    }
    dl_json_fixed(&json, "seconds", report->seconds, 3);
    if (report->weights != NULL) {
        dl_json_string(&json, "weights", report->weights);
    }
    DL_RETURN_IF_ERROR(end(metrics, &json));
    return DL_OK;
}
