#define _GNU_SOURCE
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, TRACE_BYTES = 4096 };

static struct {
    dl_log_level level;
    int rank, n_ranks, fd;
    char host[64];
} state = {.level = DL_LOG_WARN, .rank = 0, .n_ranks = 1, .fd = -1, .host = "?"};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const level_words[] = {"error", "warning", "info", "debug"};

dl_status dl_log_init(void) {
    const char *word = getenv("DLTRAIN_LOG");
    if (word == NULL || word[0] == '\0') {
        return DL_OK;
    }
    for (int i = 0; i < 4; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            state.level = (dl_log_level)i;
            return DL_OK;
        }
    }
    DL_RETURN_ERROR(DL_ERR_USAGE, "DLTRAIN_LOG is '%s'; it must be error, warn, info or debug", word);
}

void dl_log_set_rank(int rank, int n_ranks) {
    state.rank = rank;
    state.n_ranks = n_ranks;
    if (gethostname(state.host, sizeof state.host) != 0) {
        (void)snprintf(state.host, sizeof state.host, "?");
    }
    state.host[sizeof state.host - 1] = '\0';
    state.host[strcspn(state.host, ".")] = '\0';
}

void dl_log_set_file(int fd) {
    state.fd = fd;
}

bool dl_log_enabled(dl_log_level level) {
    return level <= state.level && (level == DL_LOG_ERROR || level == DL_LOG_DEBUG || state.rank == 0);
}

/* One write a line, so that lines of several ranks do not mix; a failing stderr is nobody's to report. */
static void write_line(const char *line, size_t n_bytes) {
    ssize_t ignored = write(STDERR_FILENO, line, n_bytes);
    if (state.fd >= 0) {
        ignored = write(state.fd, line, n_bytes);
    }
    (void)ignored;
}

static void emit(dl_log_level level, bool with_rank, const char *text) {
    char line[LINE_BYTES];
    int n = 0;
    if (with_rank) {
        n = snprintf(line, sizeof line, "dltrain: [rank %d, %s] %s: %s\n", state.rank, state.host,
                     level_words[level], text);
    } else {
        n = snprintf(line, sizeof line, "dltrain: %s: %s\n", level_words[level], text);
    }
    if (n < 0) {
        return;
    }
    if ((size_t)n >= sizeof line) {
        n = (int)sizeof line - 1;
        line[n - 1] = '\n';
    }
    write_line(line, (size_t)n);
}

void dl_log(dl_log_level level, const char *format, ...) {
    if (!dl_log_enabled(level)) {
        return;
    }
    char text[LINE_BYTES - 128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    emit(level, level == DL_LOG_DEBUG && state.n_ranks > 1, text);
}

void dl_log_error(const dl_error *error, bool with_rank) {
    if (!error->reported) {
        emit(DL_LOG_ERROR, with_rank, error->message);
    }
    if (dl_log_enabled(DL_LOG_DEBUG)) {
        char trace[TRACE_BYTES];
        dl_error_format_trace(error, trace, sizeof trace);
        write_line(trace, strlen(trace));
    }
}
