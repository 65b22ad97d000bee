/* add: the sum of its inputs, element by element. */
#include "model/layer.h"

enum { MOST_INPUTS = 10 };

typedef struct add_options {
    dl_layer_common common;
    int activation;
} add_options;

static const dl_option options[] = {
    {.name = "activation",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(add_options, activation),
     .fallback = "linear",
     .words = dl_layer_activations,
     .doc = "function applied to the sum"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status build_add(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                           int *output) {
    const add_options *o = values;
    const dl_shape shape = build->model->value[inputs[0]].shape;
    int sum = inputs[0];
    for (int i = 1; i < n_inputs; i++) {
        char first[DL_SHAPE_TEXT_BYTES], other[DL_SHAPE_TEXT_BYTES];
        const dl_shape *next = &build->model->value[inputs[i]].shape;
        if (!dl_shape_equal(&shape, next)) {
            return dl_layer_mistake(build, "adds equal shapes, but gets %s from '%s' and %s from '%s'",
                                    dl_shape_text(&shape, first), dl_layer_source_name(build, inputs[0]),
                                    dl_shape_text(next, other), dl_layer_source_name(build, inputs[i]));
        }
        int slots[3] = {sum, inputs[i], -1};
        DL_RETURN_IF_ERROR(
            dl_layer_value(build, i + 1 == n_inputs ? NULL : "partial", DL_F32, &shape, &slots[2]));
        DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_ADD, &(dl_op_attr){0}, slots, 3, NULL));
        sum = slots[2];
    }
    return dl_layer_activate(build, o->activation, sum, output);
}

const dl_layer_kind dl_layer_add = {
    .variant = {.name = "add",
                .doc = "sum of its inputs (from: [A, B, ...]), which have one shape",
                .options = options,
                .n_bytes = sizeof(add_options)},
    .min_inputs = 2,
    .max_inputs = MOST_INPUTS,
    .build = build_add,
};
