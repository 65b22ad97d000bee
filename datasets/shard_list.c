/* The files of a split by their names. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "datasets/shard.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dl_shard_list_destroy(dl_shard_list *list) {
    for (int64_t i = 0; i < list->n; i++) {
        dl_free(&list->name[i]);
    }
    dl_free(&list->name);
}

static bool is_shard_name(const char *name, const char *split) {
    const size_t n = strlen(name), s = strlen(split);
    return n > s + 4 && strncmp(name, split, s) == 0 && name[s] == '-' && strcmp(name + n - 3, ".h5") == 0;
}

static dl_status add_name(dl_shard_list *list, const char *name) {
    DL_RETURN_IF_ERROR(dl_grow(&list->name, &list->capacity, list->n + 1, sizeof *list->name));
    DL_RETURN_IF_ERROR(dl_alloc(strlen(name) + 1, 1, &list->name[list->n]));
    memcpy(list->name[list->n++], name, strlen(name) + 1);
    return DL_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

dl_status dl_shard_list_create(const char *folder, const char *split, dl_shard_list *list, bool *exists) {
    DIR *directory = opendir(folder);
    *exists = directory != NULL;
    if (directory == NULL) {
        DL_RETURN_ERROR_IF(errno != ENOENT && errno != ENOTDIR, DL_ERR_IO, "cannot open folder %s: %s",
                           folder, strerror(errno));
        return DL_OK;
    }
    dl_status status = DL_OK;
    for (const struct dirent *entry = readdir(directory); entry != NULL && status == DL_OK;
         entry = readdir(directory)) {
        if (is_shard_name(entry->d_name, split)) {
            status = add_name(list, entry->d_name);
        }
    }
    (void)closedir(directory);
    if (list->n > 0) {
        qsort(list->name, (size_t)list->n, sizeof *list->name, by_text);
    }
    return status;
}

bool dl_dataset_exists(const char *folder, const char *split) {
    dl_shard_list list = {0};
    bool exists = false;
    const bool found = dl_shard_list_create(folder, split, &list, &exists) == DL_OK && list.n > 0;
    dl_shard_list_destroy(&list);
    return found;
}

dl_status dl_shard_list_check(const dl_shard_list *list, const char *folder, const char *split) {
    const char *last = list->name[list->n - 1] + strlen(split) + 1;
    unsigned number = 0, total = 0;
    int end = 0;
    const bool counted =
        sscanf(last, "%5u-of-%5u.h5%n", &number, &total, &end) == 2 && last[end] == '\0' && end > 0;
    DL_RETURN_ERROR_IF(counted && (int64_t)total != list->n, DL_ERR_DATA,
                       "%s/%s belongs to a set of %u files but there are %" PRId64
                       " %s files; copy the missing ones or import again into an empty folder",
                       folder, list->name[list->n - 1], total, list->n, split);
    return DL_OK;
}

/* Adds a name to the sorted names unless it is there; false when there is no room. */
static bool add_split(char name[DL_MAX_SPLITS][DL_SPLIT_NAME_BYTES], int *n, const char *text,
                      size_t length) {
    char new[DL_SPLIT_NAME_BYTES] = "";
    memcpy(new, text, length);
    int at = 0;
    while (at < *n && strcmp(name[at], new) < 0) {
        at++;
    }
    if (at < *n && strcmp(name[at], new) == 0) {
        return true;
    }
    if (*n == DL_MAX_SPLITS) {
        return false;
    }
    memmove(name[at + 1], name[at], (size_t)(*n - at) * sizeof name[0]);
    memcpy(name[at], new, sizeof new);
    (*n)++;
    return true;
}

dl_status dl_dataset_splits(const char *folder, char name[DL_MAX_SPLITS][DL_SPLIT_NAME_BYTES], int *n) {
    *n = 0;
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return DL_OK;
    }
    bool fits = true;
    for (const struct dirent *entry = readdir(directory); entry != NULL && fits; entry = readdir(directory)) {
        const char *dash = strchr(entry->d_name, '-');
        const size_t length = dash != NULL ? (size_t)(dash - entry->d_name) : 0, all = strlen(entry->d_name);
        if (length > 0 && length < DL_SPLIT_NAME_BYTES && all > 3 &&
            strcmp(entry->d_name + all - 3, ".h5") == 0) {
            fits = add_split(name, n, entry->d_name, length);
        }
    }
    (void)closedir(directory);
    DL_RETURN_ERROR_IF(!fits, DL_ERR_DATA, "%s holds files of more than %d splits", folder, DL_MAX_SPLITS);
    return DL_OK;
}
