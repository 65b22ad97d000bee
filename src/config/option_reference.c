/* The reference of a table: name, what it takes, default, documentation; nested tables indented below. */
#include "config/option_type.h"

#include <string.h>

static dl_status reference_variants(const dl_variant_kind *const *kinds, int indent, dl_text *out) {
    for (int i = 0; kinds != NULL && kinds[i] != NULL; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "%*s%s: %s\n", indent, "", kinds[i]->name, kinds[i]->doc));
        DL_RETURN_IF_ERROR(dl_options_reference(kinds[i]->options, indent + 2, out));
    }
    return DL_OK;
}

static dl_status reference_default(const dl_option *option, dl_text *out) {
    if (option->type == DL_TYPE_GROUP) {
        return DL_OK;
    }
    if (option->fallback == NULL) {
        return dl_text_append(out, "; required");
    }
    return option->fallback[0] == '\0' ? DL_OK : dl_text_append(out, "; default %s", option->fallback);
}

dl_status dl_options_reference(const dl_option *table, int indent, dl_text *out) {
    for (const dl_option *option = table; option->name != NULL; option++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "%*s%s: ", indent, "", option->name));
        DL_RETURN_IF_ERROR(dl_option_type_text(option, out));
        DL_RETURN_IF_ERROR(reference_default(option, out));
        DL_RETURN_IF_ERROR(dl_text_append(out, "\n%*s%s\n", indent + 4, "", option->doc));
        if (option->type == DL_TYPE_GROUP) {
            DL_RETURN_IF_ERROR(dl_options_reference(option->group, indent + 2, out));
        }
        DL_RETURN_IF_ERROR(reference_variants(option->variants, indent + 2, out));
    }
    return DL_OK;
}
