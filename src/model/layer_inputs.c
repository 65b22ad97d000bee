/* What a layer takes: the values that `from` names, and whether they suit its kind. */
#include "model/builder.h"

#include <string.h>

static dl_status unknown_source(dl_builder *b, const dl_node *node) {
    const char *nearest = NULL;
    DL_RETURN_IF_ERROR(dl_builder_nearest_layer(b, node->text, &nearest));
    return dl_diagnose(b->diagnostics, node->place, "there is no layer '%s' above this one%s%s%s", node->text,
                       nearest == NULL ? "" : "; did you mean '", nearest == NULL ? "" : nearest,
                       nearest == NULL ? "" : "'?");
}

dl_status dl_builder_find_inputs(dl_builder *b, const dl_node *from, int inputs[DL_OP_MAX_SLOTS], int *n) {
    *n = 0;
    if (from == NULL || (from->kind == DL_NODE_SCALAR && from->text[0] == '\0')) {
        inputs[(*n)++] = b->previous;
        return DL_OK;
    }
    const int64_t n_names = from->kind == DL_NODE_LIST ? from->n_children : 1;
    for (int64_t i = 0; i < n_names && i < DL_OP_MAX_SLOTS; i++) {
        const dl_node *name = from->kind == DL_NODE_LIST ? from->child[i] : from;
        if (name->kind == DL_NODE_SCALAR && strcmp(name->text, dl_layer_above) == 0) {
            inputs[(*n)++] = b->previous;
            continue;
        }
        const int layer = name->kind == DL_NODE_SCALAR ? dl_builder_find_layer(b, name->text) : -1;
        if (layer < 0) {
            *n = -1;
            return unknown_source(b, name);
        }
        inputs[(*n)++] = b->model->layer[layer].output;
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

dl_status dl_builder_check_inputs(dl_layer_build *build, const dl_layer_kind *kind, const int *inputs,
                                  int n) {
    for (int i = 0; i < n; i++) {
        if (inputs[i] < 0) { /* follows from an earlier mistake */
            build->failed = true;
        }
    }
    if (n >= 0 && (n < kind->min_inputs || n > kind->max_inputs)) {
        return dl_layer_mistake(build, "takes %d to %d inputs, but `from` names %d", kind->min_inputs,
                                kind->max_inputs, n);
    }
    return build->failed || n < 0 ? DL_OK : check_types(build, kind, inputs, n);
}
