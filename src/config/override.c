/* KEY.PATH=VALUE of the command line, applied to the tree. */
#include "config/parse.h"

#include <inttypes.h>
#include <string.h>

/* One part of a key path. */
typedef struct step {
    const char *name;
    dl_place place;
} step;

/* Gives map[key] the value, in place of an earlier one. */
static dl_status put(dl_node *map, dl_node *value, const step *at, dl_pool *pool) {
    value->key = at->name;
    value->key_place = at->place;
    for (int64_t i = 0; i < map->n_children; i++) {
        if (strcmp(map->child[i]->key, at->name) == 0) {
            map->child[i] = value;
            return DL_OK;
        }
    }
    return dl_node_append(pool, map, value);
}

/* The entry of a list that a step names; NULL after a mistake. */
static dl_status entry_of(dl_node *list, const step *at, dl_diagnostics *diagnostics, dl_node ***out) {
    int64_t index = -1;
    *out = NULL;
    if (!dl_parse_int64(at->name, &index) || index < 0 || index >= list->n_children) {
        return dl_diagnose(diagnostics, at->place,
                           "'%.60s' is no entry of a list of %" PRId64 "; they are counted from 0", at->name,
                           list->n_children);
    }
    *out = &list->child[index];
    return DL_OK;
}

/* A value where a map is needed: a list goes through, a scalar is replaced by an empty map. */
static void make_map(dl_node *node, dl_place place) {
    if (node->kind == DL_NODE_SCALAR) {
        node->kind = DL_NODE_MAP;
        node->text = "";
        node->quoted = false;
        node->place = place;
    }
}

/* One step down; *node is NULL after a mistake. */
static dl_status walk(dl_node **node, const step *at, dl_pool *pool, dl_diagnostics *diagnostics) {
    if ((*node)->kind == DL_NODE_LIST) {
        dl_node **entry = NULL;
        DL_RETURN_IF_ERROR(entry_of(*node, at, diagnostics, &entry));
        *node = entry == NULL ? NULL : *entry;
    } else {
        dl_node *next = dl_node_get(*node, at->name);
        if (next == NULL) {
            DL_RETURN_IF_ERROR(dl_node_create(pool, DL_NODE_MAP, at->place, &next));
            DL_RETURN_IF_ERROR(put(*node, next, at, pool));
        }
        *node = next;
    }
    if (*node != NULL) {
        make_map(*node, at->place);
    }
    return DL_OK;
}

static dl_status assign(dl_node *node, dl_node *value, const step *at, dl_pool *pool,
                        dl_diagnostics *diagnostics) {
    if (node->kind != DL_NODE_LIST) {
        return put(node, value, at, pool);
    }
    dl_node **entry = NULL;
    DL_RETURN_IF_ERROR(entry_of(node, at, diagnostics, &entry));
    if (entry != NULL) {
        *entry = value;
    }
    return DL_OK;
}

/* Splits "a.b.c" into steps; *n is 0 after a mistake. */
static dl_status split(const dl_source *source, size_t n_path, dl_pool *pool, dl_diagnostics *diagnostics,
                       step out[DL_TREE_MAX_DEPTH], int *n) {
    size_t begin = 0;
    for (*n = 0; begin <= n_path; (*n)++) {
        const char *dot = memchr(source->text + begin, '.', n_path - begin);
        const size_t end = dot == NULL ? n_path : (size_t)(dot - source->text);
        const dl_place place = dl_source_place(source, begin);
        if (end == begin || *n == DL_TREE_MAX_DEPTH) {
            *n = 0;
            return dl_diagnose(diagnostics, place, "%s",
                               end == begin ? "a key is missing; write KEY.PATH=VALUE" : "too many keys");
        }
        out[*n].place = place;
        DL_RETURN_IF_ERROR(dl_pool_copy(pool, source->text + begin, end - begin, &out[*n].name));
        begin = end + 1;
    }
    return DL_OK;
}

static dl_status read_override_value(const dl_source *source, size_t first, dl_pool *pool,
                                     dl_diagnostics *diagnostics, dl_node **value) {
    const int errors_before = diagnostics->n_errors;
    DL_RETURN_IF_ERROR(dl_tree_parse_part(source, first, pool, diagnostics, value));
    if (*value != NULL || diagnostics->n_errors != errors_before) {
        return DL_OK;
    }
    return dl_node_create(pool, DL_NODE_SCALAR, dl_source_place(source, first), value);
}

dl_status dl_tree_override(dl_node *root, const char *override, dl_pool *pool, dl_diagnostics *diagnostics) {
    dl_source *source = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, 1, sizeof *source, &source));
    *source = (dl_source){.name = "command line", .n_bytes = strlen(override)};
    DL_RETURN_IF_ERROR(dl_pool_copy(pool, override, source->n_bytes, &source->text));
    bool ok = false;
    DL_RETURN_IF_ERROR(dl_source_check(source, 0, diagnostics, &ok));
    const char *equals = strchr(source->text, '=');
    if (!ok || equals == NULL) {
        return ok ? dl_diagnose(diagnostics, dl_source_place(source, 0), "write KEY.PATH=VALUE") : DL_OK;
    }
    const size_t n_path = (size_t)(equals - source->text);
    step steps[DL_TREE_MAX_DEPTH];
    int n = 0;
    DL_RETURN_IF_ERROR(split(source, n_path, pool, diagnostics, steps, &n));
    dl_node *value = NULL, *node = root;
    DL_RETURN_IF_ERROR(read_override_value(source, n_path + 1, pool, diagnostics, &value));
    if (n == 0 || value == NULL) {
        return DL_OK;
    }
    for (int i = 0; i + 1 < n && node != NULL; i++) {
        DL_RETURN_IF_ERROR(walk(&node, &steps[i], pool, diagnostics));
    }
    return node == NULL ? DL_OK : assign(node, value, &steps[n - 1], pool, diagnostics);
}
