/* model.freeze: patterns of layers that keep their parameters. */
#include "model/builder.h"

#include <fnmatch.h>

bool dl_builder_is_frozen(const dl_builder *b, const char *name) {
    const dl_node *freeze = b->options->freeze;
    for (int64_t i = 0; freeze != NULL && freeze->kind == DL_NODE_LIST && i < freeze->n_children; i++) {
        if (freeze->child[i]->kind == DL_NODE_SCALAR && fnmatch(freeze->child[i]->text, name, 0) == 0) {
            return true;
        }
    }
    return false;
}

static dl_status unused_pattern(dl_builder *b, const dl_node *pattern) {
    const char *nearest = NULL;
    if (pattern->kind != DL_NODE_SCALAR) {
        return dl_diagnose(b->diagnostics, pattern->place,
                           "freeze must be a list of names or patterns: [conv1_*]");
    }
    DL_RETURN_IF_ERROR(dl_builder_nearest_layer(b, pattern->text, &nearest));
    return dl_diagnose(b->diagnostics, pattern->place, "no layer has a name like '%.60s'%s%s%s",
                       pattern->text, nearest == NULL ? "; `dltrain check` lists them" : "; did you mean '",
                       nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
}

dl_status dl_builder_check_freeze(dl_builder *b) {
    const dl_node *freeze = b->options->freeze;
    const dl_model *model = b->model;
    if (freeze == NULL) {
        return DL_OK;
    }
    if (freeze->kind != DL_NODE_LIST) {
        return dl_diagnose(b->diagnostics, freeze->place,
                           "freeze must be a list of names or patterns: [conv1_*]");
    }
    for (int64_t i = 0; i < freeze->n_children; i++) {
        const dl_node *pattern = freeze->child[i];
        bool used = false;
        for (int k = 0; k < model->n_layers && pattern->kind == DL_NODE_SCALAR; k++) {
            used = used || fnmatch(pattern->text, model->layer[k].name, 0) == 0;
        }
        if (!used) {
            DL_RETURN_IF_ERROR(unused_pattern(b, pattern));
        }
    }
    return DL_OK;
}
