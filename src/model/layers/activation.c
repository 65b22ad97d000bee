/* activation: a function of each element (softmax: of each vector). */
#include "model/layer.h"

typedef struct activation_options {
    dl_layer_common common;
    int function;
} activation_options;

static const dl_option options[] = {
    {.name = "function",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(activation_options, function),
     .words = dl_layer_activations,
     .doc = "which"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status build_activation(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                                  int *output) {
    (void)n_inputs;
    const activation_options *o = values;
    return dl_layer_activate(build, o->function, inputs[0], output);
}

const dl_layer_kind dl_layer_activation = {
    .variant = {.name = "activation",
                .doc = "relu, tanh, sigmoid or softmax",
                .options = options,
                .n_bytes = sizeof(activation_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_any_length = true,
    .build = build_activation,
};
