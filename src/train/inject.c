#define _GNU_SOURCE
#include "train/inject.h"

#include "base/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_DELAY_SECONDS = 1000000 };

static const char *const names[DL_N_INJECT_KINDS] = {
    [DL_INJECT_KILL] = "kill", [DL_INJECT_STOP] = "stop",     [DL_INJECT_DELAY] = "delay",
    [DL_INJECT_NAN] = "nan",   [DL_INJECT_ENOSPC] = "enospc",
};

/* "delay=2.5" or another kind's name alone. */
static bool parse_kind(const char *text, dl_injection *out) {
    const char *equals = strchr(text, '=');
    const size_t n = equals != NULL ? (size_t)(equals - text) : strlen(text);
    int kind = 0;
    while (kind < DL_N_INJECT_KINDS && (strlen(names[kind]) != n || memcmp(names[kind], text, n) != 0)) {
        kind++;
    }
    if (kind == DL_N_INJECT_KINDS || (equals != NULL) != (kind == DL_INJECT_DELAY)) {
        return false;
    }
    out->kind = (dl_inject_kind)kind;
    return equals == NULL || (dl_parse_double(equals + 1, &out->seconds) && out->seconds >= 0 &&
                              out->seconds <= MAX_DELAY_SECONDS);
}

/* "rank=R,step=N", in any order. */
static bool parse_place(char *text, dl_injection *out) {
    int64_t rank = -1;
    char *rest = NULL;
    out->step = 0;
    for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        int64_t *number = strncmp(word, "rank=", 5) == 0   ? &rank
                          : strncmp(word, "step=", 5) == 0 ? &out->step
                                                           : NULL;
        if (number == NULL || !dl_parse_int64(word + 5, number)) {
            return false;
        }
    }
    const bool fits = rank >= 0 && rank < INT32_MAX && out->step > 0;
    out->rank = fits ? (int)rank : -1;
    return fits;
}

static dl_status parse(const char *word, int n_ranks, dl_injection *out) {
    char text[DL_INJECT_BYTES];
    const bool short_enough = snprintf(text, sizeof text, "%s", word) < (int)sizeof text;
    char *at = strchr(text, '@');
    if (at != NULL) {
        *at = '\0';
    }
    DL_RETURN_ERROR_IF(
        !short_enough || at == NULL || !parse_kind(text, out) || !parse_place(at + 1, out), DL_ERR_USAGE,
        "--inject %.90s is not understood; it is KIND@rank=R,step=N, where KIND is kill, stop, "
        "delay=SECONDS, nan or enospc and steps count from 1",
        word);
    DL_RETURN_ERROR_IF(out->rank >= n_ranks, DL_ERR_USAGE,
                       "--inject %s: there is no rank %d; the last one is %d", word, out->rank, n_ranks - 1);
    (void)snprintf(out->text, sizeof out->text, "%s", word);
    return DL_OK;
}

dl_status dl_inject_parse(const char *const *words, int n, int rank, int n_ranks, dl_injections *out) {
    const char *allowed = getenv("DLTRAIN_INJECT");
    *out = (dl_injections){.rank = rank};
    DL_RETURN_ERROR_IF(n > 0 && (allowed == NULL || strcmp(allowed, "1") != 0), DL_ERR_USAGE,
                       "--inject makes a job fail on purpose; set DLTRAIN_INJECT=1 if you mean it");
    DL_RETURN_ERROR_IF(n > DL_MAX_INJECTIONS, DL_ERR_USAGE, "--inject may be given %d times, not %d",
                       DL_MAX_INJECTIONS, n);
    for (; out->n < n; out->n++) {
        DL_RETURN_IF_ERROR(parse(words[out->n], n_ranks, &out->each[out->n]));
    }
    return DL_OK;
}

static void wait_for(double seconds) {
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void act(dl_injections *injections, const dl_injection *what, dl_step_block *block) {
    switch (what->kind) {
    case DL_INJECT_KILL:
        (void)raise(SIGKILL);
        break;
    case DL_INJECT_STOP:
        (void)raise(SIGSTOP);
        break;
    case DL_INJECT_DELAY:
        wait_for(what->seconds);
        break;
    case DL_INJECT_NAN:
        block->control[DL_CONTROL_NONFINITE] = 1;
        break;
    case DL_INJECT_ENOSPC:
        injections->disk_is_full = true;
        break;
    case DL_N_INJECT_KINDS:
        break;
    }
}

void dl_inject_step(dl_injections *injections, dl_step_block *block) {
    for (int i = 0; i < injections->n; i++) {
        const dl_injection *what = &injections->each[i];
        if (what->rank == injections->rank && what->step == block->step) {
            act(injections, what, block);
        }
    }
}

int dl_inject_nan_rank(const dl_injections *injections, int64_t step) {
    for (int i = 0; i < injections->n; i++) {
        const dl_injection *what = &injections->each[i];
        if (what->kind == DL_INJECT_NAN && what->step == step) {
            return what->rank;
        }
    }
    return -1;
}

bool dl_inject_full_disk(dl_injections *injections) {
    const bool full = injections->disk_is_full;
    injections->disk_is_full = false;
    return full;
}
