/* From parser events to a tree: depth, number of nodes, aliases and duplicate keys are checked here. */
#include "config/parse.h"

#include <stdlib.h>
#include <string.h>

typedef struct frame {
    dl_node *node;
    const char *key; /* of a map: the key whose value comes next, NULL: a key comes next */
    dl_place key_place;
} frame;

typedef struct anchor {
    const char *name;
    dl_node *node;
    struct anchor *next; /* newest first */
} anchor;

struct dl_tree_builder {
    dl_pool *pool;
    dl_diagnostics *diagnostics;
    dl_node *root;
    bool stopped;
    int depth;
    frame stack[DL_TREE_MAX_DEPTH];
    anchor *anchors;
    int64_t n_nodes, n_alias_nodes;
};

dl_status dl_node_create(dl_pool *pool, dl_node_kind kind, dl_place place, dl_node **out) {
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, 1, sizeof **out, out));
    (*out)->kind = kind;
    (*out)->place = place;
    (*out)->text = "";
    return DL_OK;
}

dl_status dl_node_append(dl_pool *pool, dl_node *parent, dl_node *child) {
    if (parent->n_children == parent->capacity) {
        const int64_t capacity = parent->capacity == 0 ? 8 : 2 * parent->capacity;
        dl_node **grown = NULL;
        DL_RETURN_IF_ERROR(dl_pool_alloc(pool, (size_t)capacity, sizeof(dl_node *), &grown));
        if (parent->n_children > 0) {
            memcpy(grown, parent->child, (size_t)parent->n_children * sizeof(dl_node *));
        }
        parent->child = grown;
        parent->capacity = capacity;
    }
    parent->child[parent->n_children++] = child;
    return DL_OK;
}

dl_node *dl_node_get(const dl_node *map, const char *key) {
    if (map == NULL || map->kind != DL_NODE_MAP) {
        return NULL;
    }
    for (int64_t i = 0; i < map->n_children; i++) {
        if (strcmp(map->child[i]->key, key) == 0) {
            return map->child[i];
        }
    }
    return NULL;
}

dl_status dl_tree_builder_create(dl_pool *pool, dl_diagnostics *diagnostics, dl_tree_builder **out) {
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, 1, sizeof **out, out));
    (*out)->pool = pool;
    (*out)->diagnostics = diagnostics;
    return DL_OK;
}

bool dl_tree_builder_stopped(const dl_tree_builder *builder) {
    return builder->stopped;
}

dl_node *dl_tree_builder_root(const dl_tree_builder *builder) {
    return builder->stopped ? NULL : builder->root;
}

int dl_tree_builder_depth(const dl_tree_builder *builder) {
    return builder->depth;
}

dl_place dl_tree_builder_open_place(const dl_tree_builder *builder, int level) {
    return builder->stack[level].node->place;
}

dl_place dl_tree_builder_last_place(const dl_tree_builder *builder) {
    if (builder->depth == 0) {
        return (dl_place){0};
    }
    const frame *top = &builder->stack[builder->depth - 1];
    return top->key != NULL ? top->key_place : top->node->place;
}

/* A mistake after which the tree is of no use. */
#define STOP(builder, place, ...)                                                                            \
    ((builder)->stopped = true, dl_diagnose((builder)->diagnostics, (place), __VA_ARGS__))

static dl_status add_anchor(dl_tree_builder *builder, const char *name, dl_node *node) {
    if (name == NULL) {
        return DL_OK;
    }
    anchor *made = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(builder->pool, 1, sizeof *made, &made));
    *made = (anchor){.name = name, .node = node, .next = builder->anchors};
    builder->anchors = made;
    return DL_OK;
}

/* Puts a value where the parser is: the root, the next item, or under the key just read. */
static dl_status place_value(dl_tree_builder *builder, dl_node *node) {
    if (builder->depth == 0) {
        builder->root = node;
        return DL_OK;
    }
    frame *top = &builder->stack[builder->depth - 1];
    if (top->node->kind == DL_NODE_MAP) {
        if (top->key == NULL) {
            return STOP(builder, node->place, "a key must be plain text");
        }
        if (top->key[0] == '\0') {
            return STOP(builder, node->place, "this value has no key");
        }
        node->key = top->key;
        node->key_place = top->key_place;
        top->key = NULL;
    }
    return dl_node_append(builder->pool, top->node, node);
}

static dl_status count_node(dl_tree_builder *builder, dl_place place) {
    if (++builder->n_nodes > DL_TREE_MAX_NODES) {
        return STOP(builder, place, "more than %d values; a configuration is never that large",
                    DL_TREE_MAX_NODES);
    }
    return DL_OK;
}

dl_status dl_tree_builder_begin(dl_tree_builder *builder, dl_node_kind kind, dl_place place,
                                const char *name) {
    if (builder->depth == DL_TREE_MAX_DEPTH) {
        return STOP(builder, place, "nested deeper than %d levels", DL_TREE_MAX_DEPTH);
    }
    DL_RETURN_IF_ERROR(count_node(builder, place));
    dl_node *node = NULL;
    DL_RETURN_IF_ERROR(dl_node_create(builder->pool, kind, place, &node));
    DL_RETURN_IF_ERROR(place_value(builder, node));
    DL_RETURN_IF_ERROR(add_anchor(builder, name, node));
    builder->stack[builder->depth++] = (frame){.node = node};
    return DL_OK;
}

static dl_status read_key(dl_tree_builder *builder, const char *text, dl_place place) {
    frame *top = &builder->stack[builder->depth - 1];
    top->key = text;
    top->key_place = place;
    if (top->node->n_children == 0) { /* `[a: 1]`: the parser puts the map at the colon */
        top->node->place = place.line == top->node->place.line && place.column < top->node->place.column
                               ? place
                               : top->node->place;
    }
    return DL_OK;
}

dl_status dl_tree_builder_scalar(dl_tree_builder *builder, const char *text, bool quoted, dl_place place,
                                 const char *name) {
    DL_RETURN_IF_ERROR(count_node(builder, place));
    const frame *top = builder->depth > 0 ? &builder->stack[builder->depth - 1] : NULL;
    if (top != NULL && top->node->kind == DL_NODE_MAP && top->key == NULL) {
        return read_key(builder, text, place);
    }
    dl_node *node = NULL;
    DL_RETURN_IF_ERROR(dl_node_create(builder->pool, DL_NODE_SCALAR, place, &node));
    const bool nothing = !quoted && (strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
    node->text = nothing ? "" : text;
    node->quoted = quoted;
    DL_RETURN_IF_ERROR(add_anchor(builder, name, node));
    return place_value(builder, node);
}

static int compare_keys(const void *a, const void *b) {
    const dl_node *x = *(dl_node *const *)a, *y = *(dl_node *const *)b;
    const int order = strcmp(x->key, y->key);
    if (order != 0) {
        return order;
    }
    if (x->key_place.line != y->key_place.line) {
        return x->key_place.line < y->key_place.line ? -1 : 1;
    }
    return x->key_place.column - y->key_place.column;
}

/* Reports keys given again and takes them out, so that nobody complains of them twice. */
static dl_status remove_duplicates(dl_tree_builder *builder, dl_node *map) {
    if (map->n_children < 2) {
        return DL_OK;
    }
    const size_t n = (size_t)map->n_children;
    dl_node **sorted = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof *sorted, &sorted));
    memcpy(sorted, map->child, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_keys);
    dl_status status = DL_OK;
    const dl_node *first = sorted[0];
    bool found = false;
    for (size_t i = 1; i < n && status == DL_OK; i++) {
        if (strcmp(sorted[i]->key, first->key) != 0) {
            first = sorted[i];
            continue;
        }
        status = dl_diagnose(builder->diagnostics, sorted[i]->key_place,
                             "key '%.60s' is given twice; the first is in line %d", first->key,
                             first->key_place.line);
        sorted[i]->key = NULL;
        found = true;
    }
    dl_free(&sorted);
    int64_t kept = 0;
    for (int64_t i = 0; found && i < map->n_children; i++) {
        if (map->child[i]->key != NULL) {
            map->child[kept++] = map->child[i];
        }
    }
    map->n_children = found ? kept : map->n_children;
    return status;
}

dl_status dl_tree_builder_end(dl_tree_builder *builder) {
    DL_RETURN_ERROR_IF(builder->depth == 0, DL_ERR_INTERNAL, "the YAML parser closes what it did not open");
    dl_node *node = builder->stack[--builder->depth].node;
    return node->kind == DL_NODE_MAP ? remove_duplicates(builder, node) : DL_OK;
}

/* Nodes below and including `node`, but not more than a little above `limit`; *height is its depth. The
 * recursion is bounded: a tree is never deeper than DL_TREE_MAX_DEPTH. */
static int64_t count_below(const dl_node *node, int64_t limit, int *height) {
    int64_t n = 1;
    *height = node->kind == DL_NODE_SCALAR ? 0 : 1;
    for (int64_t i = 0; i < node->n_children && n <= limit; i++) {
        int below = 0;
        n += count_below(node->child[i], limit - n, &below);
        *height = below + 1 > *height ? below + 1 : *height;
    }
    return n;
}

dl_status dl_node_copy(dl_pool *pool, const dl_node *node, dl_node **out) {
    DL_RETURN_IF_ERROR(dl_node_create(pool, node->kind, node->place, out));
    **out = *node;
    (*out)->child = NULL;
    (*out)->n_children = (*out)->capacity = 0;
    for (int64_t i = 0; i < node->n_children; i++) {
        dl_node *child = NULL;
        DL_RETURN_IF_ERROR(dl_node_copy(pool, node->child[i], &child));
        DL_RETURN_IF_ERROR(dl_node_append(pool, *out, child));
    }
    return DL_OK;
}

dl_status dl_tree_builder_alias(dl_tree_builder *builder, const char *name, dl_place place) {
    const anchor *found = builder->anchors;
    while (found != NULL && strcmp(found->name, name) != 0) {
        found = found->next;
    }
    if (found == NULL) {
        return STOP(builder, place, "alias '*%.60s' has no anchor '&%.60s' above it", name, name);
    }
    for (int i = 0; i < builder->depth; i++) {
        if (builder->stack[i].node == found->node) {
            return STOP(builder, place, "alias '*%.60s' stands inside its own anchor", name);
        }
    }
    int height = 0;
    builder->n_alias_nodes += count_below(found->node, DL_TREE_MAX_ALIAS_NODES, &height);
    if (builder->n_alias_nodes > DL_TREE_MAX_ALIAS_NODES) {
        return STOP(builder, place, "aliases stand for more than %d values", DL_TREE_MAX_ALIAS_NODES);
    }
    if (builder->depth + height > DL_TREE_MAX_DEPTH) {
        return STOP(builder, place, "nested deeper than %d levels", DL_TREE_MAX_DEPTH);
    }
    dl_node *copy = NULL;
    DL_RETURN_IF_ERROR(dl_node_copy(builder->pool, found->node, &copy));
    copy->key = NULL;
    copy->place = place;
    return place_value(builder, copy);
}
