/* Files and texts to trees whose root is a map. */
#define _GNU_SOURCE
#include "config/parse.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_LISTED = 1000 };

static dl_status make_source(const char *name, const char *text, size_t n_bytes, dl_pool *pool,
                             dl_source **out) {
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, 1, sizeof **out, out));
    DL_RETURN_IF_ERROR(dl_pool_copy(pool, name, strlen(name), &(*out)->name));
    DL_RETURN_IF_ERROR(dl_pool_copy(pool, text, n_bytes, &(*out)->text));
    (*out)->n_bytes = n_bytes;
    return DL_OK;
}

dl_status dl_tree_parse(const char *name, const char *text, size_t n_bytes, dl_pool *pool,
                        dl_diagnostics *diagnostics, dl_node **root) {
    *root = NULL;
    if (n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* byte order mark */
        text += 3;
        n_bytes -= 3;
    }
    DL_RETURN_ERROR_IF(n_bytes > DL_TREE_MAX_BYTES, DL_ERR_USAGE, "%s is larger than %d bytes", name,
                       DL_TREE_MAX_BYTES);
    dl_source *source = NULL;
    DL_RETURN_IF_ERROR(make_source(name, text, n_bytes, pool, &source));
    const int errors_before = diagnostics->n_errors;
    DL_RETURN_IF_ERROR(dl_tree_parse_part(source, 0, pool, diagnostics, root));
    const bool empty = *root == NULL || ((*root)->kind == DL_NODE_SCALAR && (*root)->text[0] == '\0');
    if (empty && diagnostics->n_errors == errors_before) { /* nothing but comments: a map without keys */
        return dl_node_create(pool, DL_NODE_MAP, (dl_place){source, 1, 1}, root);
    }
    if (*root == NULL || (*root)->kind == DL_NODE_MAP) {
        return DL_OK;
    }
    const dl_place place = (*root)->place;
    *root = NULL;
    return dl_diagnose(diagnostics, place,
                       "the file must consist of keys, one 'KEY: VALUE' a line, with a blank after "
                       "the colon");
}

dl_status dl_tree_parse_default(const char *text, dl_pool *pool, dl_node **out) {
    dl_diagnostics diagnostics = {.quiet = true};
    dl_source *source = NULL;
    if (text[0] != '[' && text[0] != '{') {
        DL_RETURN_IF_ERROR(dl_node_create(pool, DL_NODE_SCALAR, (dl_place){0}, out));
        return dl_pool_copy(pool, text, strlen(text), &(*out)->text);
    }
    DL_RETURN_IF_ERROR(make_source("default", text, strlen(text), pool, &source));
    DL_RETURN_IF_ERROR(dl_tree_parse_part(source, 0, pool, &diagnostics, out));
    DL_RETURN_ERROR_IF(*out == NULL || diagnostics.n_errors > 0, DL_ERR_INTERNAL,
                       "the default '%s' is not YAML", text);
    return DL_OK;
}

/* The entry of the folder that is nearest to `name`, into out (NAME_MAX + 1 bytes); empty when none is near.
 */
static void find_nearest(const char *folder, const char *name, char *out) {
    out[0] = '\0';
    DIR *listing = opendir(folder);
    if (listing == NULL) {
        return;
    }
    const struct dirent *entry = NULL;
    for (int i = 0; i < MAX_LISTED && (entry = readdir(listing)) != NULL; i++) {
        const char *pair[] = {out, entry->d_name};
        const char *best = dl_nearest_name(name, out[0] == '\0' ? pair + 1 : pair, out[0] == '\0' ? 1 : 2);
        if (best == entry->d_name) {
            (void)strncpy(out, best, NAME_MAX);
            out[NAME_MAX] = '\0';
        }
    }
    (void)closedir(listing);
}

/* Fails with DL_ERR_USAGE, naming a file of a similar name if there is one. */
static dl_status missing_file(const char *path) {
    char folder[PATH_MAX], nearest[NAME_MAX + 1];
    const char *slash = strrchr(path, '/');
    const size_t n = slash == NULL ? 0 : (size_t)(slash + 1 - path);
    DL_RETURN_ERROR_IF(n >= sizeof folder, DL_ERR_USAGE, "the path %.60s... is too long", path);
    memcpy(folder, path, n);
    folder[n] = '\0';
    find_nearest(n == 0 ? "." : folder, path + n, nearest);
    DL_RETURN_ERROR_IF(nearest[0] == '\0', DL_ERR_USAGE, "there is no file %s", path);
    DL_RETURN_ERROR(DL_ERR_USAGE, "there is no file %s; did you mean %s%s?", path, folder, nearest);
}

dl_status dl_tree_load(const char *path, dl_pool *pool, dl_diagnostics *diagnostics, dl_node **root) {
    *root = NULL;
    struct stat info;
    if (stat(path, &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return missing_file(path);
        }
        DL_RETURN_ERROR(DL_ERR_USAGE, "cannot open %s: %s", path, strerror(errno));
    }
    DL_RETURN_ERROR_IF(S_ISDIR(info.st_mode), DL_ERR_USAGE, "%s is a folder; a configuration is a file",
                       path);
    DL_RETURN_ERROR_IF(info.st_size > DL_TREE_MAX_BYTES + 3, DL_ERR_USAGE, "%s is larger than %d bytes", path,
                       DL_TREE_MAX_BYTES);
    dl_text text = {0};
    dl_status status = dl_file_read(path, DL_TREE_MAX_BYTES + 3, &text);
    if (status == DL_OK) {
        status = dl_tree_parse(path, text.data, text.size, pool, diagnostics, root);
    }
    dl_text_free(&text);
    return status;
}
