#define _GNU_SOURCE
#include "train/predict.h"

#include "base/clock.h"
#include "base/log.h"
#include "train/result_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a rank gives of its batch: this, then n_rows[batch], then scored[batch, rows, width]. */
typedef struct head {
    int64_t n; /* samples */
    double seconds;
} head;

typedef struct job {
    const dl_predict_options *options;
    dl_apply *apply;
    dl_result_file file; /* rank 0's */
    int64_t batch, n_samples, n_batches;
    size_t rows_at, scored_at, record_bytes; /* in a record */
    unsigned char *mine, *all;               /* a record; [ranks] records */
    double *latency;                         /* [n_batches] on rank 0 */
    dl_text lines;
} job;

static dl_status open_job(job *j) {
    const dl_predict_options *o = j->options;
    const dl_apply_options apply = {
        .session = o->session, .inputs = o->inputs, .language = o->language, .top = o->top};
    DL_RETURN_IF_ERROR(dl_apply_create(&apply, &j->apply));
    j->batch = o->session->config->train.batch_size;
    j->n_samples = dl_inputs_count(o->inputs);
    j->n_batches = (j->n_samples + j->batch - 1) / j->batch;
    const int64_t entries = j->batch * dl_apply_rows(j->apply) * dl_apply_width(j->apply);
    j->rows_at = sizeof(head);
    j->scored_at = j->rows_at + (size_t)j->batch * sizeof(int64_t);
    j->record_bytes = j->scored_at + (size_t)entries * sizeof(dl_scored);
    DL_RETURN_IF_ERROR(dl_alloc(1, j->record_bytes, &j->mine));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)o->world->size, j->record_bytes, &j->all));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)j->n_batches, sizeof *j->latency, &j->latency));
    if (o->world->rank > 0) {
        return DL_OK;
    }
    return o->path == NULL ? dl_result_file_take(o->fd, "stdout", &j->file)
                           : dl_result_file_open(o->path, "predictions", &j->file);
}

static void close_job(job *j) {
    dl_result_file_discard(&j->file);
    dl_apply_destroy(&j->apply);
    dl_free(&j->mine);
    dl_free(&j->all);
    dl_free(&j->latency);
    dl_text_free(&j->lines);
}

static void tell_unknown(const job *j) {
    const char *first = NULL;
    const int64_t n = dl_apply_unknown(j->apply, &first);
    if (n > 0 && j->options->world->rank == 0) {
        const dl_language *language = j->options->language;
        DL_WARN("%" PRId64
                " line%s of the inputs %s words that are not in the vocabulary of %s, the first %s; the "
                "model reads %s",
                n, n == 1 ? "" : "s", n == 1 ? "has" : "have", language->name, first,
                language->vocab.word[language->unknown]);
    }
}

/* This rank's batch of a round, if it has one, into its record. */
static dl_status run_batch(job *j, int64_t number) {
    head h = {.n = 0};
    const int64_t first = number * j->batch;
    if (first < j->n_samples) {
        h.n = j->n_samples - first < j->batch ? j->n_samples - first : j->batch;
        DL_RETURN_IF_ERROR(dl_apply_run(j->apply, first, h.n, (int64_t *)(void *)(j->mine + j->rows_at),
                                        (dl_scored *)(void *)(j->mine + j->scored_at), &h.seconds));
    }
    memcpy(j->mine, &h, sizeof h);
    return DL_OK;
}

/* --- rank 0 --- */

static dl_predict_line line_of(const job *j, int64_t sample, int64_t n_rows, const dl_scored *scored) {
    const dl_output *output = &j->options->session->model->output;
    const bool any_length = j->options->session->model->value[output->scores].any_length;
    dl_predict_line line = {.n_rows = n_rows,
                            .width = dl_apply_width(j->apply),
                            .scored = scored,
                            .classes = output->classes,
                            .list = any_length || dl_apply_rows(j->apply) > 1};
    line.input = dl_inputs_place(j->options->inputs, sample, &line.id);
    return line;
}

static dl_status write_batch(job *j, int64_t number, const unsigned char *record) {
    head h;
    memcpy(&h, record, sizeof h);
    if (h.n == 0) {
        return DL_OK;
    }
    const int64_t *n_rows = (const int64_t *)(const void *)(record + j->rows_at);
    const dl_scored *scored = (const dl_scored *)(const void *)(record + j->scored_at);
    const int64_t each = dl_apply_rows(j->apply) * dl_apply_width(j->apply);
    j->latency[number] = h.seconds;
    for (int64_t i = 0; i < h.n; i++) {
        const dl_predict_line line = line_of(j, number * j->batch + i, n_rows[i], scored + i * each);
        DL_RETURN_IF_ERROR(dl_predict_append(&line, j->options->format, j->options->names, &j->lines));
    }
    return DL_OK;
}

static dl_status write_round(job *j, int64_t first_batch) {
    dl_text_clear(&j->lines);
    if (first_batch == 0) {
        const dl_predict_line line = line_of(j, 0, 0, NULL);
        DL_RETURN_IF_ERROR(dl_predict_append_head(&line, j->options->format, j->options->names, &j->lines));
    }
    for (int rank = 0; rank < j->options->world->size; rank++) {
        DL_RETURN_IF_ERROR(write_batch(j, first_batch + rank, j->all + (size_t)rank * j->record_bytes));
    }
    return dl_result_file_write(&j->file, &j->lines);
}

/* --- all --- */

static dl_status run_rounds(job *j) {
    dl_comm *world = j->options->world;
    for (int64_t first = 0; first < j->n_batches; first += world->size) {
        DL_RETURN_IF_ERROR(dl_comm_agree(world, run_batch(j, first + world->rank), NULL));
        DL_RETURN_IF_ERROR(world->functions->all_gather(world, j->mine, j->record_bytes, j->all));
        DL_RETURN_IF_ERROR(dl_comm_agree(world, world->rank == 0 ? write_round(j, first) : DL_OK, NULL));
    }
    return dl_comm_agree(world, dl_result_file_finish(&j->file), NULL);
}

static int by_size(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The smallest that at least this share of the values does not exceed. */
static double quantile(const double *sorted, int64_t n, int percent) {
    return sorted[(n * percent + 99) / 100 - 1];
}

static void report_on(job *j, double seconds, dl_predict_report *out) {
    qsort(j->latency, (size_t)j->n_batches, sizeof *j->latency, by_size);
    *out = (dl_predict_report){.n_samples = j->n_samples,
                               .n_batches = j->n_batches,
                               .seconds = seconds,
                               .p50 = quantile(j->latency, j->n_batches, 50),
                               .p99 = quantile(j->latency, j->n_batches, 99),
                               .n_bytes = dl_apply_bytes(j->apply) + dl_inputs_bytes(j->options->inputs) +
                                          j->record_bytes * (size_t)(j->options->world->size + 1)};
}

dl_status dl_predict(const dl_predict_options *options, dl_predict_report *report) {
    job j = {.options = options, .file = DL_RESULT_FILE_NONE};
    dl_status status = dl_comm_agree(options->world, open_job(&j), NULL);
    const double before = dl_clock_seconds();
    if (status == DL_OK) {
        tell_unknown(&j);
        status = run_rounds(&j);
    }
    if (status == DL_OK) {
        report_on(&j, dl_clock_seconds() - before, report);
    }
    close_job(&j);
    return status;
}
