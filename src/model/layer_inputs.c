/* What a layer takes: the values that `from` names, and whether they suit its kind. */
#include "model/builder.h"

#include <string.h>

static dl_status unknown_source(dl_builder *b, const dl_node *node) {
    const char *nearest = NULL;
    if (node->kind != DL_NODE_SCALAR) {
        return dl_diagnose(b->diagnostics, node->place,
                           "`from` must be the name of a layer above or a list of such names: [a, b]");
    }
    if (strcmp(node->text, dl_layer_block_input) == 0) {
        return dl_diagnose(b->diagnostics, node->place,
                           "%s is what enters a pass of a repeat, and this layer is in none",
                           dl_layer_block_input);
    }
    DL_RETURN_IF_ERROR(dl_builder_nearest_layer(b, node->text, &nearest));
    return dl_diagnose(b->diagnostics, node->place, "there is no layer '%s' above this one%s%s%s", node->text,
                       nearest == NULL ? "" : "; did you mean '", nearest == NULL ? "" : nearest,
                       nearest == NULL ? "" : "'?");
}

/* The value that a name in `from` stands for; false where there is none. */
static bool find_value(const dl_builder *b, const dl_node *name, int *value) {
    const bool above = name->kind == DL_NODE_SCALAR && strcmp(name->text, dl_layer_above) == 0;
    const int layer = name->kind == DL_NODE_SCALAR ? dl_builder_find_layer(b, name->text) : -1;
    *value = above ? b->previous : layer >= 0 ? b->model->layer[layer].output : -1;
    return above || layer >= 0;
}

dl_status dl_builder_find_inputs(dl_builder *b, const dl_node *from, int inputs[DL_OP_MAX_SLOTS],
                                 int64_t *n) {
    if (from == NULL || (from->kind == DL_NODE_SCALAR && from->text[0] == '\0')) {
        inputs[0] = b->previous;
        *n = 1;
        return DL_OK;
    }
    *n = from->kind == DL_NODE_LIST ? from->n_children : 1;
    for (int64_t i = 0; i < *n && i < DL_OP_MAX_SLOTS; i++) {
        const dl_node *name = from->kind == DL_NODE_LIST ? from->child[i] : from;
        if (!find_value(b, name, &inputs[i])) {
            *n = -1;
            return unknown_source(b, name);
        }
    }
    return DL_OK;
}

/* Tokens and sequences of any length go into the kinds that say so. */
static dl_status check_types(dl_layer_build *build, const dl_layer_kind *kind, const int *inputs, int n) {
    for (int i = 0; i < n; i++) {
        const dl_value *value = &build->model->value[inputs[i]];
        build->any_length = build->any_length || value->any_length;
        if ((value->dtype == DL_I32) != kind->takes_tokens) {
            return dl_layer_mistake(build, value->dtype == DL_I32
                                               ? "gets tokens; put `- embedding: {output_dim: N}` before it"
                                               : "needs tokens; give model.input `dtype: tokens`");
        }
    }
    if (build->any_length && !kind->takes_any_length) {
        return dl_layer_mistake(build,
                                "needs samples of one length, but those of '%s' differ; put an lstm with "
                                "return_sequences: false before it",
                                dl_layer_source_name(build, inputs[0]));
    }
    return DL_OK;
}

static dl_status wrong_number(dl_layer_build *build, const dl_layer_kind *kind, int64_t n) {
    if (kind->max_inputs == 1) {
        return dl_layer_mistake(build, "takes one input, but `from` names %lld", (long long)n);
    }
    return dl_layer_mistake(build, "takes %d to %d inputs, but `from` names %lld", kind->min_inputs,
                            kind->max_inputs, (long long)n);
}

dl_status dl_builder_check_inputs(dl_layer_build *build, const dl_layer_kind *kind, const int *inputs,
                                  int64_t n) {
    if (n < 0) { /* told already */
        build->failed = true;
        return DL_OK;
    }
    if (n < kind->min_inputs || n > kind->max_inputs) {
        return wrong_number(build, kind, n);
    }
    for (int64_t i = 0; i < n; i++) {
        if (inputs[i] < 0) { /* follows from an earlier mistake */
            build->failed = true;
        }
    }
    return build->failed ? DL_OK : check_types(build, kind, inputs, (int)n);
}
