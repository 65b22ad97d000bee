/* conv2d: cross-correlation over images, y[p,q,k] = b[k] + sum x[p*s+r, q*s+t, c] * w[k,c,r,t]. */
#include "model/layers/window.h"

#include <inttypes.h>
#include <string.h>

typedef struct conv2d_options {
    dl_layer_common common;
    int64_t filters, groups;
    dl_int_list kernel_size, strides, padding;
    int activation;
    bool use_bias;
} conv2d_options;

static const dl_option options[] = {
    {.name = "filters",
     .type = DL_TYPE_INT,
     .offset = offsetof(conv2d_options, filters),
     .min = 1,
     .max = 1 << 20,
     .doc = "output channels"},
    {.name = "kernel_size",
     .type = DL_TYPE_INTS,
     .offset = offsetof(conv2d_options, kernel_size),
     .min = 1,
     .max = 4096,
     .min_items = 1,
     .max_items = 2,
     .doc = "height and width of the window; one number for both"},
    {.name = "strides",
     .type = DL_TYPE_INTS,
     .offset = offsetof(conv2d_options, strides),
     .fallback = "1",
     .min = 1,
     .max = 4096,
     .min_items = 1,
     .max_items = 2,
     .doc = "steps of the window"},
    {.name = "padding",
     .type = DL_TYPE_INTS,
     .offset = offsetof(conv2d_options, padding),
     .fallback = "valid",
     .min = 0,
     .max = 4096,
     .min_items = 1,
     .max_items = 4,
     .words = dl_window_paddings,
     .doc = "valid (none), same, or cells: all | rows, columns | top, bottom, left, right"},
    {.name = "groups",
     .type = DL_TYPE_INT,
     .offset = offsetof(conv2d_options, groups),
     .fallback = "1",
     .min = 1,
     .max = 1 << 20,
     .doc = "channels are split into this many groups that do not mix"},
    {.name = "activation",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(conv2d_options, activation),
     .fallback = "linear",
     .words = dl_layer_activations,
     .doc = "function applied to the output"},
    {.name = "use_bias",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(conv2d_options, use_bias),
     .fallback = "true",
     .doc = "add a bias for each output channel"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status emit(dl_layer_build *build, const conv2d_options *o, int input, const dl_window *window,
                      int *output) {
    const int64_t in_channels = build->model->value[input].shape.dim[2] / o->groups;
    const dl_shape shape = DL_SHAPE(o->filters, in_channels, window->size[0], window->size[1]);
    const double receptive = (double)(window->size[0] * window->size[1]);
    int weight = -1, bias = -1, y = -1;
    DL_RETURN_IF_ERROR(dl_layer_parameter(build, "weight", &shape, DL_INIT_GLOROT_UNIFORM,
                                          receptive * (double)in_channels, receptive * (double)o->filters,
                                          &weight));
    if (o->use_bias) {
        DL_RETURN_IF_ERROR(
            dl_layer_parameter(build, "bias", &DL_SHAPE(o->filters), DL_INIT_ZERO, 0, 0, &bias));
    }
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &window->output, &y));
    dl_op_attr attr = {.u.conv.groups = o->groups};
    memcpy(attr.u.conv.stride, window->stride, sizeof window->stride);
    memcpy(attr.u.conv.padding, window->padding, sizeof window->padding);
    const int slots[] = {input, weight, bias, y};
    DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_CONV2D_FORWARD, &attr, slots, 4, NULL));
    return dl_layer_activate(build, o->activation, y, output);
}

static dl_status build_conv2d(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                              int *output) {
    (void)n_inputs;
    const conv2d_options *o = values;
    dl_window window;
    DL_RETURN_IF_ERROR(
        dl_window_place(build, inputs[0], &o->kernel_size, &o->strides, &o->padding, o->filters, &window));
    if (build->failed) {
        return DL_OK;
    }
    const int64_t channels = build->model->value[inputs[0]].shape.dim[2];
    if (channels % o->groups != 0 || o->filters % o->groups != 0) {
        return dl_layer_mistake(build,
                                "groups: %" PRId64 " does not divide the %" PRId64
                                " input channels and the %" PRId64 " filters",
                                o->groups, channels, o->filters);
    }
    return emit(build, o, inputs[0], &window, output);
}

const dl_layer_kind dl_layer_conv2d = {
    .variant = {.name = "conv2d",
                .doc = "2-D convolution over [height, width, channels]",
                .options = options,
                .n_bytes = sizeof(conv2d_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_conv2d,
};
