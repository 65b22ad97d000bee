/* Checkpoints whose system calls and allocations fail, one after the other. Run with call_fail.so preloaded.
 *
 * "all FOLDER STRIDE FIRST": for every i the i-th call of saving, deleting, cleaning up and loading fails
 * (once; from then on), is cut short, or kills the process; of allocations each STRIDE-th, from number FIRST
 * on.
 *
 * "trace FOLDER FILE": saves and deletes; what happens to files goes into FILE.
 *
 * "check": reads folders from stdin, and says of each: the newest step that loads, and how many are damaged,
 * told or not.
 *
 * Whatever fails: the older checkpoint or the newer loads, success was said only of what loads, a failure has
 * a message, and afterwards the next job cleans up and saves. */
#define _GNU_SOURCE
#include "../unit/checkpoint_support.h"
#include "call_fail.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 2, SAID_DONE = 0, SAID_FAILED = 1, NO_MESSAGE = 3, NOT_PREPARED = 4, MAX_CALLS = 100000 };

static void (*arm)(call_fail_how how, unsigned kinds, long at, int error);
static long (*disarm)(void);
static void (*start_trace)(int fd);
static void (*mark)(const char *text);

/* --- what is done while calls fail --- */

static dl_status save_second(const char *folder) {
    return sample_save(folder, 2, RANKS);
}

static dl_status delete_oldest(const char *folder) {
    int n = 0;
    return dl_checkpoint_prune(folder, &(dl_checkpoint_keep){.newest = 1}, NULL, &n);
}

static dl_status clean_up(const char *folder) {
    int n = 0;
    return dl_checkpoint_clean(folder, &n);
}

static dl_status load_newest(const char *folder) {
    char path[PATH_MAX];
    DL_RETURN_IF_ERROR(dl_checkpoint_path(folder, 1, path, sizeof path));
    return sample_load(path);
}

static dl_status half_save(const char *folder) {
    dl_text part = {0};
    const dl_status status = sample_write_part(folder, 2, 0, RANKS, &part);
    dl_text_free(&part);
    return status;
}

static const struct scenario {
    const char *name;
    dl_status (*prepare)(const char *folder); /* after step 1 was saved; may be NULL */
    dl_status (*act)(const char *folder);
    int64_t after; /* newest step that must load when it succeeded, */
    int64_t least; /* and at least this one when it did not */
} scenarios[] = {
    {"save", NULL, save_second, 2, 1},
    {"delete", save_second, delete_oldest, 2, 2},
    {"clean", half_save, clean_up, 1, 1},
    {"load", NULL, load_newest, 1, 1},
};

/* --- one trial --- */

/* In a process of its own: prepares, then acts with the i-th call failing. */
static void act(const struct scenario *s, const char *folder, call_fail_how how, unsigned kinds, long at,
                int error) {
    if (sample_save(folder, 1, RANKS) != DL_OK || (s->prepare != NULL && s->prepare(folder) != DL_OK)) {
        _exit(NOT_PREPARED);
    }
    arm(how, kinds, at, error);
    const dl_status status = s->act(folder);
    (void)disarm();
    if (status == DL_OK) {
        _exit(SAID_DONE);
    }
    const char *message = dl_error_last()->message;
    const bool told = message[0] != '\0' && (status != DL_ERR_IO || strstr(message, folder) != NULL);
    if (!told || (status != DL_ERR_IO && status != DL_ERR_MEMORY && status != DL_ERR_CORRUPT)) {
        fprintf(stderr, "status %d: %s\n", (int)status, message);
        _exit(NO_MESSAGE);
    }
    _exit(SAID_FAILED);
}

/* Removes a folder that holds files and folders, two deep. */
static void remove_tree(const char *folder) {
    char path[PATH_MAX];
    DIR *list = opendir(folder);
    for (const struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        if (dl_path_join(path, sizeof path, folder, entry->d_name) == DL_OK &&
            strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(path) != 0) {
            remove_tree(path);
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    (void)rmdir(folder);
}

static long n_deaths; /* in libhdf5, of missing memory */

/* What the next job finds and does. */
static const char *judge(const struct scenario *s, const char *folder, int code, bool killed) {
    bool silent = false;
    int n = 0;
    if (!killed && code != SAID_DONE && code != SAID_FAILED) {
        return code == NO_MESSAGE ? "no message, or a wrong status" : "crashed, or was not prepared";
    }
    int64_t newest = sample_newest(folder, &silent);
    if (silent || newest < (code == SAID_DONE && !killed ? s->after : s->least)) {
        return silent ? "damage was accepted" : "no checkpoint, or less than was said, can be loaded";
    }
    if (sample_n_damaged(folder) > 0) {
        return "a manifest without all its parts is left";
    }
    if (dl_checkpoint_clean(folder, &n) != DL_OK || sample_newest(folder, &silent) != newest) {
        return "cleaning up fails, or lost one";
    }
    if (newest == 1 && sample_save(folder, 2, RANKS) != DL_OK) {
        return "the same step cannot be saved afterwards";
    }
    if (sample_save(folder, 3, RANKS) != DL_OK || sample_newest(folder, &silent) != 3) {
        return "the next step cannot be saved";
    }
    return NULL;
}

static bool try(const struct scenario *s, const char *folder, call_fail_how how, unsigned kinds, long at,
                int error) {
    int state = 0;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        exit(2);
    }
    char checkpoints[PATH_MAX];
    (void)snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", folder);
    const pid_t child = fork();
    if (child == 0) {
        act(s, checkpoints, how, kinds, at, error);
    }
    if (child < 0 || waitpid(child, &state, 0) != child) {
        exit(2);
    }
    /* libhdf5 1.10.8 may crash or exit where it gets no memory. The files must be well all the same. */
    const bool by_us =
        WIFSIGNALED(state)
            ? how == CALL_FAIL_KILL || how == CALL_FAIL_CUT || kinds == CALL_FAIL_LIBRARY_MEMORY
            : kinds == CALL_FAIL_LIBRARY_MEMORY && WEXITSTATUS(state) > NOT_PREPARED;
    n_deaths += by_us && kinds == CALL_FAIL_LIBRARY_MEMORY;
    const char *wrong = judge(s, checkpoints, WIFEXITED(state) ? WEXITSTATUS(state) : -1, by_us);
    if (wrong != NULL) {
        printf("WRONG: %s, how %d, kinds %u, call %ld, errno %d: %s (wait status %#x): %s\n", s->name,
               (int)how, kinds, at, error, wrong, (unsigned)state, dl_error_last()->message);
    }
    remove_tree(checkpoints);
    return wrong == NULL;
}

static long count_calls(const struct scenario *s, const char *folder, unsigned kinds) {
    char checkpoints[PATH_MAX];
    (void)mkdir(folder, 0700);
    (void)snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", folder);
    if (sample_save(checkpoints, 1, RANKS) != DL_OK ||
        (s->prepare != NULL && s->prepare(checkpoints) != DL_OK)) {
        return -1;
    }
    arm(CALL_FAIL_NOT, kinds, 0, 0);
    const dl_status status = s->act(checkpoints);
    const long n = disarm();
    remove_tree(checkpoints);
    return status == DL_OK ? n : -1;
}

static int try_all(const char *folder, long stride, long first) {
    static const struct {
        call_fail_how how;
        unsigned kinds;
        int error;
    } ways[] = {
        {CALL_FAIL_ONCE, CALL_FAIL_FILES, ENOSPC},
        {CALL_FAIL_ONCE, CALL_FAIL_FILES, EIO},
        {CALL_FAIL_ONCE, CALL_FAIL_FILES, EINTR},
        {CALL_FAIL_ALWAYS, CALL_FAIL_FILES, ENOSPC},
        {CALL_FAIL_ALWAYS, CALL_FAIL_FILES, EIO},
        {CALL_FAIL_SHORT, CALL_FAIL_FILES, 0},
        {CALL_FAIL_KILL, CALL_FAIL_FILES, 0},
        {CALL_FAIL_CUT, CALL_FAIL_FILES, 0},
        {CALL_FAIL_ONCE, CALL_FAIL_LIBRARY_MEMORY, ENOMEM},
        {CALL_FAIL_ONCE, CALL_FAIL_MEMORY, ENOMEM},
        {CALL_FAIL_ALWAYS, CALL_FAIL_MEMORY, ENOMEM},
    };
    long n_trials = 0, n_wrong = 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++) {
            const long n = count_calls(&scenarios[i], folder, ways[k].kinds);
            if (n <= 0 || n > MAX_CALLS) {
                printf("%s: %ld calls: %s\n", scenarios[i].name, n, dl_error_last()->message);
                return 1;
            }
            const bool each = ways[k].kinds == CALL_FAIL_FILES;
            for (long at = each ? 1 : 1 + first % stride; at <= n; at += each ? 1 : stride, n_trials++) {
                n_wrong += !try(&scenarios[i], folder, ways[k].how, ways[k].kinds, at, ways[k].error);
            }
            printf("%s, way %zu: %ld calls\n", scenarios[i].name, k, n);
        }
    }
    printf("%ld trials, %ld wrong; libhdf5 ended %ld of them itself, without memory\n", n_trials, n_wrong,
           n_deaths);
    return n_wrong > 0;
}

/* --- for the replay --- */

static int write_trace(const char *folder, const char *file) {
    const int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    start_trace(fd);
    bool good = fd >= 0 && sample_save(folder, 1, RANKS) == DL_OK;
    mark("committed 1");
    good = good && sample_save(folder, 2, RANKS) == DL_OK;
    mark("committed 2");
    good = good && delete_oldest(folder) == DL_OK;
    good = good && sample_save(folder, 3, RANKS) == DL_OK;
    mark("committed 3");
    start_trace(-1);
    return good && close(fd) == 0 ? 0 : 1;
}

static int check_folders(void) {
    char line[PATH_MAX];
    while (fgets(line, sizeof line, stdin) != NULL) {
        bool silent = false;
        line[strcspn(line, "\n")] = '\0';
        const int64_t newest = sample_newest(line, &silent);
        printf("%lld %d\n", (long long)newest, (int)silent + sample_n_damaged(line));
        (void)fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv) {
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    void *const self = dlopen(NULL, RTLD_NOW);
    *(void **)&arm = dlsym(self, "call_fail_arm");
    *(void **)&disarm = dlsym(self, "call_fail_disarm");
    *(void **)&start_trace = dlsym(self, "call_fail_trace");
    *(void **)&mark = dlsym(self, "call_fail_mark");
    if (argc == 2 && strcmp(argv[1], "check") == 0) {
        return check_folders();
    }
    if (arm == NULL || disarm == NULL || start_trace == NULL || mark == NULL) {
        fprintf(stderr, "checkpoint_calls: call_fail.so is not preloaded\n");
        return 2;
    }
    if (argc == 5 && strcmp(argv[1], "all") == 0) {
        return try_all(argv[2], strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10));
    }
    if (argc == 4 && strcmp(argv[1], "trace") == 0) {
        return write_trace(argv[2], argv[3]);
    }
    fprintf(stderr, "usage: checkpoint_calls all FOLDER STRIDE FIRST | trace FOLDER FILE | check\n");
    return 2;
}
