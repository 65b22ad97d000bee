/* Importer `text`: files of text become tokens, divided into train, valid and test. */
#include "base/mem.h"
#include "base/text.h"
#include "datasets/shard_writer.h"
#include "datasets/tokenizer.h"

#include <inttypes.h>
#include <string.h>

enum { OPTION_TOKENS, OPTION_VOCAB, OPTION_VALID, OPTION_VALID_FILE, OPTION_TEST_FILE };
enum { TRAIN, VALID, TEST, N_SPLITS };

static const dl_data_option options[] = {
    {"tokens", "chars|words",
     "text: characters, or words: what stands between white space; a line's end is the word <eos>"},
    {"vocab", "N", "text: at most N entries, the most frequent in train; the rest is <unk>"},
    {"valid", "SHARE", "text: the last SHARE of the tokens becomes split valid (default 0.1)"},
    {"valid-file", "FILE", "text: this file is split valid, instead of a share"},
    {"test-file", "FILE", "text: this file is split test"},
    {NULL, NULL, NULL},
};

typedef struct text_import {
    dl_token_kind kind;
    int64_t limit;
    double share;
    dl_tokenizer tokenizer;
    dl_vocab vocab;
    int64_t end[N_SPLITS]; /* the tokens of a split end here */
} text_import;

static dl_status take_options(const dl_import_request *request, text_import *work) {
    const char *const *option = request->option;
    const char *tokens = option[OPTION_TOKENS];
    const bool chars = tokens != NULL && strcmp(tokens, "chars") == 0;
    const bool words = tokens != NULL && strcmp(tokens, "words") == 0;
    DL_RETURN_ERROR_IF(
        !chars && !words, DL_ERR_USAGE, "data import text wants --tokens chars or --tokens words%s%.40s%s",
        tokens != NULL ? ", not '" : "", tokens != NULL ? tokens : "", tokens != NULL ? "'" : "");
    work->kind = chars ? DL_TOKEN_CHARS : DL_TOKEN_WORDS;
    DL_RETURN_ERROR_IF(option[OPTION_VOCAB] != NULL && (!dl_parse_int64(option[OPTION_VOCAB], &work->limit) ||
                                                        work->limit < 2 || work->limit > INT32_MAX),
                       DL_ERR_USAGE, "--vocab must be a whole number from 2 to 2147483647, but it is '%.60s'",
                       option[OPTION_VOCAB]);
    DL_RETURN_ERROR_IF(option[OPTION_VALID] != NULL && option[OPTION_VALID_FILE] != NULL, DL_ERR_USAGE,
                       "--valid and --valid-file exclude each other: split valid is a share or a file");
    work->share = option[OPTION_VALID_FILE] != NULL ? 0.0 : 0.1;
    DL_RETURN_ERROR_IF(
        option[OPTION_VALID] != NULL && (!dl_parse_double(option[OPTION_VALID], &work->share) ||
                                         !(work->share >= 0.0 && work->share < 1.0)),
        DL_ERR_USAGE, "--valid must be a number from 0 to below 1, but it is '%.60s'", option[OPTION_VALID]);
    return DL_OK;
}

static dl_status add_file(text_import *work, const char *path) {
    dl_text text = {0};
    dl_status status = dl_file_read(path, SIZE_MAX / 4, &text);
    if (status == DL_OK) {
        status = dl_tokenizer_add(&work->tokenizer, path, text.data != NULL ? text.data : "", text.size);
    }
    dl_text_free(&text);
    return status;
}

/* Reads all files; the tokens of train, valid and test follow one another. */
static dl_status read_files(const dl_import_request *request, text_import *work) {
    const char *const parts[N_SPLITS] = {NULL, request->option[OPTION_VALID_FILE],
                                         request->option[OPTION_TEST_FILE]};
    for (int i = 0; i < request->n_inputs; i++) {
        DL_RETURN_IF_ERROR(add_file(work, request->input[i]));
        if (request->progress != NULL) {
            request->progress("reading", (double)(i + 1) / request->n_inputs);
        }
    }
    const int64_t n = work->tokenizer.n;
    const int64_t held_out = (int64_t)((double)n * work->share);
    work->end[TRAIN] = held_out < 2 ? n : n - held_out; /* one token predicts nothing */
    work->end[VALID] = n;
    DL_RETURN_ERROR_IF(work->end[TRAIN] < 2, DL_ERR_DATA,
                       "%s: %" PRId64 " tokens are left to train on; at least 2 are needed",
                       request->input[0], work->end[TRAIN]);
    for (int i = VALID; i < N_SPLITS; i++) {
        const int64_t before = work->tokenizer.n;
        if (parts[i] != NULL) {
            DL_RETURN_IF_ERROR(add_file(work, parts[i]));
            DL_RETURN_ERROR_IF(work->tokenizer.n < before + 2, DL_ERR_DATA, "%s has fewer than 2 tokens",
                               parts[i]);
        }
        work->end[i] = work->tokenizer.n;
    }
    return DL_OK;
}

static dl_status run(const dl_import_request *request, text_import *work) {
    static const char *const names[N_SPLITS] = {"train", "valid", "test"};
    dl_text_split splits[N_SPLITS];
    int64_t unk_id = -1;
    DL_RETURN_IF_ERROR(take_options(request, work));
    for (int i = 0; i < N_SPLITS; i++) {
        DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, names[i]));
    }
    work->tokenizer.kind = work->kind;
    DL_RETURN_IF_ERROR(read_files(request, work));
    DL_RETURN_IF_ERROR(
        dl_tokenizer_settle(&work->tokenizer, work->end[TRAIN], work->limit, &work->vocab, &unk_id));
    for (int i = 0; i < N_SPLITS; i++) {
        const int64_t begin = i == TRAIN ? 0 : work->end[i - 1];
        splits[i] = (dl_text_split){names[i], work->tokenizer.token + begin, work->end[i] - begin};
    }
    return dl_shard_write_text(request->folder, "text", request->n_shards, &work->vocab, unk_id, splits,
                               N_SPLITS, request->progress);
}

static dl_status import_text(const dl_import_request *request) {
    text_import work = {0};
    const dl_status status = run(request, &work);
    dl_tokenizer_free(&work.tokenizer);
    dl_vocab_free(&work.vocab);
    return status;
}

const dl_importer dl_importer_text = {
    .name = "text",
    .usage = "FILE...",
    .doc =
        "text in UTF-8 as characters or words, the files one after another; the vocabulary comes from train",
    .options = options,
    .min_inputs = 1,
    .max_inputs = INT32_MAX,
    .splits = true,
    .import = import_text,
};
