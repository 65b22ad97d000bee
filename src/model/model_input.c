/* What enters a model: the fields of the data set, augmented and normalised. */
#include "kernels/common/blocks.h"
#include "model/augment.h"
#include "model/builder.h"

static dl_status add_source(dl_model *model, dl_value_kind kind, const char *name, dl_dtype dtype,
                            const dl_shape *shape, int *value) {
    const dl_value source = {.kind = kind,
                             .name = name,
                             .layer = -1,
                             .dtype = dtype,
                             .batched = kind != DL_VALUE_STEP,
                             .shape = *shape,
                             .source = -1};
    return dl_model_add_value(model, &source, value);
}

/* The operation that turns pixels into numbers. */
static dl_status normalize_input(dl_builder *b, int x) {
    dl_model *model = b->model;
    const dl_model_data *data = b->options->data;
    const dl_shape *shape = &b->options->input_shape;
    DL_RETURN_IF_ERROR(dl_model_augment(model, b->options->augment, b->options->seed, b->diagnostics, &x));
    DL_RETURN_IF_ERROR(add_source(model, DL_VALUE_COMPUTED, "input", DL_F32, shape, &b->previous));
    model->value[b->previous].any_length = b->options->any_length;
    dl_op_attr attr = {.u.normalize = {.scale = data->dtype == DL_U8 ? 1.0 / 255.0 : 1.0, .n_values = 1}};
    const int64_t channels = shape->dim[shape->n_dims - 1];
    attr.u.normalize.n_values = data->n_normalize;
    if (data->n_normalize != 1 && data->n_normalize != channels) {
        return dl_diagnose(
            b->diagnostics, b->options->input_place,
            "data.mean and data.std have %d values, but the input has %lld channels; give 1 or as many "
            "as channels",
            data->n_normalize, (long long)channels);
    }
    for (int i = 0; i < data->n_normalize; i++) {
        attr.u.normalize.mean[i] = data->mean[i];
        attr.u.normalize.std[i] = data->std[i];
    }
    dl_layer_build build = {.model = model, .layer = -1};
    const int slots[] = {x, b->previous};
    return dl_layer_op(&build, DL_OP_NORMALIZE_IMAGES, &attr, slots, 2, NULL);
}

/* The field x, lengths where samples differ in it, and what every model may read. */
dl_status dl_builder_add_input(dl_builder *b) {
    dl_model *model = b->model;
    const dl_model_options *options = b->options;
    const dl_model_data *data = options->data;
    const dl_shape *shape = &options->input_shape;
    if (data->sample_shape.n_dims > 0 && !dl_shape_equal(shape, &data->sample_shape)) {
        char want[DL_SHAPE_TEXT_BYTES], have[DL_SHAPE_TEXT_BYTES];
        DL_RETURN_IF_ERROR(dl_diagnose(b->diagnostics, options->input_place,
                                       "model.input.shape is %s, but the samples of the data set are %s",
                                       dl_shape_text(shape, want), dl_shape_text(&data->sample_shape, have)));
    }
    DL_RETURN_IF_ERROR(dl_shape_check(shape));
    int x = -1;
    const dl_dtype dtype = options->tokens ? DL_I32 : data->dtype;
    DL_RETURN_IF_ERROR(add_source(model, DL_VALUE_FIELD, "x", dtype, shape, &x));
    model->value[x].any_length = options->any_length;
    DL_RETURN_IF_ERROR(add_source(model, DL_VALUE_IDS, "ids", DL_I64, &(dl_shape){0}, &model->ids));
    DL_RETURN_IF_ERROR(
        add_source(model, DL_VALUE_STEP, "step", DL_U8, &DL_SHAPE(sizeof(dl_step_block)), &model->step));
    model->lengths = -1;
    if (options->any_length) {
        DL_RETURN_IF_ERROR(
            add_source(model, DL_VALUE_FIELD, "lengths", DL_I32, &(dl_shape){0}, &model->lengths));
    }
    b->previous = x;
    return options->tokens ? DL_OK : normalize_input(b, x);
}
