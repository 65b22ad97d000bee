/* Prints a struct back as YAML that reads back equal. */
#include "config/option_type.h"
#include "config/parse.h"

#include <inttypes.h>
#include <string.h>

static bool is_safe_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("_./+-", c) != NULL;
}

/* Whether a text is itself as a plain scalar, everywhere. */
static bool is_safe(const char *text) {
    if (text[0] == '\0' || text[0] == '-' || text[0] == '+' || strcmp(text, "null") == 0) {
        return false;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (!is_safe_character(*c)) {
            return false;
        }
    }
    return strcmp(text, "...") != 0;
}

/* One character inside double quotes. */
static dl_status print_quoted(const char *text, size_t n, uint32_t code, dl_text *out) {
    if (code == '"' || code == '\\') {
        return dl_text_append(out, "\\%c", (char)code);
    }
    const bool raw =
        (code >= 0x20 && code < 0x7f) || (code >= 0xa1 && code < 0x2000) || (code >= 0x3000 && code < 0xd800);
    if (raw) {
        return dl_text_append_bytes(out, text, n);
    }
    return dl_text_append(out, "\\U%08X", (unsigned)code);
}

static dl_status print_text(const char *text, bool quote, dl_text *out) {
    if (!quote && is_safe(text)) {
        return dl_text_append(out, "%s", text);
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "\""));
    const size_t n_bytes = strlen(text);
    for (size_t i = 0; i < n_bytes;) {
        uint32_t code = 0;
        const size_t n = dl_utf8_decode(text + i, n_bytes - i, &code);
        DL_RETURN_ERROR_IF(n == 0, DL_ERR_USAGE, "'%.60s' is not UTF-8", text);
        DL_RETURN_IF_ERROR(print_quoted(text + i, n, code, out));
        i += n;
    }
    return dl_text_append(out, "\"");
}

/* A tree of the file on one line; its depth is bounded by DL_TREE_MAX_DEPTH. */
static dl_status print_flow(const dl_node *node, dl_text *out) {
    if (node->kind == DL_NODE_SCALAR) {
        return dl_node_is_nothing(node) ? dl_text_append(out, "null")
                                        : print_text(node->text, node->quoted, out);
    }
    const bool list = node->kind == DL_NODE_LIST;
    DL_RETURN_IF_ERROR(dl_text_append(out, list ? "[" : "{"));
    for (int64_t i = 0; i < node->n_children; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, i > 0 ? ", " : ""));
        if (!list) {
            DL_RETURN_IF_ERROR(print_text(node->child[i]->key, false, out));
            DL_RETURN_IF_ERROR(dl_text_append(out, ": "));
        }
        DL_RETURN_IF_ERROR(print_flow(node->child[i], out));
    }
    return dl_text_append(out, list ? "]" : "}");
}

/* One entry of a list: "- KEY: {...}" where it is a map with one key. */
static dl_status print_entry(const dl_node *entry, int indent, dl_text *out) {
    DL_RETURN_IF_ERROR(dl_text_append(out, "%*s- ", indent, ""));
    if (entry->kind == DL_NODE_MAP && entry->n_children == 1) {
        DL_RETURN_IF_ERROR(print_text(entry->child[0]->key, false, out));
        DL_RETURN_IF_ERROR(dl_text_append(out, ": "));
        entry = entry->child[0];
    }
    DL_RETURN_IF_ERROR(print_flow(entry, out));
    return dl_text_append(out, "\n");
}

static dl_status print_node(const dl_node *node, int indent, dl_text *out) {
    if (node->kind != DL_NODE_LIST || node->n_children == 0) {
        DL_RETURN_IF_ERROR(dl_text_append(out, " "));
        DL_RETURN_IF_ERROR(print_flow(node, out));
        return dl_text_append(out, "\n");
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "\n"));
    for (int64_t i = 0; i < node->n_children; i++) {
        DL_RETURN_IF_ERROR(print_entry(node->child[i], indent, out));
    }
    return DL_OK;
}

static dl_status print_whole(const dl_option *option, int64_t value, dl_text *out) {
    const int n_words = dl_count_words(option->words);
    if (n_words > 0 && value < DL_WORD(n_words)) {
        return dl_text_append(out, "%s", option->words[value - DL_WORD(0)]);
    }
    return dl_text_append(out, "%" PRId64, value);
}

static dl_status print_ints(const dl_option *option, const dl_int_list *list, dl_text *out) {
    if (option->type == DL_TYPE_INTS && list->word >= 0) {
        return dl_text_append(out, "%s", option->words[list->word]);
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "["));
    for (int i = 0; i < list->n; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, i > 0 ? ", " : ""));
        if (option->type == DL_TYPE_WORDS) {
            DL_RETURN_IF_ERROR(print_text(option->words[list->value[i]], false, out));
        } else if (list->value[i] < DL_WORD(dl_count_words(option->item_words))) {
            DL_RETURN_IF_ERROR(dl_text_append(out, "%s", option->item_words[list->value[i] - DL_WORD(0)]));
        } else {
            DL_RETURN_IF_ERROR(dl_text_append(out, "%" PRId64, list->value[i]));
        }
    }
    return dl_text_append(out, "]");
}

static dl_status print_floats(const dl_float_list *list, dl_text *out) {
    char number[DL_NUMBER_BYTES];
    DL_RETURN_IF_ERROR(dl_text_append(out, "["));
    for (int i = 0; i < list->n; i++) {
        DL_RETURN_IF_ERROR(
            dl_text_append(out, "%s%s", i > 0 ? ", " : "", dl_double_text(list->value[i], number)));
    }
    return dl_text_append(out, "]");
}

/* The value of an option that fits on the key's line. */
static dl_status print_inline(const dl_option *option, const void *field, dl_text *out) {
    char number[DL_NUMBER_BYTES];
    switch (option->type) {
    case DL_TYPE_BOOL:
        return dl_text_append(out, *(const bool *)field ? "true" : "false");
    case DL_TYPE_INT:
        return print_whole(option, *(const int64_t *)field, out);
    case DL_TYPE_FLOAT:
        return dl_text_append(out, "%s", dl_double_text(*(const double *)field, number));
    case DL_TYPE_TEXT:
        return print_text(*(const char *const *)field, false, out);
    case DL_TYPE_CHOICE:
        return print_text(option->words[*(const int *)field], false, out);
    case DL_TYPE_INTS:
    case DL_TYPE_WORDS:
        return print_ints(option, field, out);
    case DL_TYPE_FLOATS:
        return print_floats(field, out);
    default:
        DL_RETURN_ERROR(DL_ERR_INTERNAL, "option %s does not fit on a line", option->name);
    }
}

static dl_status print_variant(const dl_variant *variant, int indent, dl_text *out) {
    DL_RETURN_ERROR_IF(variant->kind == NULL, DL_ERR_INTERNAL, "a choice was never made");
    const bool empty = variant->kind->options[0].name == NULL;
    DL_RETURN_IF_ERROR(
        dl_text_append(out, "\n%*s%s:%s\n", indent, "", variant->kind->name, empty ? " {}" : ""));
    return dl_options_print(variant->kind->options, variant->values, indent + 2, out);
}

static dl_status print_option(const dl_option *option, const void *field, int indent, dl_text *out) {
    const bool node = option->type == DL_TYPE_NODE;
    if (node && *(const dl_node *const *)field == NULL) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "%*s%s:", indent, "", option->name));
    if (node) {
        return print_node(*(const dl_node *const *)field, indent + 2, out);
    }
    if (option->type == DL_TYPE_GROUP) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "\n"));
        return dl_options_print(option->group, field, indent + 2, out);
    }
    if (option->type == DL_TYPE_VARIANT) {
        return print_variant(field, indent + 2, out);
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, " "));
    DL_RETURN_IF_ERROR(print_inline(option, field, out));
    return dl_text_append(out, "\n");
}

dl_status dl_options_print(const dl_option *table, const void *values, int indent, dl_text *out) {
    for (const dl_option *option = table; option->name != NULL; option++) {
        DL_RETURN_IF_ERROR(print_option(option, (const char *)values + option->offset, indent, out));
    }
    return DL_OK;
}
