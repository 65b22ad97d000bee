/* What the program keeps between runs to start sooner: small files in ~/.cache/dltrain (XDG_CACHE_HOME), each
 * there whole or not at all. To lose them costs time and nothing else: none that cannot be read or written is
 * an error. Processes may share them. */
#ifndef DLTRAIN_BASE_CACHE_H
#define DLTRAIN_BASE_CACHE_H

#include "base/text.h"

/* The path of a file of this name; "" where there is no home for it. */
void dl_cache_path(const char *name, char *out, size_t n_bytes);

/* Reads a file of at most max_bytes to *out (release with dl_text_free); false when it is not there. */
bool dl_cache_read(const char *path, size_t max_bytes, dl_text *out);

/* Keeps the bytes in this file, in place of what it had. */
void dl_cache_write(const char *path, const void *bytes, size_t n_bytes);

#endif
