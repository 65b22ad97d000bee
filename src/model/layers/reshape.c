/* reshape: the same numbers in the same order under another shape. */
#include "model/layer.h"

#include <inttypes.h>

typedef struct reshape_options {
    dl_layer_common common;
    dl_int_list shape;
} reshape_options;

static const dl_option options[] = {
    {.name = "shape",
     .type = DL_TYPE_INTS,
     .offset = offsetof(reshape_options, shape),
     .min = -1,
     .max = (double)(INT64_C(1) << 40),
     .min_items = 1,
     .max_items = DL_MAX_DIMS - 1,
     .doc = "dimensions of one sample; one of them may be -1: what is left"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status build_reshape(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                               int *output) {
    (void)n_inputs;
    const reshape_options *o = values;
    const dl_shape *in = &build->model->value[inputs[0]].shape;
    const int64_t elements = dl_shape_elements(in);
    dl_shape shape = {.n_dims = o->shape.n};
    int64_t known = 1;
    int open = -1, n_open = 0;
    for (int i = 0; i < o->shape.n; i++) {
        shape.dim[i] = o->shape.value[i];
        if (shape.dim[i] == -1) {
            open = i;
            n_open++;
        } else if (shape.dim[i] > 0 && known <= elements) {
            known *= shape.dim[i];
        }
    }
    if (open >= 0) {
        shape.dim[open] = elements / known;
    }
    char have[DL_SHAPE_TEXT_BYTES], want[DL_SHAPE_TEXT_BYTES];
    if (n_open > 1 || dl_shape_check(&shape) != DL_OK || dl_shape_elements(&shape) != elements) {
        return dl_layer_mistake(build,
                                "cannot give %s from '%s', which has %" PRId64 " numbers, the shape %s",
                                dl_shape_text(in, have), dl_layer_source_name(build, inputs[0]), elements,
                                dl_shape_text(&shape, want));
    }
    return dl_layer_view(build, inputs[0], &shape, output);
}

const dl_layer_kind dl_layer_reshape = {
    .variant = {.name = "reshape",
                .doc = "the same numbers in the same order under another shape",
                .options = options,
                .n_bytes = sizeof(reshape_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_reshape,
};
