/* dltrain eval: loss and metrics of a trained model. */
#define _GNU_SOURCE
#include "base/text.h"
#include "launcher/model_source.h"
#include "launcher/setup.h"
#include "train/evaluate.h"
#include "train/result_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the options ask for. */
typedef struct request {
    dl_model_source source;
    const char *predictions; /* NULL: none are asked for */
    dl_split split;
    bool json;
} request;

static dl_status read_request(const dl_arguments *arguments, request *out) {
    const char *split = dl_arguments_flag(arguments, "split");
    out->split = DL_SPLIT_TEST;
    if (split != NULL && strcmp(split, "valid") == 0) {
        out->split = DL_SPLIT_VALID;
    } else {
        DL_RETURN_ERROR_IF(split != NULL && strcmp(split, "test") != 0, DL_ERR_USAGE,
                           "--split is '%s'; it must be valid or test", split);
    }
    out->predictions = dl_arguments_flag(arguments, "predictions");
    out->json = dl_arguments_flag(arguments, "json") != NULL;
    return DL_OK;
}

/* What is no number is null, as in metrics.jsonl. */
static void print_figure(const char *split, const char *name, double value) {
    (void)printf(",\"%s_%s\":", split, name);
    (void)(isfinite(value) ? printf("%.17g", value) : printf("null"));
}

/* One JSON object with the names of metrics.jsonl: test_loss, test_accuracy. */
static void print_json(const dl_session *session, const request *r, const dl_score *score) {
    const char *split = dl_split_name(r->split);
    (void)printf("{\"split\":\"%s\",\"samples\":%lld", split, (long long)session->split[r->split].n);
    print_figure(split, "loss", score->loss);
    for (int i = 0; i < session->model->output.n_metrics; i++) {
        print_figure(split, session->model->output.metric_name[i], score->metric[i]);
    }
    (void)printf("}\n");
}

/* The C library prints the sign of a NaN, which says nothing. */
static double without_sign_of_nan(double value) {
    return isnan(value) ? (double)NAN : value;
}

static void print_line(const dl_session *session, const request *r, const dl_score *score) {
    char number[32];
    (void)printf("%s  loss %.6f", dl_split_name(r->split), without_sign_of_nan(score->loss));
    for (int i = 0; i < session->model->output.n_metrics; i++) {
        (void)printf("  %s %.4f", session->model->output.metric_name[i],
                     without_sign_of_nan(score->metric[i]));
    }
    (void)printf("  (%s samples)\n", dl_thousands(session->split[r->split].n, number));
}

/* A split that is not there: says which is. */
static dl_status check_split(const dl_session *session, dl_split split) {
    const dl_split other = split == DL_SPLIT_TEST ? DL_SPLIT_VALID : DL_SPLIT_TEST;
    const char *path = session->config->data.path, *name = dl_split_name(split),
               *there = dl_split_name(other);
    if (session->split[split].n > 0) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(session->split[other].n > 0, DL_ERR_USAGE,
                       "the data set in '%s' has no split '%s'; it has %s: --split %s", path, name, there,
                       there);
    DL_RETURN_ERROR(DL_ERR_USAGE, "the data set in '%s' has no split '%s'", path, name);
}

static dl_status score_split(dl_session *session, const request *r, dl_score *score) {
    dl_evaluation evaluation = {.session = session, .split = r->split};
    if (r->predictions != NULL) {
        DL_RETURN_IF_ERROR(dl_predictions_create(session, r->predictions, &evaluation.predictions));
    }
    dl_status status = dl_evaluate(&evaluation, score);
    if (status == DL_OK && r->predictions != NULL) {
        status = dl_predictions_finish(evaluation.predictions);
    }
    dl_predictions_destroy(&evaluation.predictions);
    return status;
}

/* Ranks share the samples, however they shared the model in training; no training step is made. */
static void prepare(dl_setup *setup) {
    setup->config->parallel = (dl_parallel_config){.data = DL_WORD(0), .tensor = 1, .pipeline = 1};
    setup->config->train.accumulate = 1;
}

static dl_status evaluate(dl_session *session, const request *r, dl_comm *world) {
    dl_score score;
    DL_RETURN_IF_ERROR(dl_model_source_read(&r->source, world, session));
    DL_RETURN_IF_ERROR(check_split(session, r->split));
    DL_RETURN_IF_ERROR(score_split(session, r, &score));
    if (world->rank == 0) {
        (r->json ? print_json : print_line)(session, r, &score);
    }
    return DL_OK;
}

static dl_status run_in(dl_setup *setup, const dl_arguments *arguments) {
    dl_runtime *runtime = NULL;
    request r;
    DL_RETURN_IF_ERROR(dl_runtime_start(&runtime));
    DL_RETURN_IF_ERROR(dl_comm_agree(runtime->world, read_request(arguments, &r), NULL));
    DL_RETURN_IF_ERROR(dl_model_source_find(runtime->world, arguments, &r.source));
    DL_RETURN_IF_ERROR(
        dl_setup_load(r.source.config, arguments->override, arguments->n_overrides, runtime->world, setup));
    const char *model[] = {r.source.config, r.source.weights};
    const dl_status replaces =
        r.predictions != NULL ? dl_result_file_check(r.predictions, "predictions", model, 2) : DL_OK;
    DL_RETURN_IF_ERROR(dl_comm_agree(runtime->world, replaces, NULL));
    prepare(setup);
    dl_session *session = NULL;
    const dl_session_options options = {
        .world = runtime->world, .n_threads = runtime->n_threads, .predict = r.predictions != NULL};
    dl_status status = dl_setup_session(setup, &options, &session);
    if (status == DL_OK) {
        status = evaluate(session, &r, runtime->world);
    }
    status = dl_runtime_settle(status);
    dl_session_close(&session);
    return status;
}

static dl_status run(const dl_arguments *arguments) {
    dl_setup setup = {0};
    const dl_status status = run_in(&setup, arguments);
    dl_setup_release(&setup);
    return status;
}

static const dl_flag flags[] = {
    {"split", "valid|test", "which samples (default test)"},
    DL_MODEL_SOURCE_FLAGS,
    {"predictions", "FILE", "write what the model says of each sample, one JSON object a line"},
    {"json", NULL, "print one JSON object instead"},
    {NULL, NULL, NULL},
};

const dl_command dl_command_eval = {
    .name = "eval",
    .usage = "RUN|CHECKPOINT|WEIGHTS [KEY.PATH=VALUE ...] [--split valid|test] [--weights FILE] "
             "[--config FILE] [--predictions FILE.jsonl] [--json]",
    .doc = "loss and metrics of a trained model, every sample counted once at any number of ranks",
    .help = DL_MODEL_SOURCE_HELP,
    .flags = flags,
    .takes_overrides = true,
    .min_positional = 1,
    .max_positional = 1,
    .uses_ranks = true,
    .run = run,
};
