/* zero_padding2d: rows, columns and channels of zeros around an image. */
#include "model/layer.h"

typedef struct padding_options {
    dl_layer_common common;
    dl_int_list padding, channels;
} padding_options;

static const dl_option options[] = {
    {.name = "padding",
     .type = DL_TYPE_INTS,
     .offset = offsetof(padding_options, padding),
     .fallback = "1",
     .min = 0,
     .max = 4096,
     .min_items = 1,
     .max_items = 4,
     .doc = "cells: all | rows, columns | top, bottom, left, right"},
    {.name = "channels",
     .type = DL_TYPE_INTS,
     .offset = offsetof(padding_options, channels),
     .fallback = "[0, 0]",
     .min = 0,
     .max = 1 << 20,
     .min_items = 2,
     .max_items = 2,
     .doc = "channels of zeros before and behind"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status build_padding(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                               int *output) {
    (void)n_inputs;
    const padding_options *o = values;
    dl_shape shape = build->model->value[inputs[0]].shape;
    dl_op_attr attr = {0};
    if (shape.n_dims != 3) {
        char text[DL_SHAPE_TEXT_BYTES];
        return dl_layer_mistake(build, "needs an image [height, width, channels], but gets %s from '%s'",
                                dl_shape_text(&shape, text), dl_layer_source_name(build, inputs[0]));
    }
    if (o->padding.n == 3) {
        return dl_layer_mistake(build, "padding has 3 numbers; give 1 (all sides), 2 (rows, columns) or 4 "
                                       "(top, bottom, left, right)");
    }
    for (int i = 0; i < 4; i++) {
        const int at = o->padding.n == 4 ? i : o->padding.n == 2 ? i / 2 : 0;
        attr.u.padding.cells[i] = o->padding.value[at];
        shape.dim[i / 2] += attr.u.padding.cells[i];
    }
    for (int i = 0; i < 2; i++) {
        attr.u.padding.channels[i] = o->channels.value[i];
        shape.dim[2] += o->channels.value[i];
    }
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &shape, output));
    const int slots[] = {inputs[0], *output};
    return dl_layer_op(build, DL_OP_ZERO_PADDING2D_FORWARD, &attr, slots, 2, NULL);
}

const dl_layer_kind dl_layer_zero_padding2d = {
    .variant = {.name = "zero_padding2d",
                .doc = "rows, columns and channels of zeros around an image",
                .options = options,
                .n_bytes = sizeof(padding_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_padding,
};
