/* Made text as words or as characters. */
#ifndef DLTRAIN_DATASETS_MAKE_TEXT_H
#define DLTRAIN_DATASETS_MAKE_TEXT_H

#include "datasets/tokenizer.h"

/* The whole text and its vocabulary, which depend on no seed in size: the last tenth is split valid. */
enum {
    DL_TEXT_WORDS = 60000,
    DL_TEXT_WORD_TYPES = 264,
    DL_TEXT_CHARS = 300000,
    DL_TEXT_CHAR_TYPES = 30,
};

#define DL_TEXT_INFO(n, types)                                                                               \
    {                                                                                                        \
        .n_samples = (n), .n_classes = (types), .vocab_size = (types), .unk_id = -1, .n_fields = 1,          \
        .n_files = 1, .mapped = true, .field = {                                                             \
            {.name = "tokens", .kind = DL_FIELD_TOKENS, .dtype = DL_I32, .sample_bytes = 4},                 \
        }                                                                                                    \
    }

/* Makes the splits train and valid, both or none. */
DL_NODISCARD dl_status dl_make_text(const dl_make_request *request, dl_token_kind kind);

#endif
