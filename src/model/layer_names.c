/* How layers are called: names given, names made, names meant. */
#include "model/builder.h"

#include <string.h>

const char dl_layer_above[] = "above", dl_layer_block_input[] = "block_input";

int dl_builder_find_layer(const dl_builder *b, const char *name) {
    for (int i = 0; i < b->model->n_layers; i++) {
        if (strcmp(b->model->layer[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

dl_status dl_builder_nearest_layer(const dl_builder *b, const char *text, const char **nearest) {
    const dl_model *model = b->model;
    const char **names = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(model->pool, (size_t)model->n_layers + 1, sizeof *names, &names));
    for (int i = 0; i < model->n_layers; i++) {
        names[i] = model->layer[i].name;
    }
    *nearest = dl_nearest_name(text, names, (size_t)model->n_layers);
    return DL_OK;
}

/* "conv2d", "conv2d_1", "conv2d_2": the kind and how many nameless ones came before (Keras's rule). */
static dl_status default_name(const dl_builder *b, const char *kind, char **name) {
    dl_pool *pool = b->model->pool;
    DL_RETURN_IF_ERROR(dl_pool_strdup(pool, kind, name));
    for (int n = 1; dl_builder_find_layer(b, *name) >= 0; n++) {
        DL_RETURN_IF_ERROR(dl_pool_printf(pool, name, "%s_%d", kind, n));
    }
    return DL_OK;
}

static bool good_name(const char *name) {
    return name[0] != '\0' && strlen(name) <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789_-") == strlen(name);
}

dl_status dl_builder_name_layer(dl_builder *b, const dl_layer_common *common, dl_layer *layer) {
    if (common->name == NULL || common->name[0] == '\0') {
        char *name = NULL;
        DL_RETURN_IF_ERROR(default_name(b, layer->kind, &name));
        layer->name = name;
        return DL_OK;
    }
    layer->name = common->name;
    if (!good_name(common->name)) {
        return dl_diagnose(b->diagnostics, layer->place,
                           "the layer name '%s' may have letters, digits, '_' and '-' only, at most 64",
                           common->name);
    }
    if (strcmp(common->name, dl_layer_above) == 0 || strcmp(common->name, dl_layer_block_input) == 0) {
        return dl_diagnose(b->diagnostics, layer->place,
                           "no layer can have the name '%s': `from` means something by it", common->name);
    }
    if (dl_builder_find_layer(b, common->name) >= 0) {
        return dl_diagnose(b->diagnostics, layer->place, "there are two layers named '%s'", common->name);
    }
    return DL_OK;
}
