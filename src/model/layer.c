/* What layers use to build themselves: values, parameters, operations. */
#include "model/layer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const dl_layer_activations[] = {"linear", "relu", "tanh", "sigmoid", "softmax", NULL};
enum { FUNCTION_LINEAR, FUNCTION_RELU, FUNCTION_TANH, FUNCTION_SIGMOID, FUNCTION_SOFTMAX };

#define DL_LAYER(name) extern const dl_layer_kind dl_layer_##name;
#include "model/layers.def"
#undef DL_LAYER

const dl_layer_kind *const *dl_layer_kinds(void) {
    static const dl_layer_kind *const kinds[] = {
#define DL_LAYER(name) &dl_layer_##name,
#include "model/layers.def"
#undef DL_LAYER
        NULL};
    return kinds;
}

const dl_variant_kind *const *dl_layer_variants(void) {
    static const dl_variant_kind *const variants[] = {
#define DL_LAYER(name) &dl_layer_##name.variant,
#include "model/layers.def"
#undef DL_LAYER
        NULL};
    return variants;
}

dl_status dl_layer_mistake(dl_layer_build *build, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const dl_layer *layer = &build->model->layer[build->layer];
    build->failed = true;
    return dl_diagnose(build->diagnostics, layer->place, "%s '%s': %s", layer->kind, layer->name, text);
}

const char *dl_layer_source_name(const dl_layer_build *build, int value) {
    const int layer = build->model->value[value].layer;
    return layer < 0 ? "the input" : build->model->layer[layer].name;
}

dl_status dl_model_add_value(dl_model *model, const dl_value *value, int *number) {
    DL_RETURN_IF_ERROR(
        dl_grow(&model->value, &model->capacity_values, model->n_values + 1, sizeof *model->value));
    *number = model->n_values;
    model->value[model->n_values++] = *value;
    return DL_OK;
}

/* Behind a shape whose elements cannot be counted nothing more can be built. */
static dl_status check_shape(dl_layer_build *build, const char *what, const dl_shape *shape) {
    char text[DL_SHAPE_TEXT_BYTES];
    if (dl_shape_check(shape) == DL_OK) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_layer_mistake(build, "has %s of shape %s, which is more than 2^48 numbers", what,
                                        dl_shape_text(shape, text)));
    return dl_diagnostics_finish(build->diagnostics);
}

dl_status dl_layer_value(dl_layer_build *build, const char *suffix, dl_dtype dtype, const dl_shape *shape,
                         int *value) {
    dl_model *model = build->model;
    char *name = NULL;
    const char *layer = model->layer[build->layer].name;
    DL_RETURN_IF_ERROR(check_shape(build, "an output", shape));
    DL_RETURN_IF_ERROR(dl_pool_printf(model->pool, &name, "%s%s%s", layer, suffix == NULL ? "" : ".",
                                      suffix == NULL ? "" : suffix));
    const dl_value made = {.kind = DL_VALUE_COMPUTED,
                           .name = name,
                           .layer = build->layer,
                           .dtype = dtype,
                           .batched = true,
                           .shape = *shape,
                           .source = -1,
                           .any_length = build->any_length && shape->n_dims == 2};
    return dl_model_add_value(model, &made, value);
}

dl_status dl_layer_state(dl_layer_build *build, const char *suffix, const dl_shape *shape, int *value) {
    DL_RETURN_IF_ERROR(dl_layer_value(build, suffix, DL_F32, shape, value));
    build->model->value[*value].kind = DL_VALUE_STATE;
    build->model->stateful = true;
    return DL_OK;
}

dl_status dl_layer_view(dl_layer_build *build, int source, const dl_shape *shape, int *value) {
    dl_value view = build->model->value[source];
    DL_RETURN_ERROR_IF(dl_shape_elements(&view.shape) != dl_shape_elements(shape), DL_ERR_INTERNAL,
                       "a view of '%s' has another number of elements", view.name);
    view.kind = DL_VALUE_VIEW;
    view.name = build->model->layer[build->layer].name;
    view.layer = build->layer;
    view.shape = *shape;
    view.source = source;
    return dl_model_add_value(build->model, &view, value);
}

dl_status dl_layer_statistic(dl_layer_build *build, const char *suffix, dl_dtype dtype, const dl_shape *shape,
                             int64_t group, int *value) {
    DL_RETURN_IF_ERROR(dl_layer_value(build, suffix, dtype, shape, value));
    build->model->value[*value].batched = false;
    build->model->value[*value].group = group;
    return DL_OK;
}

/* Appends a row to the model's declarations, and the value that stands for it. */
static dl_status declare(dl_layer_build *build, dl_parameter *parameter, int *value) {
    dl_model *model = build->model;
    const dl_layer *layer = &model->layer[build->layer];
    DL_RETURN_IF_ERROR(check_shape(build, "a parameter", &parameter->shape));
    DL_RETURN_IF_ERROR(dl_grow(&model->parameter, &model->capacity_parameters, model->n_parameters + 1,
                               sizeof *model->parameter));
    char *path = NULL;
    DL_RETURN_IF_ERROR(dl_pool_printf(model->pool, &path, "/%s/%s", layer->name, parameter->tensor));
    parameter->layer = layer->name;
    parameter->path = path;
    parameter->layer_index = build->layer;
    parameter->bucket = -1;
    parameter->n_elements = dl_shape_elements(&parameter->shape);
    model->parameter[model->n_parameters] = *parameter;
    const dl_value made = {.kind = DL_VALUE_PARAMETER,
                           .name = path,
                           .layer = build->layer,
                           .dtype = DL_F32,
                           .batched = false,
                           .shape = parameter->shape,
                           .source = model->n_parameters++,
                           .trainable = parameter->trainable};
    return dl_model_add_value(model, &made, value);
}

dl_status dl_layer_parameter(dl_layer_build *build, const char *tensor, const dl_shape *shape,
                             dl_init_kind init, double fan_in, double fan_out, int *value) {
    dl_layer *layer = &build->model->layer[build->layer];
    dl_parameter parameter = {.tensor = tensor,
                              .shape = *shape,
                              .init = init,
                              .fan_in = fan_in,
                              .fan_out = fan_out,
                              .trainable = layer->trainable,
                              .rate_factor = layer->rate_factor};
    DL_RETURN_IF_ERROR(declare(build, &parameter, value));
    layer->n_parameters += parameter.n_elements;
    return DL_OK;
}

dl_status dl_layer_moving(dl_layer_build *build, const char *tensor, const dl_shape *shape, dl_init_kind init,
                          int *value) {
    dl_parameter parameter = {.tensor = tensor, .shape = *shape, .init = init, .statistic = true};
    return declare(build, &parameter, value);
}

/* The desc of a model operation for one sample, to ask its info for FLOPs. */
static dl_op_desc one_sample_desc(const dl_model *model, const dl_model_op *op) {
    dl_op_desc desc = {.kind = op->kind, .attr = op->attr};
    for (int i = 0; i < dl_op_info_of(op->kind)->n_slots; i++) {
        if (op->slot[i] < 0) {
            continue;
        }
        const dl_value *value = &model->value[op->slot[i]];
        dl_tensor_desc *tensor = &desc.slot[i];
        tensor->present = true;
        tensor->dtype = value->dtype;
        tensor->shape = value->shape;
        if (value->batched) {
            tensor->shape.n_dims++;
            tensor->shape.dim[0] = 1;
            memcpy(&tensor->shape.dim[1], value->shape.dim, (DL_MAX_DIMS - 1) * sizeof(int64_t));
        }
    }
    return desc;
}

dl_status dl_layer_op(dl_layer_build *build, dl_op_kind kind, const dl_op_attr *attr, const int *slots,
                      int n_slots, dl_model_op **out) {
    dl_model *model = build->model;
    DL_RETURN_IF_ERROR(dl_grow(&model->op, &model->capacity_ops, model->n_ops + 1, sizeof *model->op));
    dl_model_op *op = &model->op[model->n_ops++];
    *op = (dl_model_op){.kind = kind, .attr = *attr, .layer = build->layer, .identity_of = -1};
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        op->slot[i] = i < n_slots ? slots[i] : -1;
    }
    const dl_op_info *info = dl_op_info_of(kind);
    if (info->flops != NULL && build->layer >= 0) {
        const dl_op_desc desc = one_sample_desc(model, op);
        model->layer[build->layer].forward_flops += info->flops(&desc);
    }
    if (out != NULL) {
        *out = op;
    }
    return DL_OK;
}

dl_status dl_layer_activate(dl_layer_build *build, int function, int input, int *output) {
    *output = input;
    if (function == FUNCTION_LINEAR) {
        return DL_OK;
    }
    const dl_value *value = &build->model->value[input];
    if (function == FUNCTION_SOFTMAX && value->shape.n_dims != 1 && value->shape.n_dims != 2) {
        char text[DL_SHAPE_TEXT_BYTES];
        return dl_layer_mistake(
            build, "activation softmax needs a vector, but here the shape is %s; use flatten first",
            dl_shape_text(&value->shape, text));
    }
    static const dl_activation kinds[] = {
        [FUNCTION_RELU] = DL_ACT_RELU, [FUNCTION_TANH] = DL_ACT_TANH, [FUNCTION_SIGMOID] = DL_ACT_SIGMOID};
    const dl_shape shape = value->shape;
    DL_RETURN_IF_ERROR(
        dl_layer_value(build, function == FUNCTION_SOFTMAX ? "softmax" : dl_layer_activations[function],
                       DL_F32, &shape, output));
    const int slots[] = {input, *output};
    if (function == FUNCTION_SOFTMAX) {
        return dl_layer_op(build, DL_OP_SOFTMAX_FORWARD, &(dl_op_attr){0}, slots, 2, NULL);
    }
    const dl_op_attr attr = {.activation = kinds[function]};
    return dl_layer_op(build, DL_OP_ACTIVATION_FORWARD, &attr, slots, 2, NULL);
}
