/* Reads one value of the tree into a field: by type, with the messages for values that do not fit. */
#include "config/option_type.h"
#include "config/parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct dl_option_reader reader;

bool dl_node_is_nothing(const dl_node *node) {
    return node->kind == DL_NODE_SCALAR && !node->quoted && node->text[0] == '\0';
}

static bool is_plain(const dl_node *node) {
    return node->kind == DL_NODE_SCALAR && !node->quoted;
}

const char *dl_node_value_text(const dl_node *node, char *out) {
    if (dl_node_is_nothing(node)) {
        return "nothing";
    }
    if (node->kind != DL_NODE_SCALAR) {
        return node->kind == DL_NODE_LIST ? "a list" : "a map";
    }
    (void)snprintf(out, DL_VALUE_TEXT_BYTES, "%s'%.60s'", node->quoted ? "the text " : "", node->text);
    return out;
}

/* A remark that helps with a frequent slip, or "". */
static const char *slip_hint(const dl_option *option, const dl_node *node) {
    static const char *const yes[] = {"yes", "Yes", "on", "On", "True", "TRUE", "y", "1", NULL};
    static const char *const no[] = {"no", "No", "off", "Off", "False", "FALSE", "n", "0", NULL};
    if (node->kind != DL_NODE_SCALAR) {
        return "";
    }
    if (option->type == DL_TYPE_BOOL && !node->quoted) {
        return dl_find_word(yes, node->text) >= 0  ? "; write true"
               : dl_find_word(no, node->text) >= 0 ? "; write false"
                                                   : "";
    }
    const bool number = option->type == DL_TYPE_INT || option->type == DL_TYPE_FLOAT ||
                        option->type == DL_TYPE_INTS || option->type == DL_TYPE_FLOATS;
    double ignored = 0;
    if (number && node->quoted && dl_parse_double(node->text, &ignored)) {
        return "; take the quotes away";
    }
    return "";
}

/* "WHAT must be TYPE, but is VALUE", with the nearest word if there is one. */
static dl_status wrong_value(const reader *r, const dl_node *node) {
    char value[DL_VALUE_TEXT_BYTES];
    dl_text type = {0};
    const char *nearest = node->kind == DL_NODE_SCALAR ? dl_suggest(node->text, r->option->words) : NULL;
    dl_status status = dl_option_type_text(r->option, &type);
    if (status == DL_OK) {
        status =
            dl_diagnose(r->diagnostics, node->place, "%s must be %s, but %s is %s%s%s%s%s", r->option->name,
                        type.data, node->key == NULL ? "here" : "it", dl_node_value_text(node, value),
                        slip_hint(r->option, node), nearest == NULL ? "" : "; did you mean '",
                        nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
    }
    dl_text_free(&type);
    return status;
}

static bool in_range(const dl_option *option, double value) {
    return (option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max);
}

static bool parse_whole(const dl_option *option, const dl_node *node, int64_t *out) {
    return is_plain(node) && dl_parse_int64(node->text, out) && in_range(option, (double)*out);
}

static bool parse_number(const dl_option *option, const dl_node *node, double *out) {
    return is_plain(node) && dl_parse_double(node->text, out) && in_range(option, *out);
}

static int parse_word(const dl_option *option, const dl_node *node) {
    return node->kind == DL_NODE_SCALAR ? dl_find_word(option->words, node->text) : -1;
}

static dl_status read_bool(const reader *r, const dl_node *node, bool *out) {
    const bool is_true = is_plain(node) && strcmp(node->text, "true") == 0;
    if (!is_true && !(is_plain(node) && strcmp(node->text, "false") == 0)) {
        return wrong_value(r, node);
    }
    *out = is_true;
    return DL_OK;
}

static dl_status read_int(const reader *r, const dl_node *node, int64_t *out) {
    const int word = parse_word(r->option, node);
    int64_t value = 0;
    if (word >= 0) {
        value = DL_WORD(word);
    } else if (!parse_whole(r->option, node, &value)) {
        return wrong_value(r, node);
    }
    *out = value;
    return DL_OK;
}

static dl_status read_float(const reader *r, const dl_node *node, double *out) {
    double value = 0;
    if (!parse_number(r->option, node, &value)) {
        return wrong_value(r, node);
    }
    *out = value;
    return DL_OK;
}

static dl_status read_text(const reader *r, const dl_node *node, const char **out) {
    if (node->kind != DL_NODE_SCALAR || (dl_node_is_nothing(node) && node->place.source != NULL)) {
        return wrong_value(r, node);
    }
    return dl_pool_copy(r->pool, node->text, strlen(node->text), out);
}

static dl_status read_choice(const reader *r, const dl_node *node, int *out) {
    const int word = parse_word(r->option, node);
    if (word < 0) {
        return wrong_value(r, node);
    }
    *out = word;
    return DL_OK;
}

/* Whether a list may have n items. */
static bool fits_count(const dl_option *option, int64_t n) {
    const int max = option->max_items > 0 ? option->max_items : DL_MAX_LIST;
    return n >= option->min_items && n <= max && n <= DL_MAX_LIST;
}

/* The items of a list value: the children, or the value itself standing for a list of one. NULL: not a list,
 * or not of an allowed length; then the mistake has been reported. */
static dl_status list_items(const reader *r, dl_node *node, dl_node *const **items, int64_t *n,
                            dl_node **single) {
    *items = NULL;
    *n = node->kind == DL_NODE_LIST ? node->n_children : 1;
    if (node->kind == DL_NODE_MAP || dl_node_is_nothing(node)) {
        return wrong_value(r, node);
    }
    if (!fits_count(r->option, *n)) {
        dl_text type = {0};
        dl_status status = dl_option_type_text(r->option, &type);
        if (status == DL_OK && r->option->max_items > 0) {
            status = dl_diagnose(r->diagnostics, node->place, "%s must be %s, but here are %" PRId64,
                                 r->option->name, type.data, *n);
        } else if (status == DL_OK) {
            status = dl_diagnose(r->diagnostics, node->place,
                                 "%s has %" PRId64 " entries; at most %d are possible", r->option->name, *n,
                                 DL_MAX_LIST);
        }
        dl_text_free(&type);
        return status;
    }
    *single = node;
    *items = node->kind == DL_NODE_LIST ? node->child : single;
    return DL_OK;
}

static dl_status read_ints(const reader *r, dl_node *node, dl_int_list *out) {
    dl_int_list list = {.word = parse_word(r->option, node)};
    dl_node *const *items = NULL, *single = NULL;
    int64_t n = 0;
    if (list.word < 0) {
        DL_RETURN_IF_ERROR(list_items(r, node, &items, &n, &single));
        if (items == NULL && n > 0) {
            return DL_OK;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const char *word = i > 0 || !is_plain(items[i])   ? ""
                           : dl_node_is_nothing(items[i]) ? "null"
                                                          : items[i]->text;
        const int item = dl_find_word(r->option->item_words, word);
        if (item >= 0) {
            list.value[list.n++] = DL_WORD(item);
        } else if (!parse_whole(r->option, items[i], &list.value[list.n++])) {
            return wrong_value(r, items[i]);
        }
    }
    *out = list;
    return DL_OK;
}

static dl_status read_floats(const reader *r, dl_node *node, dl_float_list *out) {
    dl_float_list list = {0};
    dl_node *const *items = NULL, *single = NULL;
    int64_t n = 0;
    DL_RETURN_IF_ERROR(list_items(r, node, &items, &n, &single));
    if (items == NULL && n > 0) {
        return DL_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!parse_number(r->option, items[i], &list.value[list.n++])) {
            return wrong_value(r, items[i]);
        }
    }
    *out = list;
    return DL_OK;
}

static dl_status read_words(const reader *r, dl_node *node, dl_int_list *out) {
    dl_int_list list = {.word = -1};
    dl_node *const *items = NULL, *single = NULL;
    int64_t n = 0;
    DL_RETURN_IF_ERROR(list_items(r, node, &items, &n, &single));
    if (items == NULL && n > 0) {
        return DL_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        const int word = parse_word(r->option, items[i]);
        if (word < 0) {
            return wrong_value(r, items[i]);
        }
        for (int j = 0; j < list.n; j++) {
            if (list.value[j] == word) {
                return dl_diagnose(r->diagnostics, items[i]->place, "%s is listed twice in %s",
                                   r->option->words[word], r->option->name);
            }
        }
        list.value[list.n++] = word;
    }
    *out = list;
    return DL_OK;
}

/* A node for somebody else. With variants it is a list of them, whose mistakes are found here already, so
 * that they come in one go with all others. */
static dl_status read_node(const reader *r, const dl_node *node, const dl_node **out) {
    const dl_option *option = r->option;
    *out = dl_node_is_nothing(node) && node->place.source == NULL ? NULL : node;
    if (option->variants == NULL || *out == NULL) {
        return DL_OK;
    }
    if (node->kind != DL_NODE_LIST) {
        return wrong_value(r, node);
    }
    if (node->n_children < option->min_items) {
        return dl_diagnose(r->diagnostics, node->place, "%s is empty", r->option->name);
    }
    for (int64_t i = 0; i < node->n_children; i++) {
        dl_variant ignored = {0};
        DL_RETURN_IF_ERROR(dl_variant_read(option->variants, option->entry, node->child[i], &ignored, r->pool,
                                           r->diagnostics));
    }
    return DL_OK;
}

dl_status dl_option_read_value(const reader *r, dl_node *node, void *field) {
    const dl_option *option = r->option;
    switch (option->type) {
    case DL_TYPE_BOOL:
        return read_bool(r, node, field);
    case DL_TYPE_INT:
        return read_int(r, node, field);
    case DL_TYPE_FLOAT:
        return read_float(r, node, field);
    case DL_TYPE_TEXT:
        return read_text(r, node, field);
    case DL_TYPE_CHOICE:
        return read_choice(r, node, field);
    case DL_TYPE_INTS:
        return read_ints(r, node, field);
    case DL_TYPE_FLOATS:
        return read_floats(r, node, field);
    case DL_TYPE_WORDS:
        return read_words(r, node, field);
    case DL_TYPE_GROUP:
        return dl_options_read(option->group, node, node->place, field, r->pool, r->diagnostics);
    case DL_TYPE_VARIANT:
        return dl_variant_read(option->variants, option->name, node, field, r->pool, r->diagnostics);
    case DL_TYPE_NODE:
        return read_node(r, node, field);
    }
    DL_RETURN_ERROR(DL_ERR_INTERNAL, "option %s has no type", option->name);
}
