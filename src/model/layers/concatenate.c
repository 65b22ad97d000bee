/* concatenate: its inputs side by side along the last dimension (channels, features). */
#include "model/layer.h"

static const dl_option options[] = {DL_LAYER_COMMON_OPTIONS, DL_OPTION_END};

/* Whether two shapes are alike but for the last dimension. */
static bool fit(const dl_shape *a, const dl_shape *b) {
    dl_shape alike = *b;
    if (a->n_dims != b->n_dims || a->n_dims == 0) {
        return false;
    }
    alike.dim[a->n_dims - 1] = a->dim[a->n_dims - 1];
    return dl_shape_equal(a, &alike);
}

static dl_status build_concatenate(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                                   int *output) {
    (void)values;
    const dl_value *all = build->model->value;
    dl_shape shape = all[inputs[0]].shape;
    dl_op_attr attr = {0};
    int slots[DL_MAX_CONCATENATED + 1];
    int64_t width = 0;
    for (int i = 0; i < DL_MAX_CONCATENATED; i++) {
        slots[i] = i < n_inputs ? inputs[i] : -1;
        if (i < n_inputs && !fit(&shape, &all[inputs[i]].shape)) {
            char first[DL_SHAPE_TEXT_BYTES], other[DL_SHAPE_TEXT_BYTES];
            return dl_layer_mistake(
                build,
                "joins shapes that differ in the last dimension only, but gets %s from '%s' and %s from '%s'",
                dl_shape_text(&shape, first), dl_layer_source_name(build, inputs[0]),
                dl_shape_text(&all[inputs[i]].shape, other), dl_layer_source_name(build, inputs[i]));
        }
        attr.u.concatenate.width[i] = i < n_inputs ? all[inputs[i]].shape.dim[shape.n_dims - 1] : 0;
        width += attr.u.concatenate.width[i];
    }
    shape.dim[shape.n_dims - 1] = width;
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &shape, output));
    slots[DL_MAX_CONCATENATED] = *output;
    return dl_layer_op(build, DL_OP_CONCATENATE_FORWARD, &attr, slots, DL_MAX_CONCATENATED + 1, NULL);
}

const dl_layer_kind dl_layer_concatenate = {
    .variant = {.name = "concatenate",
                .doc = "its inputs (from: [A, B, ...]) side by side along the last dimension",
                .options = options,
                .n_bytes = sizeof(dl_layer_common)},
    .min_inputs = 2,
    .max_inputs = DL_MAX_CONCATENATED,
    .build = build_concatenate,
};
