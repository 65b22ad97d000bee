#define _GNU_SOURCE
#include "train/console.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "train/console_text.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DEFAULT_WIDTH = 80, MAX_WIDTH = 10000, LONGEST_BAR = 30, SHORTEST_BAR = 5, PATIENCE_MS = 1000 };

static const double redraw_interval = 0.1, plain_interval = 5;

#define ERASE_TO_END "\033[K"
#define GREEN "\033[32m"
#define PLAIN "\033[0m"

struct dl_console {
    dl_console_options options;
    const char *const *names;
    int n_names;
    int log_fd; /* -1: none */
    bool failed;
    bool drawn; /* a live line is on the screen */
    bool shown; /* a step was shown */
    double last_shown;
};

/* Does a person see what is written to `fd` as it comes? mpirun gives its ranks pseudo-terminals whatever its
 * own output is; then that output counts: mpirun is the parent of a rank on its host. */
static bool is_terminal(int fd) {
    if (isatty(fd) != 1 || getenv("OMPI_COMM_WORLD_SIZE") == NULL) {
        return isatty(fd) == 1;
    }
    char link[64], target[64];
    (void)snprintf(link, sizeof link, "/proc/%ld/fd/%d", (long)getppid(), fd);
    const ssize_t n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

dl_console_options dl_console_options_for(int fd) {
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    const bool live = is_terminal(fd) && term != NULL && strcmp(term, "dumb") != 0;
    return (dl_console_options){.fd = fd,
                                .live = live,
                                .color = live && (no_color == NULL || no_color[0] == '\0'),
                                .interval = plain_interval,
                                .clock = dl_clock_seconds};
}

dl_status dl_console_create(const dl_console_options *options, const char *const *names, int n_metrics,
                            dl_console **out) {
    *out = NULL;
    DL_RETURN_ERROR_IF(n_metrics < 0 || n_metrics > DL_MAX_METRICS, DL_ERR_INTERNAL,
                       "%d metrics, at most %d fit", n_metrics, DL_MAX_METRICS);
    dl_console *console = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *console, &console));
    console->options = *options;
    console->log_fd = -1;
    console->names = names;
    console->n_names = n_metrics;
    *out = console;
    return DL_OK;
}

bool dl_console_failed(const dl_console *console) {
    return console != NULL && console->failed;
}

/* A terminal that somebody made non-blocking is waited for a little; any other failure ends the showing. */
static void emit(dl_console *console, const char *bytes, size_t n_bytes) {
    while (n_bytes > 0 && !console->failed) {
        const ssize_t n = write(console->options.fd, bytes, n_bytes);
        if (n > 0) {
            bytes += n;
            n_bytes -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = console->options.fd, .events = POLLOUT};
            if (poll(&ready, 1, PATIENCE_MS) == 0) {
                return;
            }
        } else if (n == 0 || errno != EINTR) {
            console->failed = true;
        }
    }
}

/* The same line for log.txt; a failing log is noticed where it matters, at metrics.jsonl beside it. */
static void log_line(int fd, const char *text) {
    char line[DL_CONSOLE_LINE_BYTES + 1];
    const int n = snprintf(line, sizeof line, "%s\n", text);
    const ssize_t ignored = write(fd, line, n > 0 && (size_t)n < sizeof line ? (size_t)n : strlen(line));
    (void)ignored;
}

void dl_console_set_log(dl_console *console, int fd) {
    if (console != NULL) {
        console->log_fd = fd;
    }
}

void dl_console_line(dl_console *console, const char *text) {
    if (console == NULL) {
        return;
    }
    char line[DL_CONSOLE_LINE_BYTES + 16];
    const int n = snprintf(line, sizeof line, "%s%s\n", console->drawn ? "\r" ERASE_TO_END : "", text);
    console->drawn = false;
    if (n > 0) {
        emit(console, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
    }
    if (console->log_fd >= 0) {
        log_line(console->log_fd, text);
    }
}

void dl_console_note(dl_console *console, const char *format, ...) {
    char text[DL_CONSOLE_LINE_BYTES];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= 0) {
        dl_console_line(console, text);
    }
}

void dl_console_destroy(dl_console **console) {
    if (*console == NULL) {
        return;
    }
    if ((*console)->drawn) {
        emit(*console, "\r" ERASE_TO_END, strlen("\r" ERASE_TO_END));
    }
    dl_free(console);
}

/* What the terminal says, else COLUMNS. */
static int asked_width(int fd) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    int64_t columns = 0;
    const char *text = getenv("COLUMNS");
    const bool known = text != NULL && dl_parse_int64(text, &columns) && columns > 0 && columns <= MAX_WIDTH;
    return known ? (int)columns : DEFAULT_WIDTH;
}

/* The last column stays free: writing into it makes some terminals wrap. */
static int usable_width(const dl_console *console) {
    const int width = console->options.width > 0 ? console->options.width : asked_width(console->options.fd);
    return width > 1 ? width - 1 : 1;
}

/* Appends the bar "[====>   ] " of `cells` cells. */
static void append_bar(dl_console_text *line, bool color, int cells, double share) {
    const int full = (int)(share * cells + 0.5);
    dl_console_append(line, "%s[", color ? GREEN : "");
    for (int i = 0; i < cells; i++) {
        dl_console_append(line, "%c", i < full - 1 ? '=' : i == full - 1 ? '>' : ' ');
    }
    dl_console_append(line, "]%s ", color ? PLAIN : "");
}

/* Redraws the live line: head, a bar as long as there is room for, tail; cut rather than wrapped. */
static void draw(dl_console *console, const char *head, const char *tail, double share) {
    const int width = usable_width(console);
    const int room = width - (int)(strlen(head) + strlen(tail) + strlen("[] "));
    dl_console_text line = {.n = 0};
    if (room >= SHORTEST_BAR) {
        dl_console_append(&line, "\r%s", head);
        append_bar(&line, console->options.color, room < LONGEST_BAR ? room : LONGEST_BAR, share);
        dl_console_append(&line, "%s" ERASE_TO_END, tail);
    } else {
        char both[2 * DL_CONSOLE_LINE_BYTES];
        (void)snprintf(both, sizeof both, "%s%s", head, tail);
        dl_console_append(&line, "\r%.*s" ERASE_TO_END, width, both);
    }
    emit(console, line.data, line.n);
    console->drawn = true;
}

bool dl_console_due(const dl_console *console) {
    if (console == NULL || console->failed) {
        return false;
    }
    const double interval = console->options.live ? redraw_interval : console->options.interval;
    return !console->shown || console->options.clock() - console->last_shown >= interval;
}

static void append_left(dl_console_text *tail, double seconds_left) {
    char duration[DL_DURATION_BYTES];
    if (seconds_left >= 0) {
        dl_console_append(tail, "  eta %s", dl_console_clock_text(seconds_left, duration));
    }
}

void dl_console_step(dl_console *console, const dl_bar *bar, const dl_step_report *report) {
    if (!dl_console_due(console)) {
        return;
    }
    dl_console_text head = {.n = 0}, tail = {.n = 0};
    dl_console_append(&head, "epoch %lld/%lld ", (long long)bar->epoch, (long long)bar->epochs);
    dl_console_append(&tail, "%lld/%lld", (long long)bar->step, (long long)bar->steps);
    dl_console_append_score(&tail, "", console->names, console->n_names, &report->train, 3);
    dl_console_append_speed(&tail, report->samples_per_s);
    append_left(&tail, bar->seconds_left);
    if (console->options.live) {
        draw(console, head.data, tail.data, bar->steps > 0 ? (double)bar->step / (double)bar->steps : 0);
    } else {
        dl_console_note(console, "%s step %s", head.data, tail.data);
    }
    console->shown = true;
    console->last_shown = console->options.clock();
}

void dl_console_progress(dl_console *console, const char *what, int64_t done, int64_t total) {
    if (console == NULL || console->failed || !console->options.live) {
        return;
    }
    const double now = console->options.clock();
    if (console->drawn && done < total && now - console->last_shown < redraw_interval) {
        return;
    }
    dl_console_text head = {.n = 0}, tail = {.n = 0};
    dl_console_append(&head, "%s ", what);
    dl_console_append(&tail, "%lld/%lld", (long long)done, (long long)total);
    draw(console, head.data, tail.data, total > 0 ? (double)done / (double)total : 0);
    console->last_shown = now;
}

void dl_console_epoch(dl_console *console, int64_t epochs, const dl_epoch_report *report) {
    if (console == NULL) {
        return;
    }
    char duration[DL_DURATION_BYTES];
    dl_console_text line = {.n = 0};
    dl_console_append(&line, "epoch %lld/%lld", (long long)report->epoch, (long long)epochs);
    dl_console_append_score(&line, "", console->names, console->n_names, &report->train, 4);
    dl_console_append_score(&line, "valid ", console->names, console->n_names, &report->valid, 4);
    dl_console_append_speed(&line, report->samples_per_s);
    dl_console_append(&line, "  after %s", dl_console_duration_text(report->seconds, duration));
    dl_console_line(console, line.data);
    console->last_shown = console->options.clock();
}

void dl_console_append_names(dl_console_text *line, const dl_console *console, const dl_score *score) {
    dl_console_append_score(line, "", console->names, console->n_names, score, 4);
}
