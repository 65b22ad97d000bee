/* A file of results: it appears whole or not at all; a pipe, a device or a link is written as it is. */
#ifndef DLTRAIN_TRAIN_RESULT_FILE_H
#define DLTRAIN_TRAIN_RESULT_FILE_H

#include "base/text.h"

#include <limits.h>

typedef struct dl_result_file {
    char path[PATH_MAX], unfinished[PATH_MAX];
    int fd;        /* -1: not open */
    bool in_place; /* no file of another name is renamed in the end */
} dl_result_file;

/* A file that is not open. */
#define DL_RESULT_FILE_NONE ((dl_result_file){.fd = -1})

/* DL_ERR_USAGE where results would replace what they are made from: `path` is one of the n files that are
 * read, by whatever name (NULL and "" are none), or holds HDF5: data, weights, checkpoints. */
DL_NODISCARD dl_status dl_result_file_check(const char *path, const char *what, const char *const *source,
                                            int n);

/* Begins the file, beside `path` until dl_result_file_finish. `what` is for messages: "predictions".
 * DL_ERR_IO names the file, DL_ERR_USAGE a folder in its place. */
DL_NODISCARD dl_status dl_result_file_open(const char *path, const char *what, dl_result_file *out);
/* The same of an open file, which stays the caller's; `name` is for messages. */
DL_NODISCARD dl_status dl_result_file_take(int fd, const char *name, dl_result_file *out);
DL_NODISCARD dl_status dl_result_file_write(const dl_result_file *file, const dl_text *text);
/* Puts the file in its place. Fine when it is not open. */
DL_NODISCARD dl_status dl_result_file_finish(dl_result_file *file);
/* Closes it; what was not finished is removed. Fine when it is not open. */
void dl_result_file_discard(dl_result_file *file);

#endif
