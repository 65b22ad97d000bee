/* Measured choices kept between runs: ~/.cache/dltrain (XDG_CACHE_HOME). Measuring again would cost time and,
 * near a tie, give another choice and so other last bits. The key is everything that decides the times:
 * operations and shapes, threads, backend and its version, processor. A cache that cannot be read or written
 * is no error. */
#ifndef DLTRAIN_PROGRAM_CHOICE_CACHE_H
#define DLTRAIN_PROGRAM_CHOICE_CACHE_H

#include "program/choose.h"

/* The choices' file for this program; "" when there is no home for it. */
void dl_choice_cache_path(const dl_plan *plan, const dl_program *program, char *out, size_t n_bytes);

/* Reads them into choices->layer; false when there are none. */
bool dl_choice_cache_read(const char *path, dl_choices *choices);

/* Keeps them. */
void dl_choice_cache_write(const char *path, const dl_choices *choices);

#endif
