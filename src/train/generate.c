#include "train/generate.h"

#include <string.h>

enum { FIELD_X };

void dl_generate_configure(dl_config *config) {
    config->train.batch_size = 1;
    config->train.accumulate = 1;
    config->reproducible = false; /* which is for sums over samples; here is one, on one thread */
    config->parallel = (dl_parallel_config){.data = 1, .tensor = 1, .pipeline = 1};
}

dl_status dl_generate_check(const dl_session *session) {
    const dl_field_kind kind = session->train_info.field[0].kind;
    DL_RETURN_ERROR_IF(kind != DL_FIELD_TOKENS || !session->model->output.classes, DL_ERR_USAGE,
                       "the model does not predict the next token of a text: generate is for models with "
                       "input dtype tokens and the loss softmax_cross_entropy, as configs/char_lstm.yaml");
    return DL_OK;
}

/* The end of the text, as the model reads it. */
typedef struct reader {
    const dl_generation *generation;
    dl_session *session;
    dl_context context;
    int64_t window, n;       /* positions of the model's input; of them filled */
    int64_t rows;            /* of the output: one for each position, or one */
    int64_t n_scores;        /* of a row */
    int64_t n_words;         /* the first of them, which are words: a model may have more outputs */
    int32_t *x;              /* [window] */
    float *scores, *scratch; /* [n_scores] */
    int32_t before;          /* the token printed last, -1: none */
} reader;

static dl_status open_reader(const dl_generation *generation, reader *r) {
    const dl_model *model = generation->session->model;
    const dl_shape *scores = &model->value[model->output.scores].shape;
    r->generation = generation;
    r->session = generation->session;
    r->context = dl_model_context(model);
    r->window = r->session->one_position ? 1 : r->session->config->model.input.shape.value[0];
    r->rows = model->output.rows;
    r->n_scores = scores->dim[scores->n_dims - 1];
    r->n_words = generation->language->vocab.n;
    r->before = -1;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)r->window, sizeof *r->x, &r->x));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)r->n_scores, sizeof *r->scores, &r->scores));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)r->n_scores, sizeof *r->scratch, &r->scratch));
    if (r->context == DL_CONTEXT_WINDOW) {
        for (; r->n < r->window; r->n++) {
            r->x[r->n] = generation->language->padding;
        }
    }
    return dl_plan_clear_state(r->session->plan, DL_PROGRAM_EVALUATE);
}

static void close_reader(reader *r) {
    dl_free(&r->x);
    dl_free(&r->scores);
    dl_free(&r->scratch);
}

static dl_status run_model(const reader *r) {
    const void *field[DL_MAX_FIELDS] = {[FIELD_X] = r->x};
    const dl_step_block step = {.weight = 0.0};
    const dl_host_batch batch = {.field = field, .step = &step};
    return dl_execute(r->session->plan, r->session->generate, &batch);
}

/* Appends a token to the text; where a state carries it on, the model reads it now. */
static dl_status read_token(reader *r, int32_t token) {
    if (r->n == r->window) {
        memmove(r->x, r->x + 1, (size_t)(--r->n) * sizeof *r->x);
    }
    r->x[r->n++] = token;
    return r->context == DL_CONTEXT_CARRIED ? run_model(r) : DL_OK;
}

/* The probabilities of the token behind the text, into r->scores. */
static dl_status predict(reader *r) {
    const dl_plan *plan = r->session->plan;
    const dl_program *program = plan->program[r->session->generate];
    if (r->context != DL_CONTEXT_CARRIED) {
        DL_RETURN_IF_ERROR(dl_plan_clear_state(r->session->plan, DL_PROGRAM_EVALUATE));
        DL_RETURN_IF_ERROR(run_model(r));
    }
    const int64_t row = r->rows > 1 ? r->n - 1 : 0;
    const float *scores = dl_slot_address(plan, program, program->result);
    return r->session->device->backend->download(r->session->device, r->scores, scores + row * r->n_scores,
                                                 (size_t)r->n_scores * sizeof *scores, NULL);
}

static dl_status print_token(reader *r, int32_t token) {
    const dl_generation *g = r->generation;
    const char *blank = "";
    const char *text = dl_language_spell(g->language, token, r->before, &blank);
    if (blank[0] != '\0') {
        DL_RETURN_IF_ERROR(g->write(g->context, blank));
    }
    r->before = token;
    return g->write(g->context, text);
}

static dl_status read_prompt(reader *r, const dl_prompt *prompt) {
    if (prompt->n == 0 && r->n == 0) {
        return read_token(r, r->generation->language->padding);
    }
    for (int64_t i = 0; i < prompt->n; i++) {
        DL_RETURN_IF_ERROR(read_token(r, prompt->token[i]));
        DL_RETURN_IF_ERROR(print_token(r, prompt->token[i]));
    }
    return DL_OK;
}

static dl_status write_text(reader *r, const dl_prompt *prompt) {
    const dl_generation *g = r->generation;
    DL_RETURN_IF_ERROR(read_prompt(r, prompt));
    for (int64_t i = 0; i < g->n_tokens; i++) {
        int32_t token = -1;
        DL_RETURN_IF_ERROR(predict(r));
        DL_RETURN_IF_ERROR(dl_sample_token(&g->sampling, r->scores, r->n_words, i, r->scratch, &token));
        DL_RETURN_IF_ERROR(print_token(r, token));
        if (i + 1 < g->n_tokens) {
            DL_RETURN_IF_ERROR(read_token(r, token));
        }
    }
    return DL_OK;
}

dl_status dl_generate(const dl_generation *generation, const dl_prompt *prompt) {
    reader r = {0};
    dl_status status = open_reader(generation, &r);
    if (status == DL_OK) {
        status = write_text(&r, prompt);
    }
    close_reader(&r);
    return status;
}
