#include "model/layers/window.h"

#include <inttypes.h>

const char *const dl_window_paddings[] = {"valid", "same", NULL};
enum { PADDING_VALID, PADDING_SAME };

static void explicit_padding(const dl_int_list *list, int64_t out[4]) {
    for (int i = 0; i < 4; i++) {
        out[i] = list->n == 4 ? list->value[i] : list->value[list->n == 2 ? i / 2 : 0];
    }
}

/* Keras's `same`: ceil(in / stride) cells, the odd padding cell last. */
static void same_padding(int64_t in, int64_t size, int64_t stride, int64_t out[2]) {
    const int64_t cells = (in + stride - 1) / stride;
    const int64_t total = (cells - 1) * stride + size - in;
    out[0] = total > 0 ? total / 2 : 0;
    out[1] = total > 0 ? total - out[0] : 0;
}

static dl_status place_axis(dl_layer_build *build, int input, int axis, dl_window *window) {
    static const char *const axis_names[] = {"high", "wide"};
    const dl_value *value = &build->model->value[input];
    const int64_t in = value->shape.dim[axis];
    const int64_t *padding = &window->padding[2 * axis];
    const int64_t span = in + padding[0] + padding[1] - window->size[axis];
    if (span < 0) {
        char text[DL_SHAPE_TEXT_BYTES];
        return dl_layer_mistake(build,
                                "the window is %" PRId64
                                " cells %s, but its input %s from '%s' has only %" PRId64
                                " with padding; use a smaller window or padding: same",
                                window->size[axis], axis_names[axis], dl_shape_text(&value->shape, text),
                                dl_layer_source_name(build, input), in + padding[0] + padding[1]);
    }
    if (padding[0] >= window->size[axis] || padding[1] >= window->size[axis]) {
        return dl_layer_mistake(build,
                                "padding of %" PRId64 " cells is not smaller than the window of %" PRId64,
                                padding[0] > padding[1] ? padding[0] : padding[1], window->size[axis]);
    }
    window->output.dim[axis] = span / window->stride[axis] + 1;
    return DL_OK;
}

dl_status dl_window_place(dl_layer_build *build, int input, const dl_int_list *size,
                          const dl_int_list *stride, const dl_int_list *padding, int64_t channels,
                          dl_window *out) {
    const dl_value *value = &build->model->value[input];
    *out = (dl_window){.output = DL_SHAPE(0, 0, channels)};
    if (value->shape.n_dims != 3) {
        char text[DL_SHAPE_TEXT_BYTES];
        return dl_layer_mistake(build, "needs an image [height, width, channels], but gets %s from '%s'",
                                dl_shape_text(&value->shape, text), dl_layer_source_name(build, input));
    }
    for (int axis = 0; axis < 2; axis++) {
        out->size[axis] = size->value[size->n == 2 ? axis : 0];
        out->stride[axis] = stride->n == 0 ? out->size[axis] : stride->value[stride->n == 2 ? axis : 0];
        if (padding->word == PADDING_SAME) {
            same_padding(value->shape.dim[axis], out->size[axis], out->stride[axis], &out->padding[2 * axis]);
        }
    }
    if (padding->word < 0) {
        if (padding->n == 3) {
            return dl_layer_mistake(build,
                                    "padding has 3 numbers; give 1 (all sides), 2 (rows, columns) or 4 "
                                    "(top, bottom, left, right)");
        }
        explicit_padding(padding, out->padding);
    }
    DL_RETURN_IF_ERROR(place_axis(build, input, 0, out));
    return build->failed ? DL_OK : place_axis(build, input, 1, out);
}
