/* dltrain generate: text from a trained model. */
#define _GNU_SOURCE
#include "base/log.h"
#include "base/text.h"
#include "launcher/model_source.h"
#include "launcher/setup.h"
#include "train/generate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TOKENS = 1000000000 };

/* What the options ask for. */
typedef struct request {
    dl_model_source source;
    const char *prompt;
    int64_t n_tokens;
    dl_sampling sampling;
} request;

static dl_status read_temperature(const dl_arguments *arguments, double *out) {
    const char *text = dl_arguments_flag(arguments, "temperature");
    *out = 0.8;
    DL_RETURN_ERROR_IF(
        text != NULL && (!dl_parse_double(text, out) || !isfinite(*out) || *out < 0.0), DL_ERR_USAGE,
        "--temperature must be 0 (always the most probable token) or a number above it, but it "
        "is '%.60s'",
        text);
    return DL_OK;
}

static dl_status read_request(const dl_arguments *arguments, request *out) {
    int64_t seed = 0;
    out->prompt = dl_arguments_flag(arguments, "prompt");
    DL_RETURN_ERROR_IF(out->prompt == NULL, DL_ERR_USAGE,
                       "generate wants a beginning: --prompt TEXT (--prompt '' for the beginning of a line)");
    DL_RETURN_ERROR_IF(dl_arguments_flag(arguments, "tokens") == NULL, DL_ERR_USAGE,
                       "generate wants the number of tokens to write: --tokens N");
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "tokens", 1, MAX_TOKENS, 0, &out->n_tokens));
    DL_RETURN_IF_ERROR(read_temperature(arguments, &out->sampling.temperature));
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "top-k", 1, INT32_MAX, 0, &out->sampling.top_k));
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "seed", 0, INT64_MAX, 1, &seed));
    out->sampling.seed = (uint64_t)seed;
    return DL_OK;
}

/* A run that has to do with images is told before its data set is opened, or made. */
static dl_status check_config(const dl_config *config, const char *run) {
    DL_RETURN_ERROR_IF(config->model.input.dtype == 0, DL_ERR_USAGE,
                       "%s is not the run of a text model: its input is not dtype: tokens; generate is for "
                       "models as configs/char_lstm.yaml and configs/word_lstm.yaml",
                       run);
    return DL_OK;
}

/* Every piece is seen as soon as it is there. */
static dl_status print_text(void *context, const char *text) {
    (void)context;
    DL_RETURN_ERROR_IF(fputs(text, stdout) < 0 || fflush(stdout) != 0, DL_ERR_IO,
                       "cannot write to stdout: %s", strerror(errno));
    return DL_OK;
}

static dl_status generate_with(dl_session *session, const request *r, const dl_language *language) {
    const dl_generation generation = {.session = session,
                                      .language = language,
                                      .sampling = r->sampling,
                                      .n_tokens = r->n_tokens,
                                      .write = print_text};
    dl_prompt prompt;
    dl_status status = dl_prompt_read(language, r->prompt, &prompt);
    if (status == DL_OK && prompt.unknown.size > 0) {
        DL_WARN("the prompt's %s: not in the vocabulary of %s; the model reads %s", prompt.unknown.data,
                language->name, language->vocab.word[language->unknown]);
    }
    if (status == DL_OK) {
        status = dl_generate(&generation, &prompt);
    }
    if (status == DL_OK) {
        status = print_text(NULL, "\n");
    }
    dl_prompt_free(&prompt);
    return status;
}

static dl_status generate(dl_session *session, const request *r) {
    DL_RETURN_IF_ERROR(dl_generate_check(session));
    DL_RETURN_IF_ERROR(dl_model_source_read(&r->source, session->world, session));
    dl_language language;
    dl_status status = dl_language_open(session->train_files, session->config->data.path, &language);
    if (status == DL_OK) {
        status = generate_with(session, r, &language);
    }
    dl_language_close(&language);
    return status;
}

/* A text is one sample: one rank's work, and one thread's, so that it is the same at any number of either. */
static dl_status generate_alone(dl_setup *setup, const request *r) {
    dl_comm *self = NULL;
    dl_session *session = NULL;
    DL_RETURN_IF_ERROR(dl_comm_self_create(&self));
    const dl_session_options options = {.world = self, .n_threads = 1, .generate = true};
    dl_status status = dl_setup_session(setup, &options, &session);
    if (status == DL_OK) {
        status = generate(session, r);
    }
    dl_session_close(&session);
    dl_comm_destroy(&self);
    return status;
}

static dl_status run_in(dl_setup *setup, const dl_arguments *arguments) {
    dl_runtime *runtime = NULL;
    request r;
    DL_RETURN_IF_ERROR(dl_runtime_start(&runtime));
    dl_comm *world = runtime->world;
    DL_RETURN_IF_ERROR(dl_comm_agree(world, read_request(arguments, &r), NULL));
    DL_RETURN_IF_ERROR(dl_model_source_find(world, arguments, &r.source));
    DL_RETURN_IF_ERROR(
        dl_setup_load(r.source.config, arguments->override, arguments->n_overrides, world, setup));
    DL_RETURN_IF_ERROR(dl_comm_agree(world, check_config(setup->config, arguments->positional[0]), NULL));
    dl_generate_configure(setup->config);
    return dl_comm_agree(world, world->rank == 0 ? generate_alone(setup, &r) : DL_OK, NULL);
}

static dl_status run(const dl_arguments *arguments) {
    dl_setup setup = {0};
    const dl_status status = run_in(&setup, arguments);
    dl_setup_release(&setup);
    return status;
}

static const dl_flag flags[] = {
    {"prompt", "TEXT", "how the text begins; it is divided as `data import text` does"},
    {"tokens", "N", "characters or words to write behind it"},
    {"temperature", "T",
     "divides the logits: below 1 bolder, 0 always the most probable token (default 0.8)"},
    {"top-k", "K", "draw from the K most probable tokens only (default: from all)"},
    {"seed", "S", "another seed, another text (default 1)"},
    DL_MODEL_SOURCE_FLAGS,
    {NULL, NULL, NULL},
};

const dl_command dl_command_generate = {
    .name = "generate",
    .usage = "RUN|CHECKPOINT|WEIGHTS [KEY.PATH=VALUE ...] --prompt TEXT --tokens N [--temperature 0.8] "
             "[--top-k K] [--seed S] [--weights FILE] [--config FILE]",
    .doc = "writes text with a trained language model, token by token",
    .help =
        "Prints the prompt as the model reads it and N tokens more, each as soon as it is there, and a line\n"
        "feed in the end. Characters are printed as they are, words with blanks between them; the word <eos>\n"
        "is a line feed. The vocabulary is that of the run's data set.\n"
        "\n"
        "Characters that are not in the vocabulary are named, with exit status 2. So are words, unless the\n"
        "vocabulary has <unk>: then the model reads that, which is said on stderr.\n"
        "\n"
        "A model with an output at every position reads the prompt, however short or long, and goes on from\n"
        "there: with lstm layers that are all stateful token by token, otherwise by reading its last window\n"
        "again for each token. A model that ends in one vector reads the last window. It was trained on full\n"
        "windows, so in front of a shorter text stand line ends (the word <eos> or the character; without\n"
        "either blanks, else token 0): they are what most often comes before the beginning of a text, and the\n"
        "prompt then ends where training windows end. An empty prompt is the beginning of a line.\n"
        "\n"
        "One seed gives one text, at any number of ranks and threads: rank 0 writes it on one thread.\n"
        "\n" DL_MODEL_SOURCE_HELP,
    .flags = flags,
    .takes_overrides = true,
    .min_positional = 1,
    .max_positional = 1,
    .uses_ranks = true,
    .run = run,
};
