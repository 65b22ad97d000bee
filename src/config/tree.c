/* YAML texts to trees. The only user of libfyaml: its events go to the builder, its mistakes to our
 * diagnostics. */
#include "config/parse.h"

#include <libfyaml.h>
#include <string.h>

/* One text being parsed. */
typedef struct parse {
    const dl_source *source;
    dl_place start; /* of the part being parsed; the parser counts lines and columns from there */
    dl_pool *pool;
    dl_diagnostics *diagnostics;
    dl_tree_builder *builder;
    struct fy_diag *diag;
    struct fy_parser *parser;
    int n_documents;
    dl_place last; /* where the parser was */
} parse;

/* `back`: characters that stand before the mark and belong to the value, as a quote does. */
static dl_place mark_place(const parse *p, const struct fy_mark *mark, int back) {
    dl_place place = p->start;
    place.line += mark->line;
    place.column = mark->line == 0 ? p->start.column + mark->column : 1 + mark->column;
    place.column = place.column > back ? place.column - back : 1;
    return place;
}

static dl_place token_place(const parse *p, struct fy_token *token, int back) {
    const struct fy_mark *mark = token == NULL ? NULL : fy_token_start_mark(token);
    return mark == NULL ? dl_tree_builder_last_place(p->builder) : mark_place(p, mark, back);
}

static dl_status token_text(const parse *p, struct fy_token *token, const char **out) {
    size_t n = 0;
    const char *text = token == NULL ? NULL : fy_token_get_text(token, &n);
    DL_RETURN_ERROR_IF(token != NULL && text == NULL, DL_ERR_MEMORY, "cannot read a value of %s",
                       p->source->name);
    *out = "";
    return n == 0 ? DL_OK : dl_pool_copy(p->pool, text, n, out);
}

/* What can stand before a value: anchors are remembered, tags refused. */
static dl_status read_properties(parse *p, struct fy_token *anchor, struct fy_token *tag, const char **name) {
    *name = NULL;
    if (tag != NULL) {
        DL_RETURN_IF_ERROR(dl_diagnose(p->diagnostics, token_place(p, tag, 0), "YAML tags are not allowed"));
    }
    return anchor == NULL ? DL_OK : token_text(p, anchor, name);
}

static dl_status read_scalar(parse *p, const struct fy_event_scalar_data *data) {
    const enum fy_scalar_style style = fy_token_scalar_style(data->value);
    const char *text = NULL, *name = NULL;
    DL_RETURN_IF_ERROR(read_properties(p, data->anchor, data->tag, &name));
    DL_RETURN_IF_ERROR(token_text(p, data->value, &text));
    if (data->value != NULL && memchr(text, '\0', fy_token_get_text_length(data->value)) != NULL) {
        return dl_diagnose(p->diagnostics, token_place(p, data->value, 0),
                           "a value cannot contain the byte 0");
    }
    const int back = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED ? 1 : 0;
    return dl_tree_builder_scalar(p->builder, text, style != FYSS_PLAIN, token_place(p, data->value, back),
                                  name);
}

static dl_status read_alias(parse *p, struct fy_token *token) {
    const char *name = NULL;
    DL_RETURN_IF_ERROR(token_text(p, token, &name));
    return dl_tree_builder_alias(p->builder, name, token_place(p, token, 1));
}

static dl_status read_event(parse *p, const struct fy_event *event) {
    const char *name = NULL;
    switch (event->type) {
    case FYET_SCALAR:
        return read_scalar(p, &event->scalar);
    case FYET_ALIAS:
        return read_alias(p, event->alias.anchor);
    case FYET_SEQUENCE_START:
        DL_RETURN_IF_ERROR(
            read_properties(p, event->sequence_start.anchor, event->sequence_start.tag, &name));
        return dl_tree_builder_begin(p->builder, DL_NODE_LIST,
                                     token_place(p, event->sequence_start.sequence_start, 0), name);
    case FYET_MAPPING_START:
        DL_RETURN_IF_ERROR(read_properties(p, event->mapping_start.anchor, event->mapping_start.tag, &name));
        return dl_tree_builder_begin(p->builder, DL_NODE_MAP,
                                     token_place(p, event->mapping_start.mapping_start, 0), name);
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        return dl_tree_builder_end(p->builder);
    case FYET_DOCUMENT_START:
        if (++p->n_documents > 1) {
            return dl_diagnose(p->diagnostics, token_place(p, event->document_start.document_start, 0),
                               "a second document begins here; a configuration is one document");
        }
        return DL_OK;
    default:
        return DL_OK;
    }
}

/* The library's words for common mistakes, and ours. */
static const struct {
    const char *theirs, *ours;
} known_mistakes[] = {
    {"tab character may not be used as indentation", "a tab indents here; YAML wants blanks"},
    {"invalid multiline plain key", "a ':' is missing here, or the next line is indented too far"},
    {"invalid indentation in mapping", "the indentation fits no line above"},
    {"invalid nested block mapping on the same line",
     "a second ': ' in one line; put quotes around the text"},
    {"did not find expected key", "a 'KEY: VALUE' should stand here"},
    {"invalid scalar at the end of block sequence", "a list's '- ' should stand here"},
    {"double-quoted scalar without closing quote", "this quote is never closed"},
    {"single-quoted scalar without closing quote", "this quote is never closed"},
    {"wrongly indented double-quoted scalar",
     "this quote is not closed in its line, and the next is not indented"},
    {"wrongly indented single-quoted scalar",
     "this quote is not closed in its line, and the next is not indented"},
};

static const char *our_words(const char *theirs) {
    for (size_t i = 0; i < sizeof known_mistakes / sizeof known_mistakes[0]; i++) {
        if (strcmp(theirs, known_mistakes[i].theirs) == 0) {
            return known_mistakes[i].ours;
        }
    }
    return theirs;
}

/* The innermost bracket or brace that is still open; '\0' when there is none. */
static char open_bracket(const parse *p, dl_place *place) {
    for (int level = dl_tree_builder_depth(p->builder) - 1; level >= 0; level--) {
        *place = dl_tree_builder_open_place(p->builder, level);
        const size_t byte = dl_source_byte(*place);
        const char c = byte < p->source->n_bytes ? p->source->text[byte] : '\0';
        if (c == '[' || c == '{') {
            return c;
        }
    }
    return '\0';
}

/* The parser gave up: its first complaint is the cause. What the text's end shows to be open is reported
 * where it was opened. */
static dl_status report_syntax(parse *p) {
    void *iterator = NULL;
    const struct fy_diag_error *error = fy_diag_errors_iterate(p->diag, &iterator);
    if (error == NULL || error->msg == NULL) {
        return dl_diagnose(p->diagnostics, p->last, "this is not YAML");
    }
    dl_place place = p->last;
    const struct fy_mark *mark = error->fyt == NULL ? NULL : fy_token_start_mark(error->fyt);
    if (mark != NULL) {
        place = mark_place(p, mark, strstr(error->msg, "-quoted scalar") != NULL ? 1 : 0);
    }
    dl_place opened = {0};
    const char bracket = mark == NULL ? '\0' : open_bracket(p, &opened);
    if (bracket != '\0' && dl_source_byte(place) >= p->source->n_bytes) {
        return dl_diagnose(p->diagnostics, opened, "this '%c' is never closed", bracket);
    }
    if (bracket != '\0' && strncmp(error->msg, "missing comma", 13) == 0) {
        return dl_diagnose(p->diagnostics, place, "a comma is missing, or the '%c' in line %d is not closed",
                           bracket, opened.line);
    }
    if (bracket != '\0' && strncmp(error->msg, "mismatched flow", 15) == 0) {
        return dl_diagnose(p->diagnostics, place, "the '%c' in line %d must be closed first", bracket,
                           opened.line);
    }
    return dl_diagnose(p->diagnostics, place, "%s", our_words(error->msg));
}

static dl_status run(parse *p) {
    while (!dl_tree_builder_stopped(p->builder) && p->n_documents < 2) {
        struct fy_event *event = fy_parser_parse(p->parser);
        if (event == NULL) {
            return fy_parser_get_stream_error(p->parser) ? report_syntax(p) : DL_OK;
        }
        const struct fy_mark *mark = fy_event_end_mark(event);
        p->last = mark == NULL ? p->last : mark_place(p, mark, 0);
        const dl_status status = read_event(p, event);
        fy_parser_event_free(p->parser, event);
        DL_RETURN_IF_ERROR(status);
    }
    return DL_OK;
}

static dl_status open_parser(parse *p, const char *text, size_t n_bytes) {
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    p->diag = fy_diag_create(&diag_cfg);
    DL_RETURN_ERROR_IF(p->diag == NULL, DL_ERR_MEMORY, "cannot start the YAML parser");
    fy_diag_set_collect_errors(p->diag, true);
    const struct fy_parse_cfg cfg = {
        /* without its depth limit: the builder has one */
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DISABLE_DEPTH_LIMIT | FYPCF_JSON_NONE,
        .diag = p->diag,
    };
    p->parser = fy_parser_create(&cfg);
    DL_RETURN_ERROR_IF(p->parser == NULL || fy_parser_set_string(p->parser, text, n_bytes) != 0,
                       DL_ERR_MEMORY, "cannot start the YAML parser");
    return DL_OK;
}

dl_status dl_tree_parse_part(const dl_source *source, size_t first, dl_pool *pool,
                             dl_diagnostics *diagnostics, dl_node **root) {
    *root = NULL;
    bool ok = false;
    DL_RETURN_IF_ERROR(dl_source_check(source, first, diagnostics, &ok));
    if (!ok || first >= source->n_bytes) { /* the library wants at least a byte */
        return DL_OK;
    }
    parse p = {.source = source, .pool = pool, .diagnostics = diagnostics};
    p.start = p.last = dl_source_place(source, first);
    DL_RETURN_IF_ERROR(dl_tree_builder_create(pool, diagnostics, &p.builder));
    dl_status status = open_parser(&p, source->text + first, source->n_bytes - first);
    const int errors_before = diagnostics->n_errors;
    if (status == DL_OK) {
        status = run(&p);
    }
    const bool complete = p.parser != NULL && !fy_parser_get_stream_error(p.parser) && p.n_documents < 2;
    if (p.parser != NULL) {
        fy_parser_destroy(p.parser);
    }
    if (p.diag != NULL) {
        fy_diag_destroy(p.diag);
    }
    DL_RETURN_ERROR_IF(status == DL_OK && !complete && diagnostics->n_errors == errors_before,
                       DL_ERR_INTERNAL, "the YAML parser stopped in %s without a reason", source->name);
    *root = status == DL_OK && complete ? dl_tree_builder_root(p.builder) : NULL;
    return status;
}
