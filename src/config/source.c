/* Texts and places in them: UTF-8, lines, columns. */
#include "config/parse.h"

#include <string.h>

enum { MAX_TAG_BYTES = 1000 };

dl_status dl_pool_copy(dl_pool *pool, const char *text, size_t n_bytes, const char **out) {
    char *copy = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, n_bytes + 1, 1, &copy));
    if (n_bytes > 0) {
        memcpy(copy, text, n_bytes);
    }
    *out = copy;
    return DL_OK;
}

/* Goes over the text up to a byte, or up to a line and column. Lines end with \n, \r\n or \r alone, as YAML
 * says. */
static size_t walk_to(const dl_source *source, size_t byte, int line, int column, dl_place *place) {
    *place = (dl_place){.source = source, .line = 1, .column = 1};
    size_t i = 0;
    while (i < byte && i < source->n_bytes && !(place->line == line && place->column == column)) {
        uint32_t code = 0;
        const size_t n = dl_utf8_decode(source->text + i, source->n_bytes - i, &code);
        i += n > 0 ? n : 1;
        const bool pair = code == '\r' && i < source->n_bytes && source->text[i] == '\n';
        if ((code == '\n' || code == '\r') && !pair) {
            place->line++;
            place->column = 1;
        } else {
            place->column++;
        }
    }
    return i;
}

dl_place dl_source_place(const dl_source *source, size_t byte) {
    dl_place place;
    (void)walk_to(source, byte, 0, 0, &place);
    return place;
}

size_t dl_source_byte(dl_place place) {
    dl_place ignored;
    return walk_to(place.source, place.source->n_bytes, place.line, place.column, &ignored);
}

static bool is_forbidden(uint32_t code) {
    if (code < 0x20) {
        return code != '\t' && code != '\n' && code != '\r';
    }
    return (code >= 0x7f && code < 0xa0) || code == 0xfeff || code == 0xfffe || code == 0xffff;
}

/* Directives and very long tags are refused here, before the parser: nothing needs them, and libfyaml 0.7
 * takes a time that grows with the square of their length. */
static const char *find_hazard(const dl_source *source, size_t first, size_t *byte) {
    size_t tag = SIZE_MAX; /* where a word with '!' in it has its first one */
    for (size_t i = first; i < source->n_bytes; i++) {
        const char c = source->text[i], before = i == first ? '\n' : source->text[i - 1];
        *byte = i;
        if (c == '%' && (before == '\n' || before == '\r')) {
            return "YAML directives are not allowed";
        }
        if (strchr(" \t\r\n", c) != NULL) {
            tag = SIZE_MAX;
        } else if (c == '!' && tag == SIZE_MAX) {
            tag = i;
        }
        if (tag != SIZE_MAX && i - tag > MAX_TAG_BYTES) {
            *byte = tag;
            return "YAML tags are not allowed";
        }
    }
    return NULL;
}

dl_status dl_source_check(const dl_source *source, size_t first, dl_diagnostics *diagnostics, bool *ok) {
    *ok = true;
    for (size_t i = first; i < source->n_bytes;) {
        uint32_t code = 0;
        const size_t n = dl_utf8_decode(source->text + i, source->n_bytes - i, &code);
        if (n > 0 && !is_forbidden(code)) {
            i += n;
            continue;
        }
        *ok = false;
        const dl_place place = dl_source_place(source, i);
        if (n > 0) {
            return dl_diagnose(diagnostics, place, "control character U+%04X; only text is allowed here",
                               (unsigned)code);
        }
        return dl_diagnose(diagnostics, place, "byte 0x%02X is not UTF-8; save the file as UTF-8",
                           (unsigned)(unsigned char)source->text[i]);
    }
    size_t byte = 0;
    const char *hazard = find_hazard(source, first, &byte);
    if (hazard != NULL) {
        *ok = false;
        return dl_diagnose(diagnostics, dl_source_place(source, byte), "%s", hazard);
    }
    return DL_OK;
}
