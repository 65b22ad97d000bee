/* flatten: an image as a vector, in [height, width, channels] order. */
#include "model/layer.h"

static const dl_option options[] = {DL_LAYER_COMMON_OPTIONS, DL_OPTION_END};

static dl_status build_flatten(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                               int *output) {
    (void)values;
    (void)n_inputs;
    const dl_shape shape = DL_SHAPE(dl_shape_elements(&build->model->value[inputs[0]].shape));
    return dl_layer_view(build, inputs[0], &shape, output);
}

const dl_layer_kind dl_layer_flatten = {
    .variant = {.name = "flatten",
                .doc = "an image as a vector, in [height, width, channels] order",
                .options = options,
                .n_bytes = sizeof(dl_layer_common)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_flatten,
};
