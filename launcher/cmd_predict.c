/* dltrain predict: what a trained model says of samples in files. */
#define _GNU_SOURCE
#include "base/text.h"
#include "launcher/model_source.h"
#include "launcher/setup.h"
#include "train/predict.h"
#include "train/result_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_BATCH = 128, MAX_BATCH = 1 << 20 };

/* What the options ask for. */
typedef struct request {
    dl_model_source source;
    const char *out; /* NULL: stdout */
    dl_predict_format format;
    int64_t top, batch;
    bool json;
} request;

/* Everything a prediction owns; released in one place. */
typedef struct job {
    request request;
    dl_setup setup;
    dl_comm *self; /* samples are independent: each rank has all of the model */
    dl_inputs *inputs;
    dl_session *session;
    dl_language language;
    dl_vocab names;
} job;

static dl_status read_format(const dl_arguments *arguments, request *out) {
    const char *format = dl_arguments_flag(arguments, "format");
    if (format == NULL) {
        const char *ending = out->out == NULL ? NULL : strrchr(out->out, '.');
        out->format = ending != NULL && strcmp(ending, ".csv") == 0 ? DL_PREDICT_CSV : DL_PREDICT_JSONL;
        return DL_OK;
    }
    out->format = strcmp(format, "csv") == 0 ? DL_PREDICT_CSV : DL_PREDICT_JSONL;
    DL_RETURN_ERROR_IF(out->format != DL_PREDICT_CSV && strcmp(format, "jsonl") != 0, DL_ERR_USAGE,
                       "--format is '%.60s'; it must be jsonl or csv", format);
    return DL_OK;
}

static dl_status read_request(const dl_arguments *arguments, request *out) {
    out->out = dl_arguments_flag(arguments, "out");
    out->json = dl_arguments_flag(arguments, "json") != NULL;
    DL_RETURN_ERROR_IF(arguments->n_positional < 2, DL_ERR_USAGE,
                       "predict wants files of samples behind the model: dltrain predict %s INPUT...",
                       arguments->positional[0]);
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "top", 1, INT32_MAX, 1, &out->top));
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "batch", 1, MAX_BATCH, DEFAULT_BATCH, &out->batch));
    return read_format(arguments, out);
}

/* What text files hold is what the model reads. */
static dl_status open_inputs(job *j, const dl_arguments *arguments) {
    const dl_input_config *input = &j->setup.config->model.input;
    const bool tokens = input->dtype != 0, open = dl_config_is_open(input->shape.value[0]);
    const dl_inputs_text text = tokens ? DL_TEXT_LINES : open ? DL_TEXT_SEQUENCES : DL_TEXT_CSV;
    return dl_inputs_open(arguments->positional + 1, arguments->n_positional - 1, text,
                          tokens ? input->shape.value[0] : 0, &j->inputs);
}

/* The words of a text, or the names of classes where the data set has any. */
static dl_status open_names(job *j) {
    dl_session *session = j->session;
    const char *path = session->config->data.path;
    if (session->config->model.input.dtype == 0) {
        return session->train_files == NULL ? DL_OK : dl_dataset_class_names(session->train_files, &j->names);
    }
    DL_RETURN_ERROR_IF(session->train_files == NULL, DL_ERR_USAGE,
                       "there is no data set in '%s', whose vocabulary the model reads and writes; "
                       "data.path=DIR names the one that it was trained on",
                       path);
    return dl_language_open(session->train_files, path, &j->language);
}

static dl_status open_session(job *j, const dl_runtime *runtime) {
    const int64_t n = dl_inputs_count(j->inputs);
    dl_apply_configure(j->setup.config, n < j->request.batch ? n : j->request.batch);
    DL_RETURN_IF_ERROR(dl_comm_self_create(&j->self));
    const dl_session_options options = {.world = j->self,
                                        .n_threads = runtime->n_threads,
                                        .apply = true,
                                        .longest = dl_inputs_longest(j->inputs)};
    DL_RETURN_IF_ERROR(dl_setup_session(&j->setup, &options, &j->session));
    return open_names(j);
}

/* --- the last line --- */

/* Bytes by kind, and all of them. */
static dl_status add_memory(const job *j, const dl_predict_report *report, json_t *out) {
    size_t bytes[DL_N_STORAGES], total = report->n_bytes;
    int failed = 0;
    dl_plan_memory(j->session->plan, bytes);
    for (int s = 0; s < DL_N_STORAGES; s++) {
        total += bytes[s];
        if (bytes[s] > 0) {
            failed |=
                json_object_set_new(out, dl_storage_name((dl_storage)s), json_integer((json_int_t)bytes[s]));
        }
    }
    failed |= json_object_set_new(out, "batches", json_integer((json_int_t)report->n_bytes));
    failed |= json_object_set_new(out, "total", json_integer((json_int_t)total));
    DL_RETURN_ERROR_IF(failed != 0, DL_ERR_MEMORY, "cannot print JSON: out of memory");
    return DL_OK;
}

static dl_status print_json(const job *j, const dl_runtime *runtime, const dl_predict_report *report,
                            const json_t *memory, FILE *to) {
    json_t *object =
        json_pack("{sIsIsIsIsIsfsfs{sfsf}sO}", "samples", (json_int_t)report->n_samples, "batch",
                  (json_int_t)j->session->config->train.batch_size, "batches", (json_int_t)report->n_batches,
                  "ranks", (json_int_t)runtime->world->size, "threads", (json_int_t)runtime->n_threads,
                  "seconds", report->seconds, "samples_per_s", (double)report->n_samples / report->seconds,
                  "latency_ms", "p50", 1e3 * report->p50, "p99", 1e3 * report->p99, "memory", memory);
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    DL_RETURN_ERROR_IF(text == NULL, DL_ERR_MEMORY, "cannot print JSON: out of memory");
    const int printed = fprintf(to, "%s\n", text);
    free(text);
    DL_RETURN_ERROR_IF(printed < 0, DL_ERR_IO, "cannot write the summary");
    return DL_OK;
}

static void print_line(const job *j, const dl_runtime *runtime, const dl_predict_report *report,
                       json_t *memory, FILE *to) {
    const double mebibyte = 1024.0 * 1024.0;
    char samples[32], rate[32];
    const char *key = NULL;
    json_t *value = NULL;
    (void)fprintf(
        to, "%s samples, batch %" PRId64 ", %d rank%s: %s samples/s; a batch p50 %.3f ms, p99 %.3f ms\n",
        dl_thousands(report->n_samples, samples), j->session->config->train.batch_size, runtime->world->size,
        runtime->world->size == 1 ? "" : "s",
        dl_thousands((int64_t)((double)report->n_samples / report->seconds), rate), 1e3 * report->p50,
        1e3 * report->p99);
    (void)fprintf(to, "memory  %.1f MiB per rank (",
                  (double)json_integer_value(json_object_get(memory, "total")) / mebibyte);
    const char *comma = "";
    json_object_foreach(memory, key, value) {
        if (strcmp(key, "total") != 0) {
            (void)fprintf(to, "%s%s %.1f", comma, key, (double)json_integer_value(value) / mebibyte);
            comma = ", ";
        }
    }
    (void)fprintf(to, ")\n");
}

static dl_status tell(const job *j, const dl_runtime *runtime, const dl_predict_report *report) {
    FILE *to = j->request.out == NULL ? stderr : stdout; /* stdout has the predictions */
    json_t *memory = json_object();
    DL_RETURN_ERROR_IF(memory == NULL, DL_ERR_MEMORY, "cannot print JSON: out of memory");
    dl_status status = add_memory(j, report, memory);
    if (status == DL_OK && j->request.json) {
        status = print_json(j, runtime, report, memory, to);
    } else if (status == DL_OK) {
        print_line(j, runtime, report, memory, to);
    }
    json_decref(memory);
    return status;
}

/* --- all --- */

static dl_status predict(job *j, const dl_runtime *runtime) {
    dl_comm *world = runtime->world;
    const bool text = j->session->config->model.input.dtype != 0;
    const dl_predict_options options = {.session = j->session,
                                        .world = world,
                                        .inputs = j->inputs,
                                        .language = text ? &j->language : NULL,
                                        .names = text ? &j->language.vocab : &j->names,
                                        .top = j->request.top,
                                        .path = j->request.out,
                                        .fd = STDOUT_FILENO,
                                        .format = j->request.format};
    dl_predict_report report = {0};
    DL_RETURN_IF_ERROR(dl_model_source_read(&j->request.source, world, j->session));
    dl_session_release_host(j->session);
    DL_RETURN_IF_ERROR(dl_predict(&options, &report));
    return dl_comm_agree(world, world->rank == 0 ? tell(j, runtime, &report) : DL_OK, NULL);
}

/* Predictions replace neither samples nor the model. */
static dl_status check_output(const job *j, const dl_arguments *arguments) {
    const char *model[] = {j->request.source.config, j->request.source.weights}, *out = j->request.out;
    if (out == NULL) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(
        dl_result_file_check(out, "predictions", arguments->positional + 1, arguments->n_positional - 1));
    return dl_result_file_check(out, "predictions", model, 2);
}

static dl_status run_in(job *j, const dl_arguments *arguments) {
    dl_runtime *runtime = NULL;
    DL_RETURN_IF_ERROR(dl_runtime_start(&runtime));
    dl_comm *world = runtime->world;
    DL_RETURN_IF_ERROR(dl_comm_agree(world, read_request(arguments, &j->request), NULL));
    DL_RETURN_IF_ERROR(dl_model_source_find(world, arguments, &j->request.source));
    DL_RETURN_IF_ERROR(dl_setup_load(j->request.source.config, arguments->override, arguments->n_overrides,
                                     world, &j->setup));
    DL_RETURN_IF_ERROR(dl_comm_agree(world, check_output(j, arguments), NULL));
    DL_RETURN_IF_ERROR(dl_comm_agree(world, open_inputs(j, arguments), NULL));
    DL_RETURN_IF_ERROR(dl_comm_agree(world, open_session(j, runtime), NULL));
    return predict(j, runtime);
}

static dl_status run(const dl_arguments *arguments) {
    job j = {.self = NULL};
    const dl_status status = dl_runtime_settle(run_in(&j, arguments));
    dl_language_close(&j.language);
    dl_vocab_free(&j.names);
    dl_session_close(&j.session);
    dl_comm_destroy(&j.self);
    dl_inputs_close(&j.inputs);
    dl_setup_release(&j.setup);
    return status;
}

static const dl_flag flags[] = {
    {"out", "FILE", "write there instead of stdout; the summary then goes to stdout"},
    {"format", "jsonl|csv", "default jsonl, csv where FILE ends in .csv"},
    {"top", "K", "the K most probable classes (default 1)"},
    {"batch", "N", "samples at once (default 128); the lines do not depend on it"},
    {"json", NULL, "print the summary as one JSON object"},
    DL_MODEL_SOURCE_FLAGS,
    {NULL, NULL, NULL},
};

const dl_command dl_command_predict = {
    .name = "predict",
    .usage =
        "RUN|CHECKPOINT|WEIGHTS INPUT... [KEY.PATH=VALUE ...] [--out FILE] [--format jsonl|csv] [--top K] "
        "[--batch N] [--weights FILE] [--config FILE] [--json]",
    .doc = "what a trained model says of the samples in files",
    .help =
        "INPUT is HDF5 (a shard, or any file with the samples in /x), IDX (plain or gzip'd), or text:\n"
        "CSV with a line of numbers for each sample, which may begin with a line of column names; for models\n"
        "of sequences of any length a line for each step and a blank line behind each sequence; for models of\n"
        "text a line for each text, of which the next token is predicted. Samples are as in training: pixels\n"
        "from 0 to 255 where the data set has uint8.\n"
        "\n"
        "Each sample gives one JSON object (or line of CSV) with the input's name, the sample's number in it\n"
        "from 0, and the prediction, its name where the data set has /meta/class_names, and its probability;\n"
        "with --top K lists of K. Models that give numbers give \"output\". The lines are the same for any batch\n"
        "size and number of ranks, which share the batches.\n"
        "\n"
        "In the end come samples per second, the latency of a batch (from the batch in memory to its scores in\n"
        "memory, p50 and p99), and the memory of a rank: no gradients and no optimizer are held.\n"
        "\n" DL_MODEL_SOURCE_HELP,
    .flags = flags,
    .takes_overrides = true,
    .min_positional = 1,
    .max_positional = DL_MAX_ARGUMENTS,
    .uses_ranks = true,
    .run = run,
};
