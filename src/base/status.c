#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local dl_error last_error;

const char *dl_code_text(dl_code code) {
    switch (code) {
#define DL_STATUS_TEXT(name, number, text)                                                                   \
    case name:                                                                                               \
        return text;
        DL_STATUS_LIST(DL_STATUS_TEXT)
#undef DL_STATUS_TEXT
    }
    return "unknown";
}

static void add_frame(const char *file, int line, const char *function, const char *format, va_list args) {
    if (last_error.n_frames >= DL_ERROR_FRAMES) {
        return;
    }
    dl_error_frame *frame = &last_error.frame[last_error.n_frames++];
    frame->file = file;
    frame->line = line;
    frame->function = function;
    (void)vsnprintf(frame->doing, sizeof frame->doing, format, args);
}

dl_status dl_error_raise(dl_code code, const char *file, int line, const char *function, const char *format,
                         ...) {
    char message[DL_ERROR_MESSAGE_BYTES]; /* the arguments may point into the record being replaced */
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    last_error.code = code;
    last_error.reported = false;
    last_error.n_frames = 0;
    memcpy(last_error.message, message, sizeof message);
    va_start(args, format);
    add_frame(file, line, function, format, args);
    va_end(args);
    return code;
}

dl_status dl_error_add_frame(dl_status code, const char *file, int line, const char *function,
                             const char *format, ...) {
    va_list args;
    va_start(args, format);
    add_frame(file, line, function, format, args);
    va_end(args);
    return code;
}

const dl_error *dl_error_last(void) {
    return &last_error;
}

void dl_error_mark_reported(void) {
    last_error.reported = true;
}

void dl_error_take(dl_error *out) {
    *out = last_error;
}

dl_status dl_error_restore(const dl_error *error) {
    last_error = *error;
    return error->code;
}

void dl_error_format_trace(const dl_error *error, char *out, size_t n_bytes) {
    size_t used = 0;
    if (n_bytes > 0) {
        out[0] = '\0';
    }
    for (int i = 0; i < error->n_frames; i++) {
        const dl_error_frame *frame = &error->frame[i];
        const int n = snprintf(out + used, n_bytes - used, "    %s:%d %s: %s\n", frame->file, frame->line,
                               frame->function, frame->doing);
        if (n < 0 || (size_t)n >= n_bytes - used) {
            return;
        }
        used += (size_t)n;
    }
}
