/* The data set `text_chars`: the stories of `text`, character by character. */
#include "datasets/make_text.h"

static dl_status make(const dl_make_request *request) {
    return dl_make_text(request, DL_TOKEN_CHARS);
}

const dl_maker dl_maker_text_chars = {
    .name = "text_chars",
    .doc = "the same stories as characters: 270,000 to train and 30,000 to validate, 30 different ones; no "
           "model does better than 0.417 nats",
    .train = DL_TEXT_INFO(DL_TEXT_CHARS - DL_TEXT_CHARS / 10, DL_TEXT_CHAR_TYPES),
    .valid = DL_TEXT_INFO(DL_TEXT_CHARS / 10, DL_TEXT_CHAR_TYPES),
    .make = make,
};
