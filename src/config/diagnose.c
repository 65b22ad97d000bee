/* Mistakes with their place: the line "FILE:LINE:COL: error: TEXT", the source line, a caret. */
#define _GNU_SOURCE
#include "config/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    MESSAGE_BYTES = 1024,
    WINDOW = 120, /* characters of a source line shown; longer lines are cut around the place */
    MAX_SHOWN = 100,
};

/* A source line. */
typedef struct line {
    const char *text;
    size_t n_bytes;
} line;

static line find_line(const dl_source *source, int number) {
    size_t begin = 0;
    for (int i = 1; i < number && begin < source->n_bytes; begin++) {
        const char c = source->text[begin];
        const bool pair = c == '\r' && begin + 1 < source->n_bytes && source->text[begin + 1] == '\n';
        i += (c == '\n' || c == '\r') && !pair;
    }
    size_t end = begin;
    while (end < source->n_bytes && source->text[end] != '\n' && source->text[end] != '\r') {
        end++;
    }
    return (line){.text = source->text + begin, .n_bytes = end - begin};
}

/* Appends one character so that it cannot steer a terminal: what is not printable becomes '?'. */
static dl_status append_printable(dl_text *out, const char *text, size_t n, uint32_t code) {
    const bool printable = n > 0 && (code >= 0x20 || code == '\t') && (code < 0x7f || code >= 0xa0) &&
                           code != 0xfeff && !(code >= 0x202a && code <= 0x202e);
    return printable ? dl_text_append_bytes(out, text, n) : dl_text_append_bytes(out, "?", 1);
}

static dl_status append_text(dl_text *out, const char *text) {
    const size_t n_bytes = strlen(text);
    for (size_t i = 0; i < n_bytes;) {
        uint32_t code = 0;
        const size_t n = dl_utf8_decode(text + i, n_bytes - i, &code);
        DL_RETURN_IF_ERROR(append_printable(out, text + i, n, code));
        i += n > 0 ? n : 1;
    }
    return DL_OK;
}

/* The line and, below it, blanks (tabs where the line has tabs) up to the caret. */
static dl_status append_line(dl_text *out, line source, int column) {
    const int first = column > WINDOW ? column - WINDOW / 2 : 1;
    dl_text below = {0};
    dl_status status = DL_OK;
    if (first > 1) {
        DL_GOTO_IF_ERROR(status, dl_text_append(out, "..."), done);
        DL_GOTO_IF_ERROR(status, dl_text_append(&below, "   "), done);
    }
    size_t i = 0;
    for (int at = 1; i < source.n_bytes && at < first + WINDOW; at++) {
        uint32_t code = 0;
        const size_t n = dl_utf8_decode(source.text + i, source.n_bytes - i, &code);
        if (at >= first) {
            DL_GOTO_IF_ERROR(status, append_printable(out, source.text + i, n, code), done);
        }
        if (at >= first && at < column) {
            DL_GOTO_IF_ERROR(status, dl_text_append_bytes(&below, code == '\t' ? "\t" : " ", 1), done);
        }
        i += n > 0 ? n : 1;
    }
    DL_GOTO_IF_ERROR(status,
                     dl_text_append(out, "%s\n%s^\n", i < source.n_bytes ? "..." : "",
                                    below.data == NULL ? "" : below.data),
                     done);
done:
    dl_text_free(&below);
    return status;
}

static dl_status append_mistake(dl_text *out, dl_place place, const char *message) {
    if (place.source == NULL) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "dltrain: error: "));
        DL_RETURN_IF_ERROR(append_text(out, message));
        return dl_text_append(out, "\n");
    }
    DL_RETURN_IF_ERROR(append_text(out, place.source->name));
    DL_RETURN_IF_ERROR(dl_text_append(out, ":%d:%d: error: ", place.line, place.column));
    DL_RETURN_IF_ERROR(append_text(out, message));
    DL_RETURN_IF_ERROR(dl_text_append(out, "\n"));
    return append_line(out, find_line(place.source, place.line), place.column);
}

/* FNV-1a over the message and its place: aliases can bring one mistake several times. */
static uint64_t mistake_hash(dl_place place, const char *message) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *c = message; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    }
    hash = (hash ^ (uint64_t)(unsigned)place.line) * 0x100000001b3u;
    hash = (hash ^ (uint64_t)(unsigned)place.column) * 0x100000001b3u;
    return (hash ^ (uint64_t)(uintptr_t)place.source) * 0x100000001b3u;
}

static bool seen_before(dl_diagnostics *diagnostics, uint64_t hash) {
    const int n = diagnostics->n_errors < DL_MAX_SEEN ? diagnostics->n_errors : DL_MAX_SEEN;
    for (int i = 0; i < n; i++) {
        if (diagnostics->seen[i] == hash) {
            return true;
        }
    }
    diagnostics->seen[diagnostics->n_errors % DL_MAX_SEEN] = hash;
    return false;
}

dl_status dl_diagnose(dl_diagnostics *diagnostics, dl_place place, const char *format, ...) {
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    diagnostics->n_calls++;
    if (seen_before(diagnostics, mistake_hash(place, message))) {
        return DL_OK;
    }
    diagnostics->n_errors++;
    if ((diagnostics->quiet && diagnostics->out == NULL) || diagnostics->n_errors > MAX_SHOWN) {
        return DL_OK;
    }
    dl_text text = {0};
    dl_status status = append_mistake(&text, place, message);
    if (status == DL_OK && diagnostics->n_errors == MAX_SHOWN) {
        status =
            dl_text_append(&text, "dltrain: error: %d mistakes; further ones are not shown\n", MAX_SHOWN);
    }
    if (status == DL_OK && diagnostics->out != NULL) {
        status = dl_text_append_bytes(diagnostics->out, text.data, text.size);
    } else if (status == DL_OK) {
        (void)fwrite(text.data, 1, text.size, stderr); /* unbuffered: one write, lines of ranks do not mix */
    }
    dl_text_free(&text);
    return status;
}

dl_status dl_diagnostics_finish(const dl_diagnostics *diagnostics) {
    if (diagnostics->n_errors == 0) {
        return DL_OK;
    }
    const dl_status status =
        dl_error_raise(DL_ERR_USAGE, __FILE__, __LINE__, __func__, "%d mistake%s in the configuration",
                       diagnostics->n_errors, diagnostics->n_errors == 1 ? "" : "s");
    dl_error_mark_reported();
    return status;
}
