/* max_pooling2d: the largest value of each window. */
#include "model/layers/pooling.h"

static dl_status build_max_pooling2d(dl_layer_build *build, const void *options, const int *inputs,
                                     int n_inputs, int *output) {
    (void)n_inputs;
    return dl_pooling_build(build, DL_OP_MAX_POOLING2D_FORWARD, options, inputs[0], output);
}

const dl_layer_kind dl_layer_max_pooling2d = {
    .variant = {.name = "max_pooling2d",
                .doc = "largest value of each window",
                .options = dl_pooling_option_table,
                .n_bytes = sizeof(dl_pooling_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_max_pooling2d,
};
