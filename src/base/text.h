/* Text: a growing string, strict number parsing, nearest names, paths, whole-file reading and replacing. */
#ifndef DLTRAIN_BASE_TEXT_H
#define DLTRAIN_BASE_TEXT_H

#include "base/status.h"

#include <stdint.h>

/* A growing string. Zero-initialised is empty; `data` is always terminated once something was appended. */
typedef struct dl_text {
    char *data;
    size_t size; /* bytes without the terminator */
    int64_t capacity;
} dl_text;

DL_NODISCARD dl_status dl_text_append(dl_text *text, const char *format, ...) DL_PRINTF(2, 3);
DL_NODISCARD dl_status dl_text_append_bytes(dl_text *text, const void *bytes, size_t n_bytes);
void dl_text_clear(dl_text *text); /* empties it, keeping the memory */
void dl_text_free(dl_text *text);

/* The whole string as a number, surrounding blanks not allowed; false when it is not one or out of range. */
bool dl_parse_int64(const char *text, int64_t *out);
bool dl_parse_double(const char *text, double *out);

/* Bytes of the UTF-8 character at `text` (n_bytes left): 1 to 4; 0 when it is not one (strictly: no
 * surrogates, no overlong forms). *code is its number. */
size_t dl_utf8_decode(const char *text, size_t n_bytes, uint32_t *code);

/* The entry of names[n] nearest to `word` (Damerau-Levenshtein distance at most a third of its length, at
 * least one edit allowed), or NULL when none is near. Comparison ignores case. */
const char *dl_nearest_name(const char *word, const char *const *names, size_t n);

/* Joins a folder and a name with one slash into out. DL_ERR_USAGE when it does not fit n_bytes. */
DL_NODISCARD dl_status dl_path_join(char *out, size_t n_bytes, const char *folder, const char *name);

/* "12,345,678" into out (32 bytes); returns out. */
const char *dl_thousands(int64_t number, char *out);

/* Reads a whole file of at most max_bytes into *out (terminated; release with dl_text_free). DL_ERR_USAGE
 * when it does not exist or is too large, DL_ERR_IO otherwise. */
DL_NODISCARD dl_status dl_file_read(const char *path, size_t max_bytes, dl_text *out);

/* Writes all bytes, in one write() where the system takes them at once. DL_ERR_IO names `path`. */
DL_NODISCARD dl_status dl_write_all(int fd, const char *path, const void *bytes, size_t n_bytes);

/* The same; *n_written are written, also when the rest cannot be. */
DL_NODISCARD dl_status dl_write_some(int fd, const char *path, const void *bytes, size_t n_bytes,
                                     size_t *n_written);

/* Replaces a file whole or not at all: a temporary file in the same folder, fsync, rename. */
DL_NODISCARD dl_status dl_file_replace(const char *path, const void *bytes, size_t n_bytes);

/* Brings the entries of an opened folder to disk; `path` is for messages. */
DL_NODISCARD dl_status dl_sync_folder(int fd, const char *path);

/* Brings the entry of `path` in its folder to disk: after a rename, or when the file is new. */
DL_NODISCARD dl_status dl_sync_entry(const char *path);

/* Creates a folder and its parents (mode 0750), on disk too. An existing one is fine. */
DL_NODISCARD dl_status dl_make_folders(const char *path);

bool dl_file_exists(const char *path);

#endif
