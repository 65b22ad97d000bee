/* What of a configuration may change when a run goes on. Printed configurations are read as keys with values:
 * a list is one value, and so is nothing at all. */
#include "train/resume.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 16, KEY_BYTES = 256, VALUE_BYTES = 80, MAX_TOLD = 8 };

/* "train.optimizer.adam.beta_1", and what stands behind it, or below it in a list. */
typedef struct entry {
    char key[KEY_BYTES];
    const char *text;
    size_t n;
} entry;

typedef struct entries {
    int n;
    entry *entry;
} entries;

/* --- reading --- */

/* The keys above a line: their indents, and the path's length with each. */
typedef struct path {
    int depth;
    size_t indent[MAX_DEPTH], length[MAX_DEPTH];
    char key[KEY_BYTES];
} path;

static void enter(path *p, const char *name, size_t n, size_t indent) {
    while (p->depth > 0 && p->indent[p->depth - 1] >= indent) {
        p->depth--;
    }
    const size_t above = p->depth > 0 ? p->length[p->depth - 1] : 0;
    p->key[above] = '\0';
    if (p->depth < MAX_DEPTH && above + n + 2 <= KEY_BYTES) {
        (void)snprintf(p->key + above, KEY_BYTES - above, "%s%.*s", above > 0 ? "." : "", (int)n, name);
        p->indent[p->depth] = indent;
        p->length[p->depth++] = strlen(p->key);
    }
}

/* Lines of a list begin with its first dash; it ends where a line stands further out. */
static void add_line(entries *all, const char *key, const char *text, size_t n, bool goes_on) {
    if (goes_on && all->n > 0 && strcmp(all->entry[all->n - 1].key, key) == 0) {
        all->entry[all->n - 1].n = (size_t)(text + n - all->entry[all->n - 1].text);
        return;
    }
    entry *e = &all->entry[all->n++];
    (void)snprintf(e->key, sizeof e->key, "%s", key);
    e->text = text;
    e->n = n;
}

static dl_status read_entries(const char *config, entries *out) {
    path p = {.depth = 0};
    size_t n_lines = 1, list = 0; /* the indent of the list that a line may be of, 0: none */
    for (const char *c = config; *c != '\0'; c++) {
        n_lines += *c == '\n';
    }
    DL_RETURN_IF_ERROR(dl_alloc(n_lines, sizeof *out->entry, &out->entry));
    for (const char *line = config; *line != '\0';) {
        const size_t length = strcspn(line, "\n"), indent = strspn(line, " ");
        const char *name = line + indent;
        const size_t n = strcspn(name, ":\n");
        list = indent < list ? 0 : name[0] == '-' && list == 0 ? indent : list;
        if (list > 0) {
            add_line(out, p.key, name, length - indent, true);
        } else if (name[n] == ':') {
            enter(&p, name, n, indent);
            const size_t before = indent + n + 1 + (name[n + 1] == ' ');
            if (before < length) {
                add_line(out, p.key, line + before, length - before, false);
            }
        }
        line += length + (line[length] == '\n');
    }
    return DL_OK;
}

/* --- comparing --- */

static bool is_below(const char *key, const char *section) {
    const size_t n = strlen(section);
    return strncmp(key, section, n) == 0 && (key[n] == '\0' || key[n] == '.');
}

static bool may_change(const char *key, const dl_resume_freedom *freedom) {
    static const char *const free_keys[] = {"run",       "checkpoint", "parallel",     "backend",
                                            "data.path", "name",       "train.on_nan", "train.max_skips"};
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++) {
        if (is_below(key, free_keys[i])) {
            return true;
        }
    }
    for (int i = 0; i < freedom->n_forced; i++) {
        if (is_below(key, freedom->forced[i])) {
            return true;
        }
    }
    return freedom->any_length && (is_below(key, "train.epochs") || is_below(key, "train.max_steps"));
}

/* The first entry at or below a key; NULL: there is none. */
static const entry *below(const entries *all, const char *key) {
    for (int i = 0; i < all->n; i++) {
        if (is_below(all->entry[i].key, key)) {
            return &all->entry[i];
        }
    }
    return NULL;
}

static bool are_equal(const entry *a, const entry *b) {
    return a != NULL && b != NULL && strcmp(a->key, b->key) == 0 && a->n == b->n &&
           memcmp(a->text, b->text, a->n) == 0;
}

/* The key to name for an entry that the other side has not, or has otherwise: where one choice has taken the
 * place of another (an optimizer), what was to be chosen. */
static void name_difference(const entry *e, const entries *other, char key[KEY_BYTES]) {
    (void)snprintf(key, KEY_BYTES, "%s", e->key);
    const bool is_section = e->n == 2 && memcmp(e->text, "{}", 2) == 0;
    bool up = below(other, key) == NULL && is_section;
    for (char *dot; below(other, key) == NULL && (dot = strrchr(key, '.')) != NULL; up = true) {
        *dot = '\0';
        if (below(other, key) != NULL && !up) { /* a value that the other side has not */
            (void)snprintf(key, KEY_BYTES, "%s", e->key);
            return;
        }
    }
}

/* What a side has at a key: its value, the first line in which a list differs, or the name of what was
 * chosen. */
static void tell_value(const entries *all, const entries *other, const char *key, char out[VALUE_BYTES]) {
    const entry *e = below(all, key), *o = below(other, key);
    const char *text = "nothing";
    size_t n = strlen(text);
    if (e != NULL && strcmp(e->key, key) == 0) {
        text = e->text;
        n = e->n;
        size_t same = 0;
        for (size_t i = 0; o != NULL && i < n && i < o->n && text[i] == o->text[i]; i++) {
            same = text[i] == '\n' ? i + 1 : same;
        }
        text += same;
        n -= same;
        const char *end = memchr(text, '\n', n);
        n = end == NULL ? n : (size_t)(end - text);
    } else if (e != NULL) {
        text = e->key + strlen(key) + 1;
        n = strcspn(text, ".");
    }
    while (n > 0 && *text == ' ') {
        text++;
        n--;
    }
    (void)snprintf(out, VALUE_BYTES, "%.*s%s", n < VALUE_BYTES - 4 ? (int)n : VALUE_BYTES - 4, text,
                   n < VALUE_BYTES - 4 ? "" : "...");
}

typedef struct differences {
    int n;
    char key[MAX_TOLD][KEY_BYTES];
} differences;

static void collect(const entries *one, const entries *other, const dl_resume_freedom *freedom,
                    differences *found) {
    for (int i = 0; i < one->n && found->n < MAX_TOLD; i++) {
        const entry *e = &one->entry[i];
        char *key = found->key[found->n];
        if (may_change(e->key, freedom) || are_equal(e, below(other, e->key))) {
            continue;
        }
        name_difference(e, other, key);
        bool known = false;
        for (int k = 0; k < found->n; k++) {
            known = known || is_below(key, found->key[k]);
        }
        found->n += !known;
    }
}

static dl_status tell(const entries *a, const entries *b, const differences *found) {
    dl_text what = {0}, force = {0};
    dl_status status = DL_OK;
    for (int i = 0; i < found->n && status == DL_OK; i++) {
        char was[VALUE_BYTES], is[VALUE_BYTES];
        tell_value(a, b, found->key[i], was);
        tell_value(b, a, found->key[i], is);
        status = dl_text_append(&what, "%sanother %s: '%s', here it is '%s'", i > 0 ? ", " : "",
                                found->key[i], was, is);
        status = status == DL_OK ? dl_text_append(&force, "--force %s ", found->key[i]) : status;
    }
    if (status == DL_OK) {
        status = dl_error_raise(DL_ERR_USAGE, __FILE__, __LINE__, __func__,
                                "the run was begun with %s. %sgoes on all the same, --fresh starts anew",
                                what.data, force.data);
    }
    dl_text_free(&what);
    dl_text_free(&force);
    return status;
}

dl_status dl_resume_compare(const char *before, const char *now, const dl_resume_freedom *freedom) {
    entries a = {0}, b = {0};
    differences found = {0};
    dl_status status = read_entries(before, &a);
    status = status == DL_OK ? read_entries(now, &b) : status;
    if (status == DL_OK) {
        collect(&b, &a, freedom, &found);
        collect(&a, &b, freedom, &found);
        status = found.n > 0 ? tell(&a, &b, &found) : DL_OK;
    }
    dl_free(&a.entry);
    dl_free(&b.entry);
    return status;
}
