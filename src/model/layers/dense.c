/* dense: y = x W^T + b over vectors, or over every position of a sequence. */
#include "model/layer.h"

typedef struct dense_options {
    dl_layer_common common;
    int64_t units;
    int activation;
    bool use_bias;
} dense_options;

static const char *const unit_words[] = {"auto", NULL};

static const dl_option options[] = {
    {.name = "units",
     .type = DL_TYPE_INT,
     .offset = offsetof(dense_options, units),
     .min = 1,
     .max = 1 << 28,
     .words = unit_words,
     .doc = "number of outputs; auto: the number of classes (of a text: the vocabulary) of the data set"},
    {.name = "activation",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dense_options, activation),
     .fallback = "linear",
     .words = dl_layer_activations,
     .doc = "function applied to the output"},
    {.name = "use_bias",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(dense_options, use_bias),
     .fallback = "true",
     .doc = "add a bias for each output"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status emit(dl_layer_build *build, const dense_options *o, int input, int64_t units, int *output) {
    dl_shape shape = build->model->value[input].shape;
    const int64_t in = shape.dim[shape.n_dims - 1];
    shape.dim[shape.n_dims - 1] = units;
    int weight = -1, bias = -1, y = -1;
    DL_RETURN_IF_ERROR(dl_layer_parameter(build, "weight", &DL_SHAPE(units, in), DL_INIT_GLOROT_UNIFORM,
                                          (double)in, (double)units, &weight));
    if (o->use_bias) {
        DL_RETURN_IF_ERROR(dl_layer_parameter(build, "bias", &DL_SHAPE(units), DL_INIT_ZERO, 0, 0, &bias));
    }
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &shape, &y));
    const int slots[] = {input, weight, bias, y};
    DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_DENSE_FORWARD, &(dl_op_attr){0}, slots, 4, NULL));
    return dl_layer_activate(build, o->activation, y, output);
}

static dl_status build_dense(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                             int *output) {
    (void)n_inputs;
    const dense_options *o = values;
    const dl_shape *in = &build->model->value[inputs[0]].shape;
    if (in->n_dims != 1 && in->n_dims != 2) {
        char text[DL_SHAPE_TEXT_BYTES];
        return dl_layer_mistake(build, "needs a vector, but gets %s from '%s'; put `- flatten: {}` before it",
                                dl_shape_text(in, text), dl_layer_source_name(build, inputs[0]));
    }
    int64_t units = o->units;
    if (units == DL_WORD(0)) {
        units = build->data->n_classes;
        if (units <= 0) {
            return dl_layer_mistake(build,
                                    "units: auto needs a data set with classes; give the number instead");
        }
    }
    return emit(build, o, inputs[0], units, output);
}

const dl_layer_kind dl_layer_dense = {
    .variant = {.name = "dense",
                .doc = "fully connected layer over vectors, or over every position of a sequence",
                .options = options,
                .n_bytes = sizeof(dense_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_any_length = true,
    .build = build_dense,
};
