#include "train/console_text.h"

#include "base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dl_console_append(dl_console_text *line, const char *format, ...) {
    const size_t room = sizeof line->data - line->n;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line->data + line->n, room, format, args);
    va_end(args);
    if (n > 0) {
        line->n += (size_t)n < room ? (size_t)n : room - 1;
    }
}

/* Four decimals suit most losses; very small and very large ones keep their leading digits. */
static void append_figure(dl_console_text *line, const char *prefix, const char *name, double value) {
    const bool usual = value == 0 || (fabs(value) >= 1e-3 && fabs(value) < 1e5);
    dl_console_append(line, usual ? "  %s%s %.4f" : "  %s%s %.3e", prefix, name, value);
}

void dl_console_append_score(dl_console_text *line, const char *prefix, const char *const *names, int n_names,
                             const dl_score *score, int decimals) {
    if (!score->present) {
        return;
    }
    append_figure(line, prefix, "loss", score->loss);
    for (int i = 0; i < n_names; i++) {
        if (strstr(names[i], "accuracy") == NULL) {
            append_figure(line, prefix, names[i], score->metric[i]);
            continue;
        }
        const char *name = strcmp(names[i], "accuracy") == 0 ? "acc" : names[i];
        dl_console_append(line, "  %s%s %.*f", prefix, name, decimals, score->metric[i]);
    }
}

void dl_console_append_speed(dl_console_text *line, double samples_per_s) {
    char number[32];
    if (samples_per_s >= 100 && samples_per_s < 1e15) {
        dl_console_append(line, "  %s samples/s", dl_thousands((int64_t)(samples_per_s + 0.5), number));
    } else if (samples_per_s > 0 && samples_per_s < 100) {
        dl_console_append(line, "  %.3g samples/s", samples_per_s);
    }
}

const char *dl_console_clock_text(double seconds, char out[DL_DURATION_BYTES]) {
    const long long s = seconds < 1e12 ? (long long)(seconds + 0.5) : (long long)1e12;
    if (s < 3600) {
        (void)snprintf(out, DL_DURATION_BYTES, "%lld:%02lld", s / 60, s % 60);
    } else {
        (void)snprintf(out, DL_DURATION_BYTES, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    }
    return out;
}

const char *dl_console_duration_text(double seconds, char out[DL_DURATION_BYTES]) {
    if (seconds < 60) {
        (void)snprintf(out, DL_DURATION_BYTES, "%.1f s", seconds);
        return out;
    }
    return dl_console_clock_text(seconds, out);
}
