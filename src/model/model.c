/* From the config's list of layers to a model. */
#include "model/model.h"

#include "kernels/common/blocks.h"
#include "model/augment.h"
#include "model/layer.h"
#include "model/output.h"
#include "model/table.h"

#include <fnmatch.h>
#include <string.h>

/* What goes round while a model is built. */
typedef struct builder {
    dl_model *model;
    const dl_model_options *options;
    dl_diagnostics *diagnostics;
    int previous; /* output of the layer above, -1 after a mistake */
} builder;

static dl_status add_source(dl_model *model, dl_value_kind kind, const char *name, dl_dtype dtype,
                            const dl_shape *shape, int *value) {
    const dl_value source = {.kind = kind,
                             .name = name,
                             .layer = -1,
                             .dtype = dtype,
                             .batched = kind != DL_VALUE_STEP,
                             .shape = *shape,
                             .source = -1};
    return dl_model_add_value(model, &source, value);
}

/* The operation that turns pixels into numbers. */
static dl_status normalize_input(builder *b, int x) {
    dl_model *model = b->model;
    const dl_model_data *data = b->options->data;
    const dl_shape *shape = &b->options->input_shape;
    DL_RETURN_IF_ERROR(dl_model_augment(model, b->options->augment, b->options->seed, b->diagnostics, &x));
    DL_RETURN_IF_ERROR(add_source(model, DL_VALUE_COMPUTED, "input", DL_F32, shape, &b->previous));
    model->value[b->previous].any_length = b->options->any_length;
    dl_op_attr attr = {.u.normalize = {.scale = data->dtype == DL_U8 ? 1.0 / 255.0 : 1.0, .n_values = 1}};
    const int64_t channels = shape->dim[shape->n_dims - 1];
    attr.u.normalize.n_values = data->n_normalize;
    if (data->n_normalize != 1 && data->n_normalize != channels) {
        return dl_diagnose(
            b->diagnostics, b->options->input_place,
            "data.mean and data.std have %d values, but the input has %lld channels; give 1 or as many "
            "as channels",
            data->n_normalize, (long long)channels);
    }
    for (int i = 0; i < data->n_normalize; i++) {
        attr.u.normalize.mean[i] = data->mean[i];
        attr.u.normalize.std[i] = data->std[i];
    }
    dl_layer_build build = {.model = model, .layer = -1};
    const int slots[] = {x, b->previous};
    return dl_layer_op(&build, DL_OP_NORMALIZE_IMAGES, &attr, slots, 2, NULL);
}

/* The field x, lengths where samples differ in it, and what every model may read. */
static dl_status add_input(builder *b) {
    dl_model *model = b->model;
    const dl_model_options *options = b->options;
    const dl_model_data *data = options->data;
    const dl_shape *shape = &options->input_shape;
    if (data->sample_shape.n_dims > 0 && !dl_shape_equal(shape, &data->sample_shape)) {
        char want[DL_SHAPE_TEXT_BYTES], have[DL_SHAPE_TEXT_BYTES];
        DL_RETURN_IF_ERROR(dl_diagnose(b->diagnostics, options->input_place,
                                       "model.input.shape is %s, but the samples of the data set are %s",
                                       dl_shape_text(shape, want), dl_shape_text(&data->sample_shape, have)));
    }
    DL_RETURN_IF_ERROR(dl_shape_check(shape));
    int x = -1;
    const dl_dtype dtype = options->tokens ? DL_I32 : data->dtype;
    DL_RETURN_IF_ERROR(add_source(model, DL_VALUE_FIELD, "x", dtype, shape, &x));
    model->value[x].any_length = options->any_length;
    DL_RETURN_IF_ERROR(add_source(model, DL_VALUE_IDS, "ids", DL_I64, &(dl_shape){0}, &model->ids));
    DL_RETURN_IF_ERROR(
        add_source(model, DL_VALUE_STEP, "step", DL_U8, &DL_SHAPE(sizeof(dl_step_block)), &model->step));
    model->lengths = -1;
    if (options->any_length) {
        DL_RETURN_IF_ERROR(
            add_source(model, DL_VALUE_FIELD, "lengths", DL_I32, &(dl_shape){0}, &model->lengths));
    }
    b->previous = x;
    return options->tokens ? DL_OK : normalize_input(b, x);
}

static int find_layer(const dl_model *model, const char *name) {
    for (int i = 0; i < model->n_layers; i++) {
        if (strcmp(model->layer[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* "conv2d", "conv2d_1", "conv2d_2": the kind and how many nameless ones came before (Keras's rule). */
static dl_status default_name(dl_model *model, const char *kind, char **name) {
    DL_RETURN_IF_ERROR(dl_pool_strdup(model->pool, kind, name));
    for (int n = 1; find_layer(model, *name) >= 0; n++) {
        DL_RETURN_IF_ERROR(dl_pool_printf(model->pool, name, "%s_%d", kind, n));
    }
    return DL_OK;
}

static bool good_name(const char *name) {
    return name[0] != '\0' && strlen(name) <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789_-") == strlen(name);
}

static dl_status unknown_source(builder *b, const dl_node *node) {
    const dl_model *model = b->model;
    const char **names = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(model->pool, (size_t)model->n_layers + 1, sizeof *names, &names));
    for (int i = 0; i < model->n_layers; i++) {
        names[i] = model->layer[i].name;
    }
    const char *nearest = dl_nearest_name(node->text, names, (size_t)model->n_layers);
    return dl_diagnose(b->diagnostics, node->place, "there is no layer '%s' above this one%s%s%s", node->text,
                       nearest == NULL ? "" : "; did you mean '", nearest == NULL ? "" : nearest,
                       nearest == NULL ? "" : "'?");
}

/* In a list `from`: the layer above. */
static const char layer_above[] = "above";

/* The values a layer takes: `from`, or the layer above. A negative count after a mistake. */
static dl_status find_inputs(builder *b, const dl_node *from, int inputs[], int *n) {
    *n = 0;
    if (from == NULL || (from->kind == DL_NODE_SCALAR && from->text[0] == '\0')) {
        inputs[(*n)++] = b->previous;
        return DL_OK;
    }
    const int64_t n_names = from->kind == DL_NODE_LIST ? from->n_children : 1;
    for (int64_t i = 0; i < n_names && i < DL_OP_MAX_SLOTS; i++) {
        const dl_node *name = from->kind == DL_NODE_LIST ? from->child[i] : from;
        if (name->kind == DL_NODE_SCALAR && strcmp(name->text, layer_above) == 0) {
            inputs[(*n)++] = b->previous;
            continue;
        }
        const int layer = name->kind == DL_NODE_SCALAR ? find_layer(b->model, name->text) : -1;
        if (layer < 0) {
            *n = -1;
            return unknown_source(b, name);
        }
        inputs[(*n)++] = b->model->layer[layer].output;
    }
    return DL_OK;
}

static dl_status check_inputs(builder *b, dl_layer_build *build, const dl_layer_kind *kind, const int *inputs,
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
    (void)b;
    return DL_OK;
}

/* Tokens and sequences of any length go into the kinds that say so. */
static dl_status check_input_kinds(dl_layer_build *build, const dl_layer_kind *kind, const int *inputs,
                                   int n) {
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

static const dl_layer_kind *kind_of(const dl_variant *variant) {
    for (const dl_layer_kind *const *kind = dl_layer_kinds(); *kind != NULL; kind++) {
        if (&(*kind)->variant == variant->kind) {
            return *kind;
        }
    }
    return NULL;
}

static dl_status name_layer(builder *b, const dl_layer_common *common, dl_layer *layer) {
    dl_model *model = b->model;
    if (common->name == NULL || common->name[0] == '\0') {
        char *name = NULL;
        DL_RETURN_IF_ERROR(default_name(model, layer->kind, &name));
        layer->name = name;
        return DL_OK;
    }
    layer->name = common->name;
    if (!good_name(common->name)) {
        return dl_diagnose(b->diagnostics, layer->place,
                           "the layer name '%s' may have letters, digits, '_' and '-' only, at most 64",
                           common->name);
    }
    if (strcmp(common->name, layer_above) == 0 || strcmp(common->name, "block_input") == 0) {
        return dl_diagnose(b->diagnostics, layer->place,
                           "no layer can have the name '%s': `from` means something by it", common->name);
    }
    if (find_layer(model, common->name) >= 0) {
        return dl_diagnose(b->diagnostics, layer->place, "there are two layers named '%s'", common->name);
    }
    return DL_OK;
}

/* Does a pattern of model.freeze match the name? */
static bool is_frozen(const dl_model_options *options, const char *name) {
    const dl_node *freeze = options->freeze;
    for (int64_t i = 0; freeze != NULL && freeze->kind == DL_NODE_LIST && i < freeze->n_children; i++) {
        if (freeze->child[i]->kind == DL_NODE_SCALAR && fnmatch(freeze->child[i]->text, name, 0) == 0) {
            return true;
        }
    }
    return false;
}

static dl_status unused_pattern(builder *b, const dl_node *pattern) {
    const dl_model *model = b->model;
    const char **names = NULL, *text = pattern->kind == DL_NODE_SCALAR ? pattern->text : "[...]";
    DL_RETURN_IF_ERROR(dl_pool_alloc(model->pool, (size_t)model->n_layers + 1, sizeof *names, &names));
    for (int i = 0; i < model->n_layers; i++) {
        names[i] = model->layer[i].name;
    }
    const char *nearest = dl_nearest_name(text, names, (size_t)model->n_layers);
    return dl_diagnose(b->diagnostics, pattern->place, "no layer has a name like '%.60s'%s%s%s", text,
                       nearest == NULL ? "; `dltrain check` lists them" : "; did you mean '",
                       nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
}

/* A pattern that freezes nothing is a mistake. */
static dl_status check_freeze(builder *b) {
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

static dl_status build_layer(builder *b, const dl_variant *variant, const dl_layer_kind *kind) {
    dl_model *model = b->model;
    const dl_layer_common *common = variant->values;
    dl_layer layer = {.kind = variant->kind->name,
                      .place = variant->place,
                      .trainable = common->trainable,
                      .rate_factor = common->rate_factor,
                      .output = -1};
    DL_RETURN_IF_ERROR(name_layer(b, common, &layer));
    layer.trainable = layer.trainable && !is_frozen(b->options, layer.name);
    int inputs[DL_OP_MAX_SLOTS], n_inputs = 0, *kept = NULL;
    DL_RETURN_IF_ERROR(find_inputs(b, common->from, inputs, &n_inputs));
    DL_RETURN_IF_ERROR(
        dl_grow(&model->layer, &model->capacity_layers, model->n_layers + 1, sizeof *model->layer));
    model->layer[model->n_layers] = layer;
    dl_layer_build build = {.model = model,
                            .diagnostics = b->diagnostics,
                            .data = b->options->data,
                            .seed = b->options->seed,
                            .variant = variant,
                            .layer = model->n_layers++};
    DL_RETURN_IF_ERROR(check_inputs(b, &build, kind, inputs, n_inputs));
    int output = -1;
    if (!build.failed && n_inputs > 0) {
        DL_RETURN_IF_ERROR(check_input_kinds(&build, kind, inputs, n_inputs));
    }
    if (!build.failed && n_inputs > 0) {
        DL_RETURN_IF_ERROR(kind->build(&build, variant->values, inputs, n_inputs, &output));
        DL_RETURN_IF_ERROR(dl_pool_alloc(model->pool, (size_t)n_inputs, sizeof *kept, &kept));
        memcpy(kept, inputs, (size_t)n_inputs * sizeof *kept);
    }
    b->previous = build.failed ? -1 : output;
    dl_layer *built = &model->layer[build.layer];
    built->output = b->previous;
    built->input = kept;
    built->n_inputs = kept == NULL ? 0 : n_inputs;
    if (b->previous >= 0) {
        built->output_shape = model->value[b->previous].shape;
    }
    return DL_OK;
}

static dl_status build_layers(builder *b) {
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

static dl_status build_all(builder *b) {
    DL_RETURN_IF_ERROR(dl_pool_create(&b->model->pool));
    DL_RETURN_IF_ERROR(add_input(b));
    if (b->diagnostics->n_errors > 0) {
        b->previous = -1; /* still read the layers, for their mistakes */
    }
    DL_RETURN_IF_ERROR(build_layers(b));
    DL_RETURN_IF_ERROR(check_freeze(b));
    if (b->previous >= 0) {
        DL_RETURN_IF_ERROR(dl_model_add_output(b->model, b->previous, b->options, b->diagnostics));
    }
    DL_RETURN_IF_ERROR(dl_diagnostics_finish(b->diagnostics));
    return dl_parameter_table_make(b->model, b->options->bucket_bytes);
}

dl_status dl_model_build(const dl_model_options *options, dl_diagnostics *diagnostics, dl_model **out) {
    builder b = {.options = options, .diagnostics = diagnostics, .previous = -1};
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
