#include "model/layers/pooling.h"

#include <string.h>

const dl_option dl_pooling_option_table[] = {
    {.name = "pool_size",
     .type = DL_TYPE_INTS,
     .offset = offsetof(dl_pooling_options, pool_size),
     .fallback = "2",
     .min = 1,
     .max = 255,
     .min_items = 1,
     .max_items = 2,
     .doc = "height and width of the window; one number for both"},
    {.name = "strides",
     .type = DL_TYPE_INTS,
     .offset = offsetof(dl_pooling_options, strides),
     .fallback = "[]",
     .min = 1,
     .max = 4096,
     .min_items = 0,
     .max_items = 2,
     .doc = "steps of the window; default: pool_size"},
    {.name = "padding",
     .type = DL_TYPE_INTS,
     .offset = offsetof(dl_pooling_options, padding),
     .fallback = "valid",
     .min = 0,
     .max = 255,
     .min_items = 1,
     .max_items = 4,
     .words = dl_window_paddings,
     .doc =
         "valid (none), same, or cells: all | rows, columns | top, bottom, left, right; padding never wins a "
         "maximum and does not count in an average"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status emit(dl_layer_build *build, dl_op_kind kind, const dl_window *window, int input,
                      int *output) {
    int y = -1, index = -1;
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &window->output, &y));
    const bool has_index = kind == DL_OP_MAX_POOLING2D_FORWARD;
    if (has_index) {
        DL_RETURN_IF_ERROR(dl_layer_value(build, "index", DL_U8, &window->output, &index));
    }
    dl_op_attr attr = {0};
    memcpy(attr.u.pool.window, window->size, sizeof window->size);
    memcpy(attr.u.pool.stride, window->stride, sizeof window->stride);
    memcpy(attr.u.pool.padding, window->padding, sizeof window->padding);
    const int slots[] = {input, y, index};
    *output = y;
    return dl_layer_op(build, kind, &attr, slots, has_index ? 3 : 2, NULL);
}

dl_status dl_pooling_build(dl_layer_build *build, dl_op_kind kind, const dl_pooling_options *options,
                           int input, int *output) {
    const dl_shape *in = &build->model->value[input].shape;
    dl_window window;
    DL_RETURN_IF_ERROR(dl_window_place(build, input, &options->pool_size, &options->strides,
                                       &options->padding, in->dim[2], &window));
    return build->failed ? DL_OK : emit(build, kind, &window, input, output);
}

dl_status dl_pooling_build_global(dl_layer_build *build, dl_op_kind kind, int input, int *output) {
    const dl_shape in = build->model->value[input].shape;
    const dl_int_list size = {.n = 2, .value = {in.dim[0], in.dim[1]}, .word = -1};
    const dl_int_list none = {.n = 1, .value = {0}, .word = -1};
    dl_window window;
    int image = -1;
    DL_RETURN_IF_ERROR(dl_window_place(build, input, &size, &size, &none, in.dim[2], &window));
    if (build->failed) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(emit(build, kind, &window, input, &image));
    return dl_layer_view(build, image, &DL_SHAPE(in.dim[2]), output);
}
