/* From the config's list of layers to a model. */
#include "model/model.h"

#include "model/builder.h"
#include "model/output.h"
#include "model/table.h"

#include <string.h>

static const dl_layer_kind *kind_of(const dl_variant *variant) {
    for (const dl_layer_kind *const *kind = dl_layer_kinds(); *kind != NULL; kind++) {
        if (&(*kind)->variant == variant->kind) {
            return *kind;
        }
    }
    return NULL;
}

static dl_status build_layer(dl_builder *b, const dl_variant *variant, const dl_layer_kind *kind) {
    dl_model *model = b->model;
    const dl_layer_common *common = variant->values;
    dl_layer layer = {.kind = variant->kind->name,
                      .place = variant->place,
                      .trainable = common->trainable,
                      .rate_factor = common->rate_factor,
                      .output = -1};
    DL_RETURN_IF_ERROR(dl_builder_name_layer(b, common, &layer));
    layer.trainable = layer.trainable && !dl_builder_is_frozen(b, layer.name);
    int inputs[DL_OP_MAX_SLOTS], *kept = NULL;
    int64_t n_inputs = 0;
    DL_RETURN_IF_ERROR(dl_builder_find_inputs(b, common->from, inputs, &n_inputs));
    DL_RETURN_IF_ERROR(
        dl_grow(&model->layer, &model->capacity_layers, model->n_layers + 1, sizeof *model->layer));
    model->layer[model->n_layers] = layer;
    dl_layer_build build = {.model = model,
                            .diagnostics = b->diagnostics,
                            .data = b->options->data,
                            .seed = b->options->seed,
                            .variant = variant,
                            .layer = model->n_layers++};
    DL_RETURN_IF_ERROR(dl_builder_check_inputs(&build, kind, inputs, n_inputs));
    int output = -1;
    if (!build.failed) {
        DL_RETURN_IF_ERROR(kind->build(&build, variant->values, inputs, (int)n_inputs, &output));
        DL_RETURN_IF_ERROR(dl_pool_alloc(model->pool, (size_t)n_inputs, sizeof *kept, &kept));
        memcpy(kept, inputs, (size_t)n_inputs * sizeof *kept);
    }
    b->previous = build.failed ? -1 : output;
    dl_layer *built = &model->layer[build.layer];
    built->output = b->previous;
    built->input = kept;
    built->n_inputs = kept == NULL ? 0 : (int)n_inputs;
    if (b->previous >= 0) {
        built->output_shape = model->value[b->previous].shape;
    }
    return DL_OK;
}

static dl_status build_layers(dl_builder *b) {
    const dl_node *layers = b->options->layers;
    if (layers == NULL || layers->kind != DL_NODE_LIST || layers->n_children == 0) {
        return dl_diagnose(b->diagnostics, layers == NULL ? b->options->place : layers->place,
                           "model.layers must be a list of at least one layer");
    }
    for (int64_t i = 0; i < layers->n_children; i++) {
        dl_variant variant = {0};
        DL_RETURN_IF_ERROR(dl_variant_read(dl_layer_variants(), "layer", layers->child[i], &variant,
                                           b->model->pool, b->diagnostics));
        if (variant.kind == NULL) {
            b->previous = -1;
            continue;
        }
        DL_RETURN_IF_ERROR(build_layer(b, &variant, kind_of(&variant)));
    }
    return DL_OK;
}

static dl_status build_all(dl_builder *b) {
    DL_RETURN_IF_ERROR(dl_pool_create(&b->model->pool));
    DL_RETURN_IF_ERROR(dl_builder_add_input(b));
    if (b->diagnostics->n_errors > 0) {
        b->previous = -1; /* still read the layers, for their mistakes */
    }
    DL_RETURN_IF_ERROR(build_layers(b));
    DL_RETURN_IF_ERROR(dl_builder_check_freeze(b));
    if (b->previous >= 0) {
        DL_RETURN_IF_ERROR(dl_model_add_output(b->model, b->previous, b->options, b->diagnostics));
    }
    DL_RETURN_IF_ERROR(dl_diagnostics_finish(b->diagnostics));
    return dl_parameter_table_make(b->model, b->options->bucket_bytes);
}

dl_status dl_model_build(const dl_model_options *options, dl_diagnostics *diagnostics, dl_model **out) {
    dl_builder b = {.options = options, .diagnostics = diagnostics, .previous = -1};
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof(dl_model), &b.model));
    const dl_status status = build_all(&b);
    if (status != DL_OK) {
        dl_model_destroy(&b.model);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "building the model");
    }
    *out = b.model;
    return DL_OK;
}

void dl_model_destroy(dl_model **model) {
    if (*model == NULL) {
        return;
    }
    dl_free(&(*model)->layer);
    dl_free(&(*model)->value);
    dl_free(&(*model)->op);
    dl_free(&(*model)->parameter);
    dl_pool_destroy(&(*model)->pool);
    dl_free(model);
}

double dl_model_training_flops(const dl_model *model) {
    int lowest = model->n_layers; /* trainable layer: below it there is no backward pass */
    for (int i = model->n_layers - 1; i >= 0; i--) {
        if (model->layer[i].trainable && model->layer[i].n_parameters > 0) {
            lowest = i;
        }
    }
    double flops = 0.0;
    for (int i = 0; i < model->n_layers; i++) {
        const dl_layer *layer = &model->layer[i];
        const bool data_gradient = i > lowest, weight_gradient = layer->trainable && layer->n_parameters > 0;
        flops += layer->forward_flops * (1.0 + (data_gradient ? 1.0 : 0.0) + (weight_gradient ? 1.0 : 0.0));
    }
    return flops;
}
