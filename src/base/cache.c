#define _GNU_SOURCE
#include "base/cache.h"

#include "base/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dl_cache_path(const char *name, char *out, size_t n_bytes) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (cache != NULL && cache[0] == '/') {
        n = snprintf(out, n_bytes, "%s/dltrain/%s", cache, name);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(out, n_bytes, "%s/.cache/dltrain/%s", home, name);
    }
    if (n < 0 || (size_t)n >= n_bytes) {
        out[0] = '\0';
    }
}

bool dl_cache_read(const char *path, size_t max_bytes, dl_text *out) {
    *out = (dl_text){0};
    return path[0] != '\0' && dl_file_exists(path) && dl_file_read(path, max_bytes, out) == DL_OK;
}

void dl_cache_write(const char *path, const void *bytes, size_t n_bytes) {
    char folder[PATH_MAX];
    if (path[0] == '\0' || strlen(path) >= sizeof folder) {
        return;
    }
    (void)snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    if (dl_make_folders(folder) != DL_OK || dl_file_replace(path, bytes, n_bytes) != DL_OK) {
        DL_DEBUG("not kept for the next run: %s", dl_error_last()->message);
    }
}
