/* Little stories from a grammar of a few hundred English words, for language models to learn from.
 *
 * A story has one subject. Its number decides the form of every verb, also behind a relative clause; its
 * pronoun stands for it in later sentences; a verb decides which things it is done to. Words of a kind are
 * not equally frequent. */
#ifndef DLTRAIN_DATASETS_STORY_H
#define DLTRAIN_DATASETS_STORY_H

#include "base/text.h"

/* Appends story `number` of a seed: lower-case words and "," "." with blanks between, a line for each
 * sentence. The same bytes on every machine. *nats (may be NULL) is increased by the information in the
 * choices made, -ln of their probability: what a model that knows the grammar needs, and none needs less. */
DL_NODISCARD dl_status dl_story_write(uint64_t seed, uint64_t number, dl_text *out, double *nats);

/* Appends all words that stories are made of, and "," ".", with a blank behind each. */
DL_NODISCARD dl_status dl_story_words(dl_text *out);

#endif
