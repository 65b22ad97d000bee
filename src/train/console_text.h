/* Text of the console's lines; used by console*.c only. */
#ifndef DLTRAIN_TRAIN_CONSOLE_TEXT_H
#define DLTRAIN_TRAIN_CONSOLE_TEXT_H

#include "train/console.h"

enum { DL_CONSOLE_LINE_BYTES = 1024, DL_DURATION_BYTES = 32 };

/* A line being put together; what does not fit is cut. */
typedef struct dl_console_text {
    size_t n;
    char data[DL_CONSOLE_LINE_BYTES];
} dl_console_text;

void dl_console_append(dl_console_text *line, const char *format, ...) DL_PRINTF(2, 3);

/* "  PREFIXloss 0.1912  PREFIXacc 0.941"; nothing for an absent score. */
void dl_console_append_score(dl_console_text *line, const char *prefix, const char *const *names, int n_names,
                             const dl_score *score, int decimals);

/* "  11,203 samples/s"; nothing when the speed is not known. */
void dl_console_append_speed(dl_console_text *line, double samples_per_s);

/* "0:14", "1:02:03"; returns out. */
const char *dl_console_clock_text(double seconds, char out[DL_DURATION_BYTES]);

/* "5.7 s" below a minute, else as a clock shows it; returns out. */
const char *dl_console_duration_text(double seconds, char out[DL_DURATION_BYTES]);

/* Writes a whole line, clearing a live one first. */
void dl_console_line(dl_console *console, const char *text);

/* Appends a score with the console's metric names. */
void dl_console_append_names(dl_console_text *line, const dl_console *console, const dl_score *score);

#endif
