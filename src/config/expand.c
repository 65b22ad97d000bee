/* include: the layers of another file. repeat: a list of layers several times (repeat.c). */
#define _GNU_SOURCE
#include "config/expand.h"

#include "config/parse.h"
#include "config/repeat.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_INCLUDES = 8, MAX_LAYERS = 10000 };

typedef struct include_options {
    const char *file;
    bool top, trainable;
} include_options;

static const dl_option include_table[] = {
    {.name = "file",
     .type = DL_TYPE_TEXT,
     .offset = offsetof(include_options, file),
     .doc = "a configuration; its model's layers count, nothing else of it"},
    {.name = "top",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(include_options, top),
     .fallback = "true",
     .doc = "false: without the layers of its model.top"},
    {.name = "trainable",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(include_options, trainable),
     .fallback = "true",
     .doc = "false: all its parameters keep their values"},
    DL_OPTION_END,
};

static const dl_variant_kind include_kind = {.name = "include",
                                             .doc = "the layers of another file",
                                             .options = include_table,
                                             .n_bytes = sizeof(include_options)};

const dl_variant_kind *const dl_expansions[] = {&dl_repeat_kind, &include_kind, NULL};

typedef struct expansion {
    dl_pool *pool;
    dl_diagnostics *diagnostics;
    int depth;    /* of includes */
    int n_blocks; /* passes through repeats without a name so far */
} expansion;

static dl_status expand_list(expansion *e, const dl_node *list, dl_node *out);

/* The path of a file named in `place`'s file: from the folder of that file when it is there, else as it is.
 */
static dl_status resolve(const char *name, dl_place place, char *out, size_t n_bytes) {
    const char *from = place.source == NULL ? "" : place.source->name;
    const char *slash = strrchr(from, '/');
    const int n = slash == NULL || name[0] == '/' ? 0 : (int)(slash + 1 - from);
    DL_RETURN_ERROR_IF((size_t)snprintf(out, n_bytes, "%.*s%s", n, from, name) >= n_bytes, DL_ERR_USAGE,
                       "the path %.60s... is too long", name);
    if (access(out, F_OK) != 0 && access(name, F_OK) == 0) {
        (void)snprintf(out, n_bytes, "%s", name);
    }
    return DL_OK;
}

/* Sets trainable: false in a layer: an entry "kind" or {kind: {options}}. */
static dl_status freeze(expansion *e, dl_node *layer, dl_place place) {
    if (layer->kind == DL_NODE_SCALAR) {
        dl_node *options = NULL;
        DL_RETURN_IF_ERROR(dl_node_create(e->pool, DL_NODE_MAP, layer->place, &options));
        options->key = layer->text;
        options->key_place = layer->place;
        *layer = (dl_node){.kind = DL_NODE_MAP, .text = "", .place = layer->place};
        DL_RETURN_IF_ERROR(dl_node_append(e->pool, layer, options));
    }
    if (layer->kind != DL_NODE_MAP || layer->n_children != 1) {
        return DL_OK; /* a mistake, told when the layer is read */
    }
    dl_node *options = layer->child[0], *value = dl_node_get(options, "trainable");
    if (options->kind == DL_NODE_SCALAR && options->text[0] == '\0') {
        options->kind = DL_NODE_MAP;
    }
    if (options->kind != DL_NODE_MAP) {
        return DL_OK;
    }
    if (value == NULL) {
        DL_RETURN_IF_ERROR(dl_node_create(e->pool, DL_NODE_SCALAR, place, &value));
        value->key = "trainable";
        value->key_place = place;
        DL_RETURN_IF_ERROR(dl_node_append(e->pool, options, value));
    }
    value->text = "false";
    value->quoted = false;
    return DL_OK;
}

/* The layers of a loaded file go behind those of `out`. */
static dl_status take_layers(expansion *e, const dl_node *root, const include_options *o, dl_place place,
                             dl_node *out) {
    const dl_node *model = dl_node_get(root, "model");
    const dl_node *lists[] = {dl_node_get(model, "layers"), o->top ? dl_node_get(model, "top") : NULL};
    const int64_t before = out->n_children;
    if (lists[0] == NULL || lists[0]->kind != DL_NODE_LIST) {
        return dl_diagnose(e->diagnostics, place, "%.200s has no list model.layers to include", o->file);
    }
    for (int i = 0; i < 2; i++) {
        if (lists[i] != NULL && lists[i]->kind == DL_NODE_LIST) {
            DL_RETURN_IF_ERROR(expand_list(e, lists[i], out));
        }
    }
    for (int64_t i = before; i < out->n_children && !o->trainable; i++) {
        DL_RETURN_IF_ERROR(freeze(e, out->child[i], place));
    }
    return DL_OK;
}

static dl_status expand_include(expansion *e, const dl_node *node, dl_node *out) {
    const int errors = e->diagnostics->n_calls;
    const dl_place place = node->key_place;
    include_options o = {0};
    char path[PATH_MAX];
    dl_node *root = NULL;
    DL_RETURN_IF_ERROR(dl_options_read(include_table, node, place, &o, e->pool, e->diagnostics));
    if (e->diagnostics->n_calls != errors) {
        return DL_OK;
    }
    if (e->depth == MAX_INCLUDES) {
        return dl_diagnose(e->diagnostics, place, "files include each other more than %d deep", MAX_INCLUDES);
    }
    DL_RETURN_IF_ERROR(resolve(o.file, place, path, sizeof path));
    if (dl_tree_load(path, e->pool, e->diagnostics, &root) != DL_OK) {
        const dl_node *file = dl_node_get(node, "file");
        return dl_diagnose(e->diagnostics, file->place, "%s", dl_error_last()->message);
    }
    if (root == NULL) {
        return DL_OK;
    }
    e->depth++;
    const dl_status status = take_layers(e, root, &o, place, out);
    e->depth--;
    return status;
}

static dl_status expand_repeat(expansion *e, const dl_node *node, dl_node *out) {
    dl_repeat repeat;
    DL_RETURN_IF_ERROR(dl_repeat_read(node, e->pool, e->diagnostics, &repeat));
    if (repeat.layers == NULL) {
        return DL_OK;
    }
    dl_node *body = NULL;
    DL_RETURN_IF_ERROR(dl_node_create(e->pool, DL_NODE_LIST, repeat.layers->place, &body));
    DL_RETURN_IF_ERROR(expand_list(e, repeat.layers, body));
    if (repeat.times * body->n_children + out->n_children > MAX_LAYERS) {
        return dl_diagnose(e->diagnostics, node->key_place, "the model would have more than %d layers",
                           MAX_LAYERS);
    }
    return dl_repeat_append(&repeat, body, &e->n_blocks, e->pool, out);
}

static dl_status expand_list(expansion *e, const dl_node *list, dl_node *out) {
    for (int64_t i = 0; i < list->n_children; i++) {
        dl_node *entry = list->child[i];
        const dl_node *only = entry->kind == DL_NODE_MAP && entry->n_children == 1 ? entry->child[0] : NULL;
        if (only != NULL && strcmp(only->key, include_kind.name) == 0) {
            DL_RETURN_IF_ERROR(expand_include(e, only, out));
        } else if (only != NULL && strcmp(only->key, dl_repeat_kind.name) == 0) {
            DL_RETURN_IF_ERROR(expand_repeat(e, only, out));
        } else {
            DL_RETURN_IF_ERROR(dl_node_append(e->pool, out, entry));
        }
    }
    return DL_OK;
}

/* Takes a key out of a map; gives its value, or NULL. */
static dl_node *take_key(dl_node *map, const char *key) {
    dl_node *value = dl_node_get(map, key);
    int64_t kept = 0;
    for (int64_t i = 0; value != NULL && i < map->n_children; i++) {
        if (map->child[i] != value) {
            map->child[kept++] = map->child[i];
        }
    }
    map->n_children = value == NULL ? map->n_children : kept;
    return value;
}

dl_status dl_model_expand(dl_node *root, dl_pool *pool, dl_diagnostics *diagnostics) {
    dl_node *model = dl_node_get(root, "model"), *layers = dl_node_get(model, "layers");
    if (layers == NULL || layers->kind != DL_NODE_LIST) {
        return DL_OK; /* told where options are read */
    }
    const dl_node *top = dl_node_get(model, "top");
    expansion e = {.pool = pool, .diagnostics = diagnostics};
    const int calls = diagnostics->n_calls;
    dl_node expanded = *layers;
    expanded.child = NULL;
    expanded.n_children = expanded.capacity = 0;
    DL_RETURN_IF_ERROR(expand_list(&e, layers, &expanded));
    if (top != NULL && top->kind == DL_NODE_LIST) {
        DL_RETURN_IF_ERROR(expand_list(&e, top, &expanded));
    }
    if (diagnostics->n_calls ==
        calls) { /* after a mistake the list stays as it was, for its other mistakes */
        *layers = expanded;
        (void)take_key(model, "top");
    }
    return DL_OK;
}
