/* Measured choices kept between runs (base/cache.h). Measuring again would cost time and, near a tie, give
 * another choice and so other last bits. The key is everything that decides the times: operations and shapes,
 * threads, backend and its version, processor. */
#ifndef DLTRAIN_PROGRAM_CHOICE_CACHE_H
#define DLTRAIN_PROGRAM_CHOICE_CACHE_H

#include "base/digest.h"
#include "program/choose.h"

/* What the choices for this program depend on, as a digest. */
DL_NODISCARD dl_status dl_choice_key(const dl_plan *plan, const dl_program *program,
                                     char key[DL_DIGEST_TEXT_BYTES]);

/* The file of the choices under this key; "" when there is no home for it. */
void dl_choice_cache_path(const char *key, char *out, size_t n_bytes);

/* Reads them into choices->layer; false when there are none. */
bool dl_choice_cache_read(const char *path, dl_choices *choices);

/* Keeps them. */
void dl_choice_cache_write(const char *path, const dl_choices *choices);

/* For a checkpoint: "KEY HEX" into choices->text. */
DL_NODISCARD dl_status dl_choice_print(dl_pool *pool, const char *key, dl_choices *choices);

/* Takes them from such a text (NULL: none); false when it is of another program, device or version. */
bool dl_choice_parse(const char *text, const char *key, dl_choices *choices);

#endif
