/* What of a configuration may change when a run goes on. */
#include "train/resume.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 16, KEY_BYTES = 512 };

/* A line of a printed configuration and the keys above it. */
typedef struct cursor {
    const char *at, *line;
    size_t n;
    int depth;
    size_t indent[MAX_DEPTH],
        length[MAX_DEPTH]; /* of each key above: its indent, the path's length with it */
    char key[KEY_BYTES];   /* "train.optimizer.adam" */
} cursor;

static bool next_line(cursor *c) {
    if (*c->at == '\0') {
        return false;
    }
    c->line = c->at;
    c->n = strcspn(c->at, "\n");
    c->at += c->n + (c->at[c->n] == '\n');
    return true;
}

/* Notes the line's key behind those above it; entries of lists belong to the list's key. */
static void note_key(cursor *c) {
    const size_t indent = strspn(c->line, " ");
    const char *name = c->line + indent;
    while (c->depth > 0 && c->indent[c->depth - 1] >= indent) {
        c->depth--;
    }
    const size_t above = c->depth > 0 ? c->length[c->depth - 1] : 0;
    const size_t n = strcspn(name, ":\n");
    c->key[above] = '\0';
    if (name[0] == '-' || name[n] != ':' || c->depth == MAX_DEPTH || above + n + 2 > KEY_BYTES) {
        return;
    }
    (void)snprintf(c->key + above, KEY_BYTES - above, "%s%.*s", above > 0 ? "." : "", (int)n, name);
    c->indent[c->depth] = indent;
    c->length[c->depth++] = strlen(c->key);
}

static bool is_below(const char *key, const char *section) {
    const size_t n = strlen(section);
    return strncmp(key, section, n) == 0 && (key[n] == '\0' || key[n] == '.');
}

static bool may_change(const char *key, bool any_length, const char *forced) {
    static const char *const free_keys[] = {"run",       "checkpoint", "parallel",     "backend",
                                            "data.path", "name",       "train.on_nan", "train.max_skips"};
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++) {
        if (is_below(key, free_keys[i])) {
            return true;
        }
    }
    return (any_length && (is_below(key, "train.epochs") || is_below(key, "train.max_steps"))) ||
           (forced != NULL && is_below(key, forced));
}

/* The value on a line: what stands behind the key, or the whole of an entry. */
static const char *value_of(const cursor *c, char out[256]) {
    const char *name = c->line + strspn(c->line, " ");
    const char *colon = memchr(c->line, ':', c->n);
    const char *value = name[0] == '-' || colon == NULL ? name : colon + 1 + (colon[1] == ' ');
    const int n = (int)(c->line + c->n - value);
    (void)snprintf(out, 256, "%.*s", n > 200 ? 200 : n, value);
    return out;
}

/* The next line that counts. */
static bool advance(cursor *c, bool any_length, const char *forced) {
    while (next_line(c)) {
        note_key(c);
        if (!may_change(c->key, any_length, forced)) {
            return true;
        }
    }
    return false;
}

dl_status dl_resume_compare(const char *before, const char *now, bool any_length, const char *forced) {
    cursor a = {.at = before}, b = {.at = now};
    for (;;) {
        const bool more_a = advance(&a, any_length, forced), more_b = advance(&b, any_length, forced);
        if (!more_a && !more_b) {
            return DL_OK;
        }
        if (more_a && more_b && a.n == b.n && memcmp(a.line, b.line, a.n) == 0) {
            continue;
        }
        char was[256] = "nothing", is[256] = "nothing";
        const char *key = more_b ? b.key : a.key;
        DL_RETURN_ERROR(
            DL_ERR_USAGE,
            "the run was begun with another %s: '%s', here it is '%s'. --force %s goes on all the "
            "same, --fresh starts anew",
            key, more_a ? value_of(&a, was) : was, more_b ? value_of(&b, is) : is, key);
    }
}
