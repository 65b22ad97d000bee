#include "train/apply.h"

#include "base/clock.h"
#include "train/views.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FIELD_X = 0 };

struct dl_apply {
    dl_apply_options options;
    dl_session *session;
    const dl_program *program;
    int64_t batch;               /* samples of the program */
    int64_t rows, width;         /* of a result */
    int64_t n_scores, n_ordered; /* of a row; the first of them, which are ordered: those that have names */
    int lengths;                 /* field of the samples' lengths, -1 */
    int64_t longest;             /* steps of a sample in x, 1: dense */
    size_t x_bytes, score_bytes; /* of a batch */
    unsigned char *x;
    int32_t *length;
    float *scores;
    /* Text: sample i is token[begin[i] .. begin[i + 1]]. */
    dl_context context;
    int64_t window;
    int64_t *position; /* [batch] in this window, of the token from which the wanted one is predicted; -1 */
    int64_t *begin;
    int32_t *token;
    int64_t token_capacity;
    int64_t n_unknown; /* lines with unknown words */
    char unknown[512]; /* which ones, of the first */
};

void dl_apply_configure(dl_config *config, int64_t batch_size) {
    config->train.batch_size = batch_size;
    config->train.accumulate = 1;
    config->reproducible = false; /* which is for sums over samples; here are none */
    config->parallel = (dl_parallel_config){.data = 1, .tensor = 1, .pipeline = 1};
}

/* --- text --- */

static dl_status add_tokens(dl_apply *a, int64_t i, const int32_t *token, int64_t n) {
    const int64_t begin = a->begin[i];
    DL_RETURN_IF_ERROR(dl_grow(&a->token, &a->token_capacity, begin + n + 1, sizeof *a->token));
    if (n == 0) { /* the beginning of a line */
        a->token[begin] = a->options.language->padding;
    } else {
        memcpy(a->token + begin, token, (size_t)n * sizeof *token);
    }
    a->begin[i + 1] = begin + (n == 0 ? 1 : n);
    return DL_OK;
}

static dl_status add_line(dl_apply *a, int64_t i, const dl_input_text *text) {
    char name[512];
    int64_t number = 0;
    dl_prompt prompt;
    (void)snprintf(name, sizeof name, "%.400s:%" PRId64, dl_inputs_place(a->options.inputs, i, &number),
                   text->line_number);
    dl_status status = dl_prompt_read_named(a->options.language, name, text->line, text->n_bytes, &prompt);
    if (status == DL_OK) {
        if (prompt.unknown.size > 0 && a->n_unknown++ == 0) {
            (void)snprintf(a->unknown, sizeof a->unknown, "%.300s: %.200s", name, prompt.unknown.data);
        }
        status = add_tokens(a, i, prompt.token, prompt.n);
    } else if (status == DL_ERR_USAGE) { /* of a prompt; a file's line is data */
        dl_error error;
        dl_error_take(&error);
        error.code = DL_ERR_DATA;
        status = dl_error_restore(&error);
    }
    dl_prompt_free(&prompt);
    return status;
}

static dl_status open_text(dl_apply *a) {
    const dl_inputs *inputs = a->options.inputs;
    const int64_t n = dl_inputs_count(inputs), n_words = a->options.language->vocab.n;
    DL_RETURN_ERROR_IF(dl_inputs_largest_token(inputs) >= n_words, DL_ERR_USAGE,
                       "the inputs hold token %" PRId64 ", but the vocabulary of %s has %" PRId64
                       " words; divide the text with the vocabulary that the model was trained with",
                       dl_inputs_largest_token(inputs), a->options.language->name, n_words);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n + 1, sizeof *a->begin, &a->begin));
    for (int64_t i = 0; i < n; i++) {
        const dl_input_text text = dl_inputs_text_at(inputs, i);
        DL_RETURN_IF_ERROR(text.token != NULL ? add_tokens(a, i, text.token, text.n_tokens)
                                              : add_line(a, i, &text));
    }
    a->context = dl_model_context(a->session->model);
    a->window = a->session->config->model.input.shape.value[0];
    return DL_OK;
}

/* --- samples --- */

static dl_status open_samples(dl_apply *a) {
    const dl_session *session = a->session;
    const dl_field *x = &session->train_info.field[FIELD_X];
    DL_RETURN_ERROR_IF(
        session->data_unknown, DL_ERR_USAGE,
        "there is no data set in '%s', which says whether samples are pixels (uint8) or numbers (float32); "
        "data.path=DIR names the one that the model was trained on",
        session->config->data.path);
    a->longest = session->model->lengths >= 0 ? a->program->length : 1;
    a->lengths =
        session->model->lengths >= 0 ? dl_view_field(&session->view_info[DL_SPLIT_TRAIN], "lengths") : -1;
    return dl_inputs_fit(a->options.inputs, x);
}

static dl_status take_memory(dl_apply *a) {
    const dl_session *session = a->session;
    const size_t each = a->options.language != NULL ? (size_t)a->window * sizeof(int32_t)
                                                    : session->train_info.field[FIELD_X].sample_bytes;
    a->x_bytes = (size_t)(a->batch * a->longest) * each;
    a->score_bytes = a->options.language != NULL ? (size_t)a->n_scores * sizeof *a->scores
                                                 : a->program->slot[a->program->result].n_bytes;
    DL_RETURN_IF_ERROR(dl_alloc(a->x_bytes, 1, &a->x));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)a->batch, sizeof *a->length, &a->length));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)a->batch, sizeof *a->position, &a->position));
    return dl_alloc(a->score_bytes, 1, &a->scores);
}

static dl_status check_top(const dl_apply *a) {
    const dl_model *model = a->session->model;
    DL_RETURN_ERROR_IF(!model->output.classes && a->options.top > 1, DL_ERR_USAGE,
                       "--top is for models of classes; this one gives %" PRId64 " number%s", a->n_scores,
                       a->n_scores == 1 ? "" : "s");
    DL_RETURN_ERROR_IF(model->output.classes && a->options.top > a->n_ordered, DL_ERR_USAGE,
                       "--top %" PRId64 " is more than the %" PRId64 " classes of the model", a->options.top,
                       a->n_ordered);
    return DL_OK;
}

static dl_status open_all(dl_apply *a) {
    const dl_session *session = a->session;
    const dl_model *model = session->model;
    const dl_value *scores = &model->value[model->output.scores];
    const dl_language *language = a->options.language;
    a->program = session->plan->program[session->apply];
    a->batch = session->config->train.batch_size;
    a->n_scores = scores->shape.dim[scores->shape.n_dims - 1];
    a->n_ordered = language != NULL && language->vocab.n < a->n_scores ? language->vocab.n : a->n_scores;
    a->longest = 1;
    a->lengths = -1;
    DL_RETURN_IF_ERROR(check_top(a));
    DL_RETURN_IF_ERROR(language != NULL ? open_text(a) : open_samples(a));
    a->width = model->output.classes ? a->options.top : a->n_scores;
    a->rows = language != NULL ? 1 : scores->any_length ? a->longest : model->output.rows;
    return take_memory(a);
}

void dl_apply_destroy(dl_apply **apply) {
    if (*apply == NULL) {
        return;
    }
    dl_free(&(*apply)->x);
    dl_free(&(*apply)->length);
    dl_free(&(*apply)->scores);
    dl_free(&(*apply)->position);
    dl_free(&(*apply)->begin);
    dl_free(&(*apply)->token);
    dl_free(apply);
}

int64_t dl_apply_width(const dl_apply *a) {
    return a->width;
}

int64_t dl_apply_rows(const dl_apply *a) {
    return a->rows;
}

int64_t dl_apply_unknown(const dl_apply *a, const char **first) {
    *first = a->unknown;
    return a->n_unknown;
}

size_t dl_apply_bytes(const dl_apply *a) {
    return a->x_bytes + a->score_bytes + (size_t)a->batch * sizeof *a->length +
           (size_t)a->token_capacity * sizeof *a->token +
           (a->begin != NULL ? (size_t)(dl_inputs_count(a->options.inputs) + 1) * sizeof *a->begin : 0);
}

/* --- what is said of a row --- */

/* The largest first, of equal ones the first: what the metrics have it to be. */
static void order_classes(const float *scores, int64_t n, int64_t top, dl_scored *out) {
    int64_t n_out = 0;
    for (int64_t k = 0; k < n; k++) {
        if (isnan(scores[k])) {
            for (int64_t i = 0; i < top; i++) {
                out[i] = (dl_scored){.number = -1, .score = NAN};
            }
            return;
        }
        if (n_out == top && !(scores[k] > out[top - 1].score)) {
            continue;
        }
        int64_t at = n_out < top ? n_out++ : top - 1;
        for (; at > 0 && scores[k] > out[at - 1].score; at--) {
            out[at] = out[at - 1];
        }
        out[at] = (dl_scored){.number = (int32_t)k, .score = scores[k]};
    }
}

static void take_row(const dl_apply *a, const float *scores, dl_scored *out) {
    if (a->session->model->output.classes) {
        order_classes(scores, a->n_ordered, a->width, out);
        return;
    }
    for (int64_t k = 0; k < a->width; k++) {
        out[k] = (dl_scored){.number = (int32_t)k, .score = scores[k]};
    }
}

/* --- running --- */

static dl_status execute(dl_apply *a) {
    const void *field[DL_MAX_FIELDS] = {[FIELD_X] = a->x};
    const dl_step_block step = {.weight = 0};
    if (a->lengths >= 0) {
        field[a->lengths] = a->length;
    }
    const dl_host_batch batch = {.field = field, .step = &step};
    return dl_execute(a->session->plan, a->session->apply, &batch);
}

dl_status dl_apply_create(const dl_apply_options *options, dl_apply **out) {
    dl_apply *a = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *a, &a));
    *out = a;
    a->options = *options;
    a->session = options->session;
    DL_RETURN_IF_ERROR(open_all(a));
    for (int64_t i = 0; i < a->batch; i++) {
        a->length[i] = 1;
    }
    return execute(a); /* so that the first batch finds all memory touched */
}

/* Scores from element `first` on, into a->scores. */
static dl_status fetch(dl_apply *a, int64_t first, size_t n_bytes) {
    const float *from = dl_slot_address(a->session->plan, a->program, a->program->result);
    return a->session->device->backend->download(a->session->device, a->scores, from + first, n_bytes, NULL);
}

static dl_status fill_samples(dl_apply *a, int64_t first, int64_t n) {
    const size_t each = a->x_bytes / (size_t)a->batch;
    if (a->longest > 1 || n < a->batch) { /* what is no sample's is zero */
        memset(a->x, 0, a->x_bytes);
    }
    for (int64_t i = 0; i < a->batch; i++) {
        a->length[i] = i < n ? (int32_t)dl_inputs_length(a->options.inputs, first + i) : 1;
        if (i < n) {
            DL_RETURN_IF_ERROR(dl_inputs_read(a->options.inputs, first + i, a->x + (size_t)i * each));
        }
    }
    return DL_OK;
}

static dl_status run_samples(dl_apply *a, int64_t first, int64_t n, int64_t *n_rows, dl_scored *scored,
                             double *seconds) {
    const bool any_length = a->session->model->value[a->session->model->output.scores].any_length;
    DL_RETURN_IF_ERROR(fill_samples(a, first, n));
    const double before = dl_clock_seconds();
    DL_RETURN_IF_ERROR(execute(a));
    DL_RETURN_IF_ERROR(fetch(a, 0, a->score_bytes));
    *seconds = dl_clock_seconds() - before;
    for (int64_t i = 0; i < n; i++) {
        n_rows[i] = any_length ? a->length[i] : a->rows;
        for (int64_t row = 0; row < n_rows[i]; row++) {
            take_row(a, a->scores + (i * a->rows + row) * a->n_scores,
                     scored + (i * a->rows + row) * a->width);
        }
    }
    return DL_OK;
}

/* Window `number` of sample i into its row of x. Returns the position that what follows the sample is
 * predicted from, -1: the sample's end is in another window. */
static int64_t fill_window(const dl_apply *a, int64_t i, int64_t number, int32_t *row) {
    const int32_t *text = a->token + a->begin[i];
    const int64_t length = a->begin[i + 1] - a->begin[i], window = a->window;
    int64_t n = length < window ? length : window, from = length - n, pad = 0;
    if (a->context == DL_CONTEXT_WINDOW) { /* short ones end where windows of training end */
        pad = window - n;
    } else if (a->context == DL_CONTEXT_CARRIED) {
        from = number * window < length ? number * window : length;
        n = length - from < window ? length - from : window;
    }
    for (int64_t p = 0; p < pad; p++) {
        row[p] = a->options.language->padding;
    }
    memcpy(row + pad, text + from, (size_t)n * sizeof *row);
    memset(row + pad + n, 0, (size_t)(window - pad - n) * sizeof *row);
    if (n == 0 || (a->context == DL_CONTEXT_CARRIED && from + n < length)) {
        return -1;
    }
    return a->session->model->output.rows > 1 ? pad + n - 1 : 0;
}

/* Windows that the samples of a batch take. */
static int64_t count_windows(const dl_apply *a, int64_t first, int64_t n) {
    int64_t most = 1;
    for (int64_t i = 0; i < n && a->context == DL_CONTEXT_CARRIED; i++) {
        const int64_t length = a->begin[first + i + 1] - a->begin[first + i];
        const int64_t windows = (length + a->window - 1) / a->window;
        most = windows > most ? windows : most;
    }
    return most;
}

/* The token behind each text. What windows carry begins anew with the batch. */
static dl_status run_text(dl_apply *a, int64_t first, int64_t n, int64_t *n_rows, dl_scored *scored,
                          double *seconds) {
    const int64_t n_windows = count_windows(a, first, n), rows = a->session->model->output.rows;
    int32_t *x = (int32_t *)(void *)a->x;
    *seconds = 0;
    DL_RETURN_IF_ERROR(dl_plan_clear_state(a->session->plan, DL_PROGRAM_EVALUATE));
    for (int64_t window = 0; window < n_windows; window++) {
        memset(a->x, 0, a->x_bytes);
        for (int64_t i = 0; i < n; i++) {
            a->position[i] = fill_window(a, first + i, window, x + i * a->window);
        }
        const double before = dl_clock_seconds();
        DL_RETURN_IF_ERROR(execute(a));
        for (int64_t i = 0; i < n; i++) {
            if (a->position[i] >= 0) {
                DL_RETURN_IF_ERROR(fetch(a, (i * rows + a->position[i]) * a->n_scores, a->score_bytes));
                take_row(a, a->scores, scored + i * a->width);
                n_rows[i] = 1;
            }
        }
        *seconds += dl_clock_seconds() - before;
    }
    return DL_OK;
}

dl_status dl_apply_run(dl_apply *a, int64_t first, int64_t n, int64_t *n_rows, dl_scored *scored,
                       double *seconds) {
    return a->options.language != NULL ? run_text(a, first, n, n_rows, scored, seconds)
                                       : run_samples(a, first, n, n_rows, scored, seconds);
}
