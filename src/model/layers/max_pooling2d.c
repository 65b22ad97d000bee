/* max_pooling2d: the largest value of each window. */
#include "model/layers/window.h"

#include <string.h>

typedef struct pooling_options {
    dl_layer_common common;
    dl_int_list pool_size, strides, padding;
} pooling_options;

static const dl_option options[] = {
    {.name = "pool_size",
     .type = DL_TYPE_INTS,
     .offset = offsetof(pooling_options, pool_size),
     .fallback = "2",
     .min = 1,
     .max = 255,
     .min_items = 1,
     .max_items = 2,
     .doc = "height and width of the window; one number for both"},
    {.name = "strides",
     .type = DL_TYPE_INTS,
     .offset = offsetof(pooling_options, strides),
     .fallback = "[]",
     .min = 1,
     .max = 4096,
     .min_items = 0,
     .max_items = 2,
     .doc = "steps of the window; default: pool_size"},
    {.name = "padding",
     .type = DL_TYPE_INTS,
     .offset = offsetof(pooling_options, padding),
     .fallback = "valid",
     .min = 0,
     .max = 255,
     .min_items = 1,
     .max_items = 4,
     .words = dl_window_paddings,
     .doc =
         "valid (none), same, or cells: all | rows, columns | top, bottom, left, right; padding never wins"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status build_pooling(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                               int *output) {
    (void)n_inputs;
    const pooling_options *o = values;
    const dl_shape *in = &build->model->value[inputs[0]].shape;
    dl_window window;
    DL_RETURN_IF_ERROR(
        dl_window_place(build, inputs[0], &o->pool_size, &o->strides, &o->padding, in->dim[2], &window));
    if (build->failed) {
        return DL_OK;
    }
    int y = -1, index = -1;
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &window.output, &y));
    DL_RETURN_IF_ERROR(dl_layer_value(build, "index", DL_U8, &window.output, &index));
    dl_op_attr attr = {0};
    memcpy(attr.u.pool.window, window.size, sizeof window.size);
    memcpy(attr.u.pool.stride, window.stride, sizeof window.stride);
    memcpy(attr.u.pool.padding, window.padding, sizeof window.padding);
    const int slots[] = {inputs[0], y, index};
    *output = y;
    return dl_layer_op(build, DL_OP_MAX_POOLING2D_FORWARD, &attr, slots, 3, NULL);
}

const dl_layer_kind dl_layer_max_pooling2d = {
    .variant = {.name = "max_pooling2d",
                .doc = "largest value of each window",
                .options = options,
                .n_bytes = sizeof(pooling_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_pooling,
};
