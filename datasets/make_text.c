/* The data set `text`: stories from a grammar (story.c), as words or characters. */
#include "datasets/make_text.h"

#include "datasets/shard_writer.h"
#include "datasets/story.h"

#include <string.h>

/* All words, or all characters, before the text: so every token has the same number whatever the seed. */
static dl_status add_types(dl_tokenizer *tokenizer) {
    static const char characters[] = "\n ,.abcdefghijklmnopqrstuvwxyz";
    if (tokenizer->kind == DL_TOKEN_CHARS) {
        return dl_tokenizer_add(tokenizer, "characters", characters, sizeof characters - 1);
    }
    dl_text words = {0};
    dl_status status = dl_text_append(&words, "\n"); /* <eos> */
    if (status == DL_OK) {
        status = dl_story_words(&words);
    }
    if (status == DL_OK) {
        status = dl_tokenizer_add(tokenizer, "words", words.data, words.size);
    }
    dl_text_free(&words);
    return status;
}

static dl_status add_stories(dl_tokenizer *tokenizer, const dl_make_request *request, int64_t n) {
    dl_text text = {0};
    dl_status status = DL_OK;
    const int64_t before = tokenizer->n;
    for (uint64_t number = 0; tokenizer->n < before + n && status == DL_OK; number++) {
        dl_text_clear(&text);
        status = dl_story_write(request->seed, number, &text, NULL);
        if (status == DL_OK) {
            status = dl_tokenizer_add(tokenizer, "stories", text.data, text.size);
        }
    }
    dl_text_free(&text);
    return status;
}

static dl_status write_splits(const dl_tokenizer *tokenizer, int64_t n_types, int64_t n,
                              const dl_make_request *request) {
    char *word[DL_TEXT_WORD_TYPES];
    const dl_vocab vocab = {.n = n_types, .word = word};
    DL_RETURN_ERROR_IF(tokenizer->n_types != n_types, DL_ERR_INTERNAL, "the stories have %lld types of %lld",
                       (long long)tokenizer->n_types, (long long)n_types);
    for (int64_t i = 0; i < n_types; i++) {
        word[i] = tokenizer->bytes + tokenizer->begin[i];
    }
    const int32_t *token = tokenizer->token + n_types;
    const int64_t n_valid = n / 10;
    const dl_text_split splits[2] = {{"train", token, n - n_valid}, {"valid", token + n - n_valid, n_valid}};
    return dl_shard_write_text(request->folder, "text", request->n_shards, &vocab, -1, splits, 2,
                               request->progress);
}

dl_status dl_make_text(const dl_make_request *request, dl_token_kind kind) {
    const bool chars = kind == DL_TOKEN_CHARS;
    const int64_t n = chars ? DL_TEXT_CHARS : DL_TEXT_WORDS;
    dl_tokenizer tokenizer = {.kind = kind};
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, add_types(&tokenizer), done);
    DL_GOTO_IF_ERROR(status, add_stories(&tokenizer, request, n), done);
    DL_GOTO_IF_ERROR(
        status, write_splits(&tokenizer, chars ? DL_TEXT_CHAR_TYPES : DL_TEXT_WORD_TYPES, n, request), done);
done:
    dl_tokenizer_free(&tokenizer);
    return status;
}

static const dl_data_option options[] = {
    {"tokens", "chars|words", "text: words (default), or characters as text_chars"},
    {NULL, NULL, NULL},
};

static dl_status make(const dl_make_request *request) {
    const char *tokens = request->option[0];
    const bool chars = tokens != NULL && strcmp(tokens, "chars") == 0;
    DL_RETURN_ERROR_IF(tokens != NULL && !chars && strcmp(tokens, "words") != 0, DL_ERR_USAGE,
                       "--tokens must be chars or words, but it is '%.60s'", tokens);
    return dl_make_text(request, chars ? DL_TOKEN_CHARS : DL_TOKEN_WORDS);
}

const dl_maker dl_maker_text = {
    .name = "text",
    .doc = "stories from a grammar: 54,000 words to train and 6,000 to validate, a vocabulary of 264; no "
           "model does better than 1.68 nats a word",
    .options = options,
    .train = DL_TEXT_INFO(DL_TEXT_WORDS - DL_TEXT_WORDS / 10, DL_TEXT_WORD_TYPES),
    .valid = DL_TEXT_INFO(DL_TEXT_WORDS / 10, DL_TEXT_WORD_TYPES),
    .make = make,
};
