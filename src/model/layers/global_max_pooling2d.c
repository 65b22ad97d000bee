/* global_max_pooling2d: the largest value of each channel over the image. */
#include "model/layers/pooling.h"

static const dl_option options[] = {DL_LAYER_COMMON_OPTIONS, DL_OPTION_END};

static dl_status build_global_max_pooling2d(dl_layer_build *build, const void *values, const int *inputs,
                                            int n_inputs, int *output) {
    (void)values;
    (void)n_inputs;
    return dl_pooling_build_global(build, DL_OP_MAX_POOLING2D_FORWARD, inputs[0], output);
}

const dl_layer_kind dl_layer_global_max_pooling2d = {
    .variant = {.name = "global_max_pooling2d",
                .doc = "largest value of each channel over the image: a vector",
                .options = options,
                .n_bytes = sizeof(dl_layer_common)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_global_max_pooling2d,
};
