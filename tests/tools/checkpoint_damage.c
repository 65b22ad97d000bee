/* Damages a small checkpoint in every way that is one change: each byte of each file changed twice, each cut
 * at a multiple of 64 bytes, bytes added, files missing, zeroed, or taken from another rank or step. Each
 * time the damage must be found, the next older checkpoint must be taken, and nothing may crash.
 *
 *     checkpoint_damage FOLDER SEED [N]       N: so many changed bytes, chosen at random; without it: all,
 * twice
 */
#define _GNU_SOURCE
#include "../unit/checkpoint_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OLDER = 1, NEWER = 2, RANKS = 2, MAX_FILES = 8, MAX_FILE_BYTES = 1 << 20 };

typedef struct file {
    char name[64], path[PATH_MAX];
    unsigned char *bytes;
    size_t n_bytes;
} file;

typedef struct trial_counts {
    long trials, silent, lost;
} trial_counts;

static char folder[PATH_MAX / 2];
static uint64_t state;

/* SplitMix64 (Steele et al. 2014). */
static uint64_t next_random(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void stop(const char *what) {
    fprintf(stderr, "checkpoint_damage: %s: %s\n", what, dl_error_last()->message);
    exit(1);
}

static void write_file(const char *path, const void *bytes, size_t n) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || close(fd) != 0) {
        stop(path);
    }
}

static int read_files(int64_t step, file *out) {
    char path[PATH_MAX];
    int n = 0;
    if (dl_checkpoint_path(folder, step, path, sizeof path) != DL_OK) {
        stop("path");
    }
    DIR *list = opendir(path);
    for (const struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        if (entry->d_name[0] == '.' || n == MAX_FILES) {
            continue;
        }
        file *each = &out[n++];
        dl_text text = {0};
        (void)snprintf(each->name, sizeof each->name, "%.60s", entry->d_name);
        if (dl_path_join(each->path, sizeof each->path, path, each->name) != DL_OK ||
            dl_file_read(each->path, MAX_FILE_BYTES, &text) != DL_OK) {
            stop("reading back");
        }
        each->bytes = (unsigned char *)text.data;
        each->n_bytes = text.size;
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return n;
}

/* The checkpoint as it is now must be refused, and the older one taken in its place. */
static void expect_found(trial_counts *counts, const file *where, const char *what, size_t at) {
    bool silent = false;
    char path[PATH_MAX];
    counts->trials++;
    if (dl_checkpoint_path(folder, NEWER, path, sizeof path) != DL_OK) {
        stop("path");
    }
    const dl_status status = sample_load(path);
    if (status == DL_OK || status == DL_ERR_DATA) {
        counts->silent++;
        printf("SILENT: %s, %s at %zu\n", where->name, what, at);
    } else if (dl_error_last()->message[0] == '\0') {
        counts->lost++;
        printf("NO MESSAGE: %s, %s at %zu\n", where->name, what, at);
    }
    if (status != DL_OK && counts->trials % 16 == 0 && (sample_newest(folder, &silent) != OLDER || silent)) {
        counts->lost++;
        printf("LOST: %s, %s at %zu: %s\n", where->name, what, at, dl_error_last()->message);
    }
}

static void change_byte(trial_counts *counts, const file *each, size_t at) {
    const unsigned char changed = each->bytes[at] ^ (unsigned char)(1 + next_random() % 255);
    const int fd = open(each->path, O_WRONLY);
    if (fd < 0 || pwrite(fd, &changed, 1, (off_t)at) != 1) {
        stop(each->path);
    }
    expect_found(counts, each, "byte changed", at);
    if (pwrite(fd, &each->bytes[at], 1, (off_t)at) != 1 || close(fd) != 0) {
        stop(each->path);
    }
}

static void change_bytes(trial_counts *counts, const file *files, int n, long n_wanted) {
    for (int i = 0; i < n; i++) {
        for (size_t at = 0; n_wanted < 0 && at < 2 * files[i].n_bytes; at++) {
            change_byte(counts, &files[i], at / 2);
        }
    }
    for (long k = 0; k < n_wanted; k++) {
        const file *each = &files[next_random() % (uint64_t)n];
        change_byte(counts, each, (size_t)(next_random() % each->n_bytes));
    }
}

static void cut(trial_counts *counts, const file *files, int n) {
    for (int i = 0; i < n; i++) {
        for (size_t at = 0; at < files[i].n_bytes; at += 64) {
            write_file(files[i].path, files[i].bytes, at);
            expect_found(counts, &files[i], "cut off", at);
        }
        write_file(files[i].path, files[i].bytes, files[i].n_bytes);
    }
}

/* The whole file replaced by something else. */
static void replace(trial_counts *counts, const file *each, const char *what, const void *bytes, size_t n) {
    if (n == each->n_bytes && memcmp(bytes, each->bytes, n) == 0) {
        return;
    }
    write_file(each->path, bytes, n);
    expect_found(counts, each, what, n);
    write_file(each->path, each->bytes, each->n_bytes);
}

static void replace_files(trial_counts *counts, const file *files, int n, const file *older, int n_older) {
    static unsigned char other[MAX_FILE_BYTES + 1];
    for (int i = 0; i < n; i++) {
        memset(other, 0, sizeof other);
        replace(counts, &files[i], "zeroed", other, files[i].n_bytes);
        memcpy(other, files[i].bytes, files[i].n_bytes);
        replace(counts, &files[i], "a byte added", other, files[i].n_bytes + 1);
        for (int k = 0; k < n; k++) {
            replace(counts, &files[i], "another file's", files[k].bytes, files[k].n_bytes);
        }
        for (int k = 0; k < n_older; k++) {
            replace(counts, &files[i], "another step's", older[k].bytes, older[k].n_bytes);
        }
        if (unlink(files[i].path) != 0) {
            stop(files[i].path);
        }
        expect_found(counts, &files[i], "missing", 0);
        write_file(files[i].path, files[i].bytes, files[i].n_bytes);
    }
}

int main(int argc, char **argv) {
    file files[MAX_FILES], older[MAX_FILES];
    trial_counts counts = {0};
    char path[PATH_MAX];
    if (argc < 3) {
        fprintf(stderr, "usage: checkpoint_damage FOLDER SEED [N]\n");
        return 2;
    }
    (void)snprintf(folder, sizeof folder, "%s", argv[1]);
    state = strtoull(argv[2], NULL, 10);
    if (sample_save(folder, OLDER, RANKS) != DL_OK || sample_save(folder, NEWER, RANKS) != DL_OK ||
        dl_checkpoint_path(folder, NEWER, path, sizeof path) != DL_OK) {
        stop("saving");
    }
    const int n = read_files(NEWER, files), n_older = read_files(OLDER, older);
    change_bytes(&counts, files, n, argc > 3 ? strtol(argv[3], NULL, 10) : -1);
    cut(&counts, files, n);
    replace_files(&counts, files, n, older, n_older);
    /* Nothing of the damage was left, or the trials were none. */
    if (n != RANKS + 1 || n_older != RANKS + 1 || sample_load(path) != DL_OK) {
        stop("loading the undamaged one");
    }
    printf("seed %s: %ld trials, %ld silent, %ld lost\n", argv[2], counts.trials, counts.silent, counts.lost);
    for (int i = 0; i < n; i++) {
        free(files[i].bytes);
    }
    for (int i = 0; i < n_older; i++) {
        free(older[i].bytes);
    }
    return counts.silent + counts.lost > 0;
}
