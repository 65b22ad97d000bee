/* Writing text with a trained model, one token after the other. */
#ifndef DLTRAIN_TRAIN_GENERATE_H
#define DLTRAIN_TRAIN_GENERATE_H

#include "train/language.h"
#include "train/sampling.h"
#include "train/session.h"

typedef struct dl_generation {
    dl_session *session; /* opened with `generate`, with its weights */
    const dl_language *language;
    dl_sampling sampling;
    int64_t n_tokens; /* wanted, behind the prompt */
    /* Takes what there is of the text: the prompt as the model reads it, then token after token. */
    dl_status (*write)(void *context, const char *text);
    void *context;
} dl_generation;

/* What a session for generating wants otherwise than training: one sample on one rank. */
void dl_generate_configure(dl_config *config);

/* DL_ERR_USAGE for a model that does not give the probabilities of a text's next token. */
DL_NODISCARD dl_status dl_generate_check(const dl_session *session);

/* Writes the prompt and n_tokens more. How the model is given the text (dl_model_context):
 *  - carried: every token once, one after the other;
 *  - before: the last window of the text again for each token, a shorter one from its beginning;
 *  - window: the last window; in front of a shorter text stands padding (dl_language), so that its end is
 * where the ends of training windows were. An empty prompt begins behind a line's end. The same text for one
 * seed. Allocates nothing for a token. Not collective: the session is of one rank. */
DL_NODISCARD dl_status dl_generate(const dl_generation *generation, const dl_prompt *prompt);

#endif
