/* What is said once: the banner before training and the summary after it. */
#include "base/text.h"
#include "train/console_text.h"

#include <string.h>

static const double mebibyte = 1024.0 * 1024.0;

static const char *plural(int64_t n) {
    return n == 1 ? "" : "s";
}

static void show_machine(dl_console *console, const dl_banner *banner) {
    dl_console_text line = {.n = 0};
    dl_console_append(&line, "dltrain " DLTRAIN_VERSION "  %d rank%s on %d host%s  %s (", banner->ranks,
                      plural(banner->ranks), banner->hosts, plural(banner->hosts), banner->backend);
    if (banner->backend_version[0] != '\0') {
        dl_console_append(&line, "%s, ", banner->backend_version);
    }
    if (banner->most_threads > banner->threads) {
        dl_console_append(&line, "%d to %d threads per rank)", banner->threads, banner->most_threads);
    } else {
        dl_console_append(&line, "%d thread%s per rank)", banner->threads, plural(banner->threads));
    }
    dl_console_append(&line, "  grid %s", banner->grid);
    dl_console_line(console, line.data);
}

static void show_hosts(dl_console *console, const dl_banner *banner) {
    if (banner->hosts > 1 && banner->host_names != NULL) {
        dl_console_text line = {.n = 0};
        dl_console_append(&line, "hosts   %s", banner->host_names);
        dl_console_line(console, line.data);
    }
}

static void show_device(dl_console *console, const dl_banner *banner) {
    if (banner->device != NULL && banner->device[0] != '\0') {
        dl_console_text line = {.n = 0};
        dl_console_append(&line, "gpu     %s", banner->device);
        dl_console_line(console, line.data);
    }
}

static void show_precision(dl_console *console, const dl_banner *banner) {
    if (banner->precision != NULL) {
        dl_console_text line = {.n = 0};
        dl_console_append(&line, "types   %s: %s", banner->precision, banner->precision_note);
        dl_console_line(console, line.data);
    }
}

static void append_flop(dl_console_text *line, double flop) {
    static const char *const units[] = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"};
    size_t unit = 0;
    while (flop >= 1000 && unit + 1 < sizeof units / sizeof units[0]) {
        flop /= 1000;
        unit++;
    }
    dl_console_append(line, "   %.1f %s per training sample", flop, units[unit]);
}

static void show_model(dl_console *console, const dl_banner *banner, int name_width) {
    char number[32];
    dl_console_text line = {.n = 0};
    dl_console_append(&line, "model   %-*s   %s parameters", name_width, banner->model,
                      dl_thousands(banner->parameters, number));
    if (banner->trainable != banner->parameters) {
        dl_console_append(&line, " (%s trainable)", dl_thousands(banner->trainable, number));
    }
    if (banner->flop_per_sample > 0) {
        append_flop(&line, banner->flop_per_sample);
    }
    dl_console_line(console, line.data);
}

static void append_split(dl_console_text *line, int *n_shown, int64_t n_samples, const char *split) {
    char number[32];
    if (n_samples > 0) {
        dl_console_append(line, "%s%s %s", *n_shown > 0 ? ", " : "   ", dl_thousands(n_samples, number),
                          split);
        (*n_shown)++;
    }
}

static void show_data(dl_console *console, const dl_banner *banner, int name_width) {
    int n_shown = 0;
    dl_console_text line = {.n = 0};
    dl_console_append(&line, "data    %-*s", name_width, banner->data);
    append_split(&line, &n_shown, banner->train_samples, "train");
    append_split(&line, &n_shown, banner->valid_samples, "valid");
    append_split(&line, &n_shown, banner->test_samples, "test");
    dl_console_line(console, line.data);
}

static void show_memory(dl_console *console, const dl_banner *banner) {
    if (banner->n_memory == 0) {
        return;
    }
    double total = 0;
    for (int i = 0; i < banner->n_memory; i++) {
        total += (double)banner->memory[i].n_bytes / mebibyte;
    }
    dl_console_text line = {.n = 0};
    dl_console_append(&line, "memory  %.*f MiB per rank (", total < 1 ? 1 : 0, total);
    for (int i = 0; i < banner->n_memory; i++) {
        dl_console_append(&line, "%s%s %.1f", i > 0 ? ", " : "", banner->memory[i].name,
                          (double)banner->memory[i].n_bytes / mebibyte);
    }
    dl_console_append(&line, ")");
    dl_console_line(console, line.data);
}

void dl_console_banner(dl_console *console, const dl_banner *banner) {
    const size_t n_model = strlen(banner->model), n_data = strlen(banner->data);
    const int name_width = (int)(n_model > n_data ? n_model : n_data);
    show_machine(console, banner);
    show_device(console, banner);
    show_hosts(console, banner);
    show_precision(console, banner);
    show_model(console, banner, name_width);
    show_data(console, banner, name_width);
    show_memory(console, banner);
}

static void show_what(dl_console *console, const dl_closing *closing) {
    char number[32], duration[DL_DURATION_BYTES];
    const dl_end_report *end = &closing->end;
    dl_console_text line = {.n = 0};
    dl_console_append(&line, "%s: %s epoch%s", closing->what, dl_thousands(end->epoch, number),
                      plural(end->epoch));
    dl_console_append(&line, ", %s step%s", dl_thousands(end->step, number), plural(end->step));
    dl_console_append(&line, ", %s samples in %s", dl_thousands(end->samples, number),
                      dl_console_duration_text(end->seconds, duration));
    dl_console_append_speed(&line, closing->samples_per_s);
    dl_console_append(&line, "  %.1f %% of the time waiting for data", 100 * closing->data_wait);
    dl_console_line(console, line.data);
}

void dl_console_close(dl_console *console, const dl_closing *closing) {
    if (console == NULL) {
        return;
    }
    show_what(console, closing);
    if (closing->end.test.present) {
        dl_console_text line = {.n = 0};
        dl_console_append(&line, "test:");
        dl_console_append_names(&line, console, &closing->end.test);
        dl_console_line(console, line.data);
    }
    if (closing->end.best != NULL) {
        dl_console_note(console, "best:  epoch %lld, %s %.6g", (long long)closing->end.best_epoch,
                        closing->end.best, closing->end.best_value);
    }
    dl_console_note(console, "results: %s (weights.h5, %smetrics.jsonl, config.yaml, log.txt)",
                    closing->run_dir, closing->end.best != NULL ? "best.h5, " : "");
    if (closing->next != NULL) {
        dl_console_note(console, "next: %s", closing->next);
    }
    if (closing->end.weights != NULL) {
        dl_console_note(console, "weights %s", closing->end.weights);
    }
}
