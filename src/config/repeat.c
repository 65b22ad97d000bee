#include "config/repeat.h"

#include "config/parse.h"

#include <string.h>

static const dl_option table[] = {
    {.name = "times",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_repeat, times),
     .min = 1,
     .max = 1000,
     .doc = "how often"},
    {.name = "layers",
     .type = DL_TYPE_NODE,
     .offset = offsetof(dl_repeat, layers),
     .doc = "the layers; one named N is N_1, N_2, ...; from: block_input is what entered the pass"},
    {.name = "name",
     .type = DL_TYPE_TEXT,
     .offset = offsetof(dl_repeat, name),
     .fallback = "",
     .doc = "of what enters a pass: NAME_1, NAME_2, ...; default: block"},
    DL_OPTION_END,
};

const dl_variant_kind dl_repeat_kind = {.name = "repeat",
                                        .doc = "a list of layers several times",
                                        .options = table,
                                        .n_bytes = sizeof(dl_repeat)};

static const char block_input[] = "block_input";

dl_status dl_repeat_read(const dl_node *options, dl_pool *pool, dl_diagnostics *diagnostics, dl_repeat *out) {
    const int calls = diagnostics->n_calls;
    *out = (dl_repeat){.place = options->key_place};
    DL_RETURN_IF_ERROR(dl_options_read(table, options, options->key_place, out, pool, diagnostics));
    if (diagnostics->n_calls == calls &&
        (out->layers->kind != DL_NODE_LIST || out->layers->n_children == 0)) {
        DL_RETURN_IF_ERROR(dl_diagnose(diagnostics, out->layers->place,
                                       "layers of a repeat must be a list of at least one layer"));
    }
    if (diagnostics->n_calls != calls) {
        out->layers = NULL;
    }
    return DL_OK;
}

/* The options of an entry {kind: {options}}, or NULL. */
static dl_node *options_of(const dl_node *entry) {
    return entry->kind == DL_NODE_MAP && entry->n_children == 1 ? entry->child[0] : NULL;
}

static const char *name_of(const dl_node *entry) {
    const dl_node *options = options_of(entry), *name = dl_node_get(options, "name");
    return name != NULL && name->kind == DL_NODE_SCALAR ? name->text : NULL;
}

/* Position in the body of the layer of this name, -1: none. */
static int64_t find_name(const dl_node *body, const char *name) {
    for (int64_t i = 0; i < body->n_children; i++) {
        const char *other = name_of(body->child[i]);
        if (other != NULL && strcmp(other, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* One pass through the body. */
typedef struct pass {
    const dl_node *body;
    int64_t number;    /* from 1 */
    const char *input; /* name of what entered it */
    dl_pool *pool;
} pass;

static dl_status append_number(const pass *p, const char *name, int64_t number, const char **out) {
    char *text = NULL;
    DL_RETURN_IF_ERROR(dl_pool_printf(p->pool, &text, "%s_%lld", name, (long long)number));
    *out = text;
    return DL_OK;
}

/* What `from: NAME` of the layer at `position` means in this pass. */
static dl_status resolve(const pass *p, dl_node *name, int64_t position) {
    if (name->kind != DL_NODE_SCALAR) {
        return DL_OK;
    }
    if (strcmp(name->text, block_input) == 0) {
        name->text = p->input;
        return DL_OK;
    }
    const int64_t at = find_name(p->body, name->text);
    const int64_t number = at >= 0 && at < position ? p->number : p->number - 1;
    return at < 0 || number == 0 ? DL_OK : append_number(p, name->text, number, &name->text);
}

static dl_status append_layer(const pass *p, int64_t position, dl_node *out) {
    dl_node *copy = NULL;
    DL_RETURN_IF_ERROR(dl_node_copy(p->pool, p->body->child[position], &copy));
    dl_node *options = options_of(copy), *name = dl_node_get(options, "name"),
            *from = dl_node_get(options, "from");
    if (name != NULL && name->kind == DL_NODE_SCALAR && name->text[0] != '\0') {
        DL_RETURN_IF_ERROR(append_number(p, name->text, p->number, &name->text));
    }
    for (int64_t i = 0; from != NULL && from->kind == DL_NODE_LIST && i < from->n_children; i++) {
        DL_RETURN_IF_ERROR(resolve(p, from->child[i], position));
    }
    if (from != NULL) {
        DL_RETURN_IF_ERROR(resolve(p, from, position));
    }
    return dl_node_append(p->pool, out, copy);
}

static bool uses_input(const dl_node *body) {
    for (int64_t i = 0; i < body->n_children; i++) {
        const dl_node *from = dl_node_get(options_of(body->child[i]), "from");
        const int64_t n = from == NULL ? 0 : from->kind == DL_NODE_LIST ? from->n_children : 1;
        for (int64_t k = 0; k < n; k++) {
            const dl_node *name = from->kind == DL_NODE_LIST ? from->child[k] : from;
            if (name->kind == DL_NODE_SCALAR && strcmp(name->text, block_input) == 0) {
                return true;
            }
        }
    }
    return false;
}

static dl_status add_scalar(dl_pool *pool, dl_node *map, const char *key, const char *text) {
    dl_node *node = NULL;
    DL_RETURN_IF_ERROR(dl_node_create(pool, DL_NODE_SCALAR, map->place, &node));
    node->key = key;
    node->key_place = map->place;
    node->text = text;
    return dl_node_append(pool, map, node);
}

/* A layer that does nothing, so that what enters a pass has a name: {activation: {function: linear, name:
 * N}}. */
static dl_status append_input(const pass *p, dl_place place, dl_node *out) {
    dl_node *layer = NULL, *options = NULL;
    DL_RETURN_IF_ERROR(dl_node_create(p->pool, DL_NODE_MAP, place, &layer));
    DL_RETURN_IF_ERROR(dl_node_create(p->pool, DL_NODE_MAP, place, &options));
    options->key = "activation";
    options->key_place = place;
    DL_RETURN_IF_ERROR(add_scalar(p->pool, options, "function", "linear"));
    DL_RETURN_IF_ERROR(add_scalar(p->pool, options, "name", p->input));
    DL_RETURN_IF_ERROR(dl_node_append(p->pool, layer, options));
    return dl_node_append(p->pool, out, layer);
}

dl_status dl_repeat_append(const dl_repeat *repeat, const dl_node *body, int *n_blocks, dl_pool *pool,
                           dl_node *out) {
    const bool named = repeat->name != NULL && repeat->name[0] != '\0', input = uses_input(body);
    for (int64_t k = 1; k <= repeat->times; k++) {
        pass p = {.body = body, .number = k, .pool = pool};
        if (input) {
            const int64_t number = named ? k : ++*n_blocks;
            DL_RETURN_IF_ERROR(append_number(&p, named ? repeat->name : "block", number, &p.input));
            DL_RETURN_IF_ERROR(append_input(&p, repeat->place, out));
        }
        for (int64_t i = 0; i < body->n_children; i++) {
            DL_RETURN_IF_ERROR(append_layer(&p, i, out));
        }
    }
    return DL_OK;
}
