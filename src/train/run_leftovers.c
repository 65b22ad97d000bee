#define _GNU_SOURCE
#include "train/run_leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* dl_file_replace and dl_h5_writer_create: the file's name, ".tmp", the process. */
static bool is_leftover(const char *name) {
    static const char *const files[] = {"status.json", "config.yaml", "metrics.jsonl",
                                        "weights.h5",  "ema.h5",      "best.h5"};
    static const char mark[] = ".tmp";
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const size_t n = strlen(files[i]);
        const char *number = name + n + sizeof mark - 1;
        if (strncmp(name, files[i], n) == 0 && strncmp(name + n, mark, sizeof mark - 1) == 0 &&
            number[0] != '\0' && strspn(number, "0123456789") == strlen(number)) {
            return true;
        }
    }
    return false;
}

void dl_run_leftovers_remove(const char *run_dir) {
    DIR *folder = opendir(run_dir);
    if (folder == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat info;
        if (is_leftover(entry->d_name) &&
            fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode)) {
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    (void)closedir(folder);
}
