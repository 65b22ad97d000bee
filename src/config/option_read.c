/* Checks a map of the tree against a table and fills the struct; reads tagged choices. */
#include "config/option_type.h"
#include "config/parse.h"

#include <string.h>

typedef struct dl_option_reader reader;

static void *field_of(void *values, const dl_option *option) {
    return (char *)values + option->offset;
}

static int count_options(const dl_option *table) {
    int n = 0;
    while (table[n].name != NULL) {
        n++;
    }
    return n;
}

static dl_status names_of(const dl_option *table, dl_pool *pool, const char *const **out) {
    const int n = count_options(table);
    const char **names = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, (size_t)n + 1, sizeof *names, &names));
    for (int i = 0; i < n; i++) {
        names[i] = table[i].name;
    }
    *out = names;
    return DL_OK;
}

static dl_status unknown_key(const dl_option *table, const dl_node *map, const dl_node *child, dl_pool *pool,
                             dl_diagnostics *diagnostics) {
    const char *const *names = NULL;
    DL_RETURN_IF_ERROR(names_of(table, pool, &names));
    const char *in = map->key == NULL ? "" : " in ", *section = map->key == NULL ? "" : map->key;
    const char *nearest = dl_suggest(child->key, names);
    if (nearest != NULL) {
        return dl_diagnose(diagnostics, child->key_place, "unknown key '%.60s'%s%.60s; did you mean '%s'?",
                           child->key, in, section, nearest);
    }
    dl_text known = {0};
    dl_status status = dl_append_words(names, ", ", &known);
    if (status == DL_OK) {
        status = dl_diagnose(diagnostics, child->key_place, "unknown key '%.60s'%s%.60s; known keys: %s",
                             child->key, in, section, known.data);
    }
    dl_text_free(&known);
    return status;
}

/* Whether an unknown key of the map was meant to be this one: then that has been reported, and is enough. */
static dl_status is_mistyped(const dl_option *table, const dl_option *option, const dl_node *map,
                             dl_pool *pool, bool *out) {
    const char *const *names = NULL;
    DL_RETURN_IF_ERROR(names_of(table, pool, &names));
    *out = false;
    for (int64_t i = 0; map != NULL && i < map->n_children; i++) {
        const char *key = map->child[i]->key;
        *out = *out || (dl_find_word(names, key) < 0 && dl_suggest(key, names) == option->name);
    }
    return DL_OK;
}

static dl_status missing_key(const dl_option *table, const dl_option *option, const dl_node *map,
                             dl_place place, dl_pool *pool, dl_diagnostics *diagnostics) {
    bool reported = false;
    DL_RETURN_IF_ERROR(is_mistyped(table, option, map, pool, &reported));
    if (reported) {
        return DL_OK;
    }
    const char *section = map == NULL ? NULL : map->key;
    return dl_diagnose(diagnostics, place, "key '%s' is missing%s%.60s", option->name,
                       section == NULL ? "" : " in ", section == NULL ? "" : section);
}

/* Fills what the map does not give. */
static dl_status read_default(const reader *r, dl_place place, void *field) {
    const dl_option *option = r->option;
    if (option->type == DL_TYPE_GROUP) {
        return dl_options_read(option->group, NULL, place, field, r->pool, r->diagnostics);
    }
    dl_node *node = NULL;
    DL_RETURN_IF_ERROR(dl_tree_parse_default(option->fallback, r->pool, &node));
    const int calls_before = r->diagnostics->n_calls;
    DL_RETURN_IF_ERROR(dl_option_read_value(r, node, field));
    DL_RETURN_ERROR_IF(r->diagnostics->n_calls != calls_before, DL_ERR_INTERNAL,
                       "the default of option %s does not fit its own table", option->name);
    return DL_OK;
}

static dl_status read_defaults(const dl_option *table, const dl_node *map, dl_place place, void *out,
                               dl_pool *pool, dl_diagnostics *diagnostics) {
    for (const dl_option *option = table; option->name != NULL; option++) {
        if (dl_node_get(map, option->name) != NULL) {
            continue;
        }
        if (option->fallback == NULL) {
            DL_RETURN_IF_ERROR(missing_key(table, option, map, place, pool, diagnostics));
            continue;
        }
        const reader r = {option, pool, diagnostics};
        DL_RETURN_IF_ERROR(read_default(&r, place, field_of(out, option)));
    }
    return DL_OK;
}

static dl_status read_map(const dl_option *table, const dl_node *map, void *out, dl_pool *pool,
                          dl_diagnostics *diagnostics) {
    for (int64_t i = 0; i < map->n_children; i++) {
        const dl_option *option = table;
        while (option->name != NULL && strcmp(option->name, map->child[i]->key) != 0) {
            option++;
        }
        if (option->name == NULL) {
            DL_RETURN_IF_ERROR(unknown_key(table, map, map->child[i], pool, diagnostics));
            continue;
        }
        const reader r = {option, pool, diagnostics};
        DL_RETURN_IF_ERROR(dl_option_read_value(&r, map->child[i], field_of(out, option)));
    }
    return DL_OK;
}

dl_status dl_options_read(const dl_option *table, const dl_node *map, dl_place place, void *out,
                          dl_pool *pool, dl_diagnostics *diagnostics) {
    if (map != NULL && map->kind != DL_NODE_MAP && !dl_node_is_nothing(map)) {
        char value[DL_VALUE_TEXT_BYTES];
        return dl_diagnose(diagnostics, map->place, "%.60s must be a map of keys, but it is %s",
                           map->key == NULL ? "this" : map->key, dl_node_value_text(map, value));
    }
    if (map != NULL && map->kind == DL_NODE_MAP) {
        DL_RETURN_IF_ERROR(read_map(table, map, out, pool, diagnostics));
    }
    if (map != NULL && map->key_place.source != NULL) {
        place = map->key_place;
    }
    return read_defaults(table, map, place, out, pool, diagnostics);
}

/* Not one of the kinds: names the nearest, or all. */
static dl_status unknown_variant(const dl_variant_kind *const *kinds, const char *what, const char *name,
                                 dl_place place, dl_pool *pool, dl_diagnostics *diagnostics) {
    const char *const *names = NULL;
    DL_RETURN_IF_ERROR(dl_variant_names(kinds, pool, &names));
    const char *nearest = dl_suggest(name, names);
    if (nearest != NULL) {
        return dl_diagnose(diagnostics, place, "unknown %s '%.60s'; did you mean '%s'?", what, name, nearest);
    }
    dl_text known = {0};
    dl_status status = dl_append_words(names, ", ", &known);
    if (status == DL_OK) {
        status = dl_diagnose(diagnostics, place, "unknown %s '%.60s'; known ones: %s", what, name,
                             known.data == NULL ? "none" : known.data);
    }
    dl_text_free(&known);
    return status;
}

static const dl_variant_kind *find_variant(const dl_variant_kind *const *kinds, const char *name) {
    for (int i = 0; kinds != NULL && kinds[i] != NULL; i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

/* Two keys where one name belongs: mostly options that are not indented below their name. */
static dl_status several_names(const dl_variant_kind *const *kinds, const char *what, const dl_node *node,
                               dl_diagnostics *diagnostics) {
    const dl_node *first = node->child[0], *second = node->child[1];
    if (find_variant(kinds, first->key) != NULL && find_variant(kinds, second->key) == NULL) {
        return dl_diagnose(diagnostics, second->key_place,
                           "'%.60s' stands beside '%.60s'; indent it further to make it an option of that %s",
                           second->key, first->key, what);
    }
    return dl_diagnose(diagnostics, second->key_place,
                       "one %s belongs here, but there are two: '%.60s' and '%.60s'", what, first->key,
                       second->key);
}

dl_status dl_variant_read(const dl_variant_kind *const *kinds, const char *what, const dl_node *node,
                          dl_variant *out, dl_pool *pool, dl_diagnostics *diagnostics) {
    *out = (dl_variant){.place = node->place};
    const bool is_name = node->kind == DL_NODE_SCALAR && !dl_node_is_nothing(node);
    if (node->kind == DL_NODE_MAP && node->n_children > 1) {
        return several_names(kinds, what, node, diagnostics);
    }
    if (!is_name && (node->kind != DL_NODE_MAP || node->n_children == 0)) {
        char value[DL_VALUE_TEXT_BYTES];
        return dl_diagnose(diagnostics, node->place, "the name of a known %s belongs here, not %s", what,
                           node->kind == DL_NODE_MAP ? "an empty map" : dl_node_value_text(node, value));
    }
    const dl_node *options = is_name ? NULL : node->child[0];
    const char *name = is_name ? node->text : options->key;
    out->place = is_name ? node->place : options->key_place;
    const dl_variant_kind *kind = find_variant(kinds, name);
    if (kind == NULL) {
        return unknown_variant(kinds, what, name, out->place, pool, diagnostics);
    }
    const int calls_before = diagnostics->n_calls;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, 1, kind->n_bytes, &out->values));
    DL_RETURN_IF_ERROR(dl_options_read(kind->options, options, out->place, out->values, pool, diagnostics));
    out->kind = diagnostics->n_calls == calls_before ? kind : NULL;
    return DL_OK;
}
