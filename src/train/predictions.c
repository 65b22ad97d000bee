#define _GNU_SOURCE
#include "train/predictions.h"

#include "base/text.h"
#include "train/result_file.h"

#include <math.h>
#include <string.h>

/* What a sample's part of the buffers begins with; its targets follow, then its scores, row by row. */
typedef struct head {
    int64_t id, n_rows;
} head;

struct dl_predictions {
    dl_session *session;
    dl_result_file file; /* rank 0's */
    bool classes;
    int64_t n_rows, n_scores;         /* of a sample: rows (the longest's), scores of a row */
    bool any_length;                  /* samples have different numbers of rows */
    size_t target_bytes, score_bytes; /* of a row */
    size_t sample_bytes;              /* in the buffers: id, number of rows, targets, scores */
    int64_t max_samples;              /* of a rank in a batch */
    unsigned char *mine, *all;        /* [max_samples], [ranks][max_samples] */
    dl_text line;
};

/* The ranks that share the samples; where others share layers with them, those have the same samples. */
static dl_comm *data_axis(const dl_predictions *p) {
    return p->session->grid->axis[DL_AXIS_DATA].comm;
}

static dl_range share_of(const dl_predictions *p, int64_t global_samples, int rank) {
    const dl_plan_options *options = &p->session->plan->options;
    return dl_share_samples(global_samples, options->n_ranks, rank, 1, 0, options->reproducible);
}

static void measure(dl_predictions *p) {
    const dl_model *model = p->session->model;
    const dl_shape *scores = &model->value[model->output.scores].shape;
    const dl_value *targets = &model->value[model->output.labels];
    p->classes = model->output.classes;
    p->n_scores = scores->dim[scores->n_dims - 1];
    p->n_rows = dl_shape_elements(scores) / p->n_scores;
    p->any_length = model->value[model->output.scores].any_length;
    p->score_bytes = (size_t)p->n_scores * sizeof(float);
    p->target_bytes =
        (size_t)(dl_shape_elements(&targets->shape) / p->n_rows) * dl_dtype_bytes(targets->dtype);
    p->sample_bytes = sizeof(head) + (size_t)p->n_rows * (p->target_bytes + p->score_bytes);
    const int64_t batch = p->session->plan->options.batch_size;
    for (int64_t n = batch; n > 0 && n > batch - DL_PIECES * 2;
         n--) { /* shares of shorter batches may be larger */
        for (int rank = 0; rank < p->session->plan->options.n_ranks; rank++) {
            const dl_range share = share_of(p, n, rank);
            p->max_samples =
                share.end - share.begin > p->max_samples ? share.end - share.begin : p->max_samples;
        }
    }
}

static dl_status begin(dl_predictions *p, const char *path) {
    DL_RETURN_IF_ERROR(dl_alloc((size_t)p->max_samples, p->sample_bytes, &p->mine));
    DL_RETURN_IF_ERROR(
        dl_alloc((size_t)p->max_samples * (size_t)data_axis(p)->size, p->sample_bytes, &p->all));
    return p->session->world->rank == 0 ? dl_result_file_open(path, "predictions", &p->file) : DL_OK;
}

dl_status dl_predictions_create(dl_session *session, const char *path, dl_predictions **out) {
    dl_predictions *p = NULL;
    *out = NULL;
    dl_status status = dl_alloc(1, sizeof *p, &p);
    if (status == DL_OK) {
        p->session = session;
        p->file = DL_RESULT_FILE_NONE;
        measure(p);
        status = begin(p, path);
    }
    status = dl_comm_agree(session->world, status, NULL);
    if (status != DL_OK) {
        dl_predictions_destroy(&p);
        return status;
    }
    *out = p;
    return DL_OK;
}

/* --- lines --- */

/* As a double: nine digits would do for a reader of single precision only. */
static dl_status append_number(dl_text *line, float value) {
    return isfinite(value) ? dl_text_append(line, "%.17g", (double)value) : dl_text_append(line, "null");
}

static dl_status append_numbers(dl_text *line, const float *values, int64_t n) {
    DL_RETURN_IF_ERROR(dl_text_append(line, "["));
    for (int64_t i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(line, i > 0 ? "," : ""));
        DL_RETURN_IF_ERROR(append_number(line, values[i]));
    }
    return dl_text_append(line, "]");
}

/* "KEY": and one value for each row, in a list where a sample has several. */
static dl_status append_rows(dl_predictions *p, const char *key, int64_t n_rows, const void *values,
                             dl_status (*append)(const dl_predictions *p, dl_text *line, const void *values,
                                                 int64_t row)) {
    const bool list = p->n_rows > 1 || p->any_length;
    DL_RETURN_IF_ERROR(dl_text_append(&p->line, ",\"%s\":%s", key, list ? "[" : ""));
    for (int64_t row = 0; row < n_rows; row++) {
        DL_RETURN_IF_ERROR(dl_text_append(&p->line, row > 0 ? "," : ""));
        DL_RETURN_IF_ERROR(append(p, &p->line, values, row));
    }
    return dl_text_append(&p->line, list ? "]" : "");
}

static dl_status append_label(const dl_predictions *p, dl_text *line, const void *values, int64_t row) {
    (void)p;
    int32_t label = 0;
    memcpy(&label, (const char *)values + (size_t)row * sizeof label, sizeof label);
    return dl_text_append(line, "%d", (int)label);
}

static dl_status append_scores(const dl_predictions *p, dl_text *line, const void *values, int64_t row) {
    return append_numbers(line, (const float *)values + row * p->n_scores, p->n_scores);
}

/* The first of the largest, as the metric has it; a row with NaN says nothing. */
static dl_status append_prediction(const dl_predictions *p, dl_text *line, const void *values, int64_t row) {
    const float *scores = (const float *)values + row * p->n_scores;
    int64_t best = 0;
    for (int64_t k = 0; k < p->n_scores; k++) {
        if (isnan(scores[k])) {
            return dl_text_append(line, "null");
        }
        best = scores[k] > scores[best] ? k : best;
    }
    return dl_text_append(line, "%lld", (long long)best);
}

static dl_status append_sample(dl_predictions *p, const unsigned char *sample, float *scores,
                               float *targets) {
    head first;
    memcpy(&first, sample, sizeof first);
    const size_t rows = (size_t)first.n_rows;
    memcpy(targets, sample + sizeof first, rows * p->target_bytes);
    memcpy(scores, sample + sizeof first + rows * p->target_bytes, rows * p->score_bytes);
    DL_RETURN_IF_ERROR(dl_text_append(&p->line, "{\"id\":%lld", (long long)first.id));
    if (p->classes) {
        DL_RETURN_IF_ERROR(append_rows(p, "label", first.n_rows, targets, append_label));
        DL_RETURN_IF_ERROR(append_rows(p, "prediction", first.n_rows, scores, append_prediction));
        DL_RETURN_IF_ERROR(append_rows(p, "probabilities", first.n_rows, scores, append_scores));
    } else {
        DL_RETURN_IF_ERROR(append_rows(p, "target", first.n_rows, targets, append_scores));
        DL_RETURN_IF_ERROR(append_rows(p, "output", first.n_rows, scores, append_scores));
    }
    return dl_text_append(&p->line, "}\n");
}

/* The gathered samples, rank by rank: ranks take the samples of a batch in their order. */
static dl_status write_batch(dl_predictions *p, int64_t global_samples) {
    float *scores = NULL, *targets = NULL;
    dl_status status = DL_OK;
    dl_text_clear(&p->line);
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)p->n_rows, p->score_bytes, &scores), end);
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)p->n_rows, p->target_bytes, &targets), end);
    for (int rank = 0; rank < data_axis(p)->size; rank++) {
        const dl_range share = share_of(p, global_samples, rank);
        const unsigned char *theirs = p->all + (size_t)rank * (size_t)p->max_samples * p->sample_bytes;
        for (int64_t i = 0; i < share.end - share.begin; i++) {
            DL_GOTO_IF_ERROR(status, append_sample(p, theirs + (size_t)i * p->sample_bytes, scores, targets),
                             end);
        }
    }
    DL_GOTO_IF_ERROR(status, dl_result_file_write(&p->file, &p->line), end);
end:
    dl_free(&scores);
    dl_free(&targets);
    return status;
}

/* --- batches --- */

/* Sample i of the batch into this rank's buffer: the rows it has, of those that the batch has for each. */
static void take_sample(dl_predictions *p, const dl_batch *batch, int64_t i, const float *scores) {
    const int64_t padded = p->any_length ? batch->global.length : p->n_rows;
    const dl_view_info *info = &p->session->view_info[DL_SPLIT_TRAIN];
    const int lengths = p->any_length ? dl_view_field(info, "lengths") : -1;
    const head first = {.id = batch->ids[i],
                        .n_rows = lengths >= 0 ? ((const int32_t *)batch->field[lengths])[i] : p->n_rows};
    const unsigned char *targets = batch->field[1]; /* y */
    unsigned char *sample = p->mine + (size_t)i * p->sample_bytes;
    const size_t rows = (size_t)first.n_rows;
    memcpy(sample, &first, sizeof first);
    memcpy(sample + sizeof first, targets + (size_t)(i * padded) * p->target_bytes, rows * p->target_bytes);
    memcpy(sample + sizeof first + rows * p->target_bytes, scores + i * padded * p->n_scores,
           rows * p->score_bytes);
}

/* This rank's samples into its buffer. */
static dl_status collect(dl_predictions *p, int number, const dl_batch *batch) {
    const dl_session *session = p->session;
    const dl_program *program = session->plan->program[number];
    float *scores = NULL;
    DL_RETURN_ERROR_IF(batch->n_samples > p->max_samples, DL_ERR_INTERNAL,
                       "%lld samples of a rank, room for %lld", (long long)batch->n_samples,
                       (long long)p->max_samples);
    if (batch->n_samples == 0) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(program->result < 0, DL_ERR_INTERNAL, "the program keeps no results");
    const size_t n_bytes = program->slot[program->result].n_bytes;
    DL_RETURN_IF_ERROR(dl_alloc(1, n_bytes, &scores));
    const dl_status status = session->device->backend->download(
        session->device, scores, dl_slot_address(session->plan, program, program->result), n_bytes, NULL);
    for (int64_t i = 0; i < batch->n_samples && status == DL_OK; i++) {
        take_sample(p, batch, i, scores);
    }
    dl_free(&scores);
    return status;
}

dl_status dl_predictions_add(dl_predictions *p, int program, const dl_batch *batch, int64_t global_samples) {
    dl_comm *world = p->session->world, *data = data_axis(p);
    DL_RETURN_IF_ERROR(dl_comm_agree(world, collect(p, program, batch), NULL));
    DL_RETURN_IF_ERROR(
        data->functions->all_gather(data, p->mine, (size_t)p->max_samples * p->sample_bytes, p->all));
    return dl_comm_agree(world, world->rank == 0 ? write_batch(p, global_samples) : DL_OK, NULL);
}

dl_status dl_predictions_finish(dl_predictions *p) {
    return dl_comm_agree(p->session->world, dl_result_file_finish(&p->file), NULL);
}

void dl_predictions_destroy(dl_predictions **predictions) {
    if (*predictions == NULL) {
        return;
    }
    dl_predictions *p = *predictions;
    dl_result_file_discard(&p->file);
    dl_free(&p->mine);
    dl_free(&p->all);
    dl_text_free(&p->line);
    dl_free(predictions);
}
