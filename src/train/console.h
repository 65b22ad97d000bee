/* What a person sees on stdout while training. Rank 0 only; other ranks pass no console (NULL is fine
 * everywhere).
 *
 * On a terminal: one live line with a bar, redrawn at most ten times a second, never wrapping, cleared before
 * other lines. Elsewhere: plain lines, the first step's at once and then one every few seconds. Showing is
 * not training: when stdout fails (a closed pipe) the console falls silent, and dl_console_failed tells.
 * SIGPIPE must be ignored. */
#ifndef DLTRAIN_TRAIN_CONSOLE_H
#define DLTRAIN_TRAIN_CONSOLE_H

#include "train/metrics.h"

typedef struct dl_console dl_console;

enum { DL_CONSOLE_MEMORY_ITEMS = 16 };

typedef struct dl_console_options {
    int fd;
    bool live; /* a terminal that understands carriage return and "erase line" */
    bool color;
    int width;             /* columns; 0: ask the terminal each time */
    double interval;       /* seconds between plain lines */
    double (*clock)(void); /* monotonic seconds */
} dl_console_options;

/* What suits `fd`: live when it is a terminal (and TERM is not "dumb"), coloured unless NO_COLOR is set. */
dl_console_options dl_console_options_for(int fd);

/* names[n_metrics] as in dl_metrics_create (borrowed). */
DL_NODISCARD dl_status dl_console_create(const dl_console_options *options, const char *const *names,
                                         int n_metrics, dl_console **out);
void dl_console_destroy(dl_console **console); /* clears a live line */

/* Lines that stay are also appended to this file (RUN/log.txt); -1: no longer. Borrowed. */
void dl_console_set_log(dl_console *console, int fd);

/* Whether stdout failed; from then on nothing is shown. */
bool dl_console_failed(const dl_console *console);

typedef struct dl_memory_item {
    const char *name; /* "activations" */
    size_t n_bytes;
} dl_memory_item;

typedef struct dl_banner {
    int ranks, hosts;
    const char *host_names;                /* "h1 (2 ranks), h2 (2 ranks)"; NULL: not shown */
    const char *device;                    /* a GPU, or why none is used; "" where there is nothing to say */
    const char *backend, *backend_version; /* "cpu", "oneDNN 2.6.3" ("" when it has none) */
    int threads, most_threads;  /* per rank: of the rank with the fewest, and with the most (0: all alike) */
    const char *grid;           /* "data=2" */
    const char *precision;      /* NULL: float32, not shown; else its name */
    const char *precision_note; /* how it is computed with */
    const char *model;
    int64_t parameters, trainable;
    double flop_per_sample; /* of one training step, forward and backward */
    const char *data;
    int64_t train_samples, valid_samples, test_samples; /* 0: no such split, left out */
    int n_memory;                                       /* bytes per rank by kind; the sum is shown too */
    dl_memory_item memory[DL_CONSOLE_MEMORY_ITEMS];
} dl_banner;

void dl_console_banner(dl_console *console, const dl_banner *banner);

/* One line of text: "an earlier run was moved to runs/mnist_cnn.1". */
void dl_console_note(dl_console *console, const char *format, ...) DL_PRINTF(2, 3);

/* Where the bar stands. */
typedef struct dl_bar {
    int64_t epoch, epochs;
    int64_t step, steps; /* of this epoch */
    double seconds_left; /* of the whole training; negative: unknown */
} dl_bar;

/* Whether dl_console_step would show something now: ask before reading numbers back for it. */
bool dl_console_due(const dl_console *console);

/* Shows the step when one is due (always the first one). Cheap otherwise. */
void dl_console_step(dl_console *console, const dl_bar *bar, const dl_step_report *report);

/* Progress of something else than training: dl_console_progress(c, "evaluating test", 12, 79). Live only. */
void dl_console_progress(dl_console *console, const char *what, int64_t done, int64_t total);

/* The line that stays of an epoch, with validation numbers where there are any. */
void dl_console_epoch(dl_console *console, int64_t epochs, const dl_epoch_report *report);

typedef struct dl_closing {
    const char *what;     /* "done", "stopped by signal 15" */
    dl_end_report end;    /* end.weights NULL: no last line (the run did not finish) */
    double samples_per_s; /* over the training time */
    double data_wait;     /* share of it, 0..1 */
    const char *run_dir;
    const char *next; /* what to try next: "dltrain eval runs/mnist_cnn"; NULL: nothing */
} dl_closing;

/* The closing summary; the last line is "weights HASH". */
void dl_console_close(dl_console *console, const dl_closing *closing);

#endif
