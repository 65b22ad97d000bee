#include "model/output.h"

#include "model/layer.h"

#include <inttypes.h>
#include <string.h>

static dl_status add_value(dl_model *model, dl_value_kind kind, const char *name, dl_dtype dtype,
                           const dl_shape *shape, int *value) {
    const dl_value made = {.kind = kind,
                           .name = name,
                           .layer = -1,
                           .dtype = dtype,
                           .batched = true,
                           .shape = *shape,
                           .source = -1};
    return dl_model_add_value(model, &made, value);
}

/* The operation that makes a value, or NULL. */
static const dl_model_op *maker_of(const dl_model *model, int value) {
    for (int i = model->n_ops - 1; i >= 0; i--) {
        const dl_op_info *info = dl_op_info_of(model->op[i].kind);
        for (int s = 0; s < info->n_slots; s++) {
            if (info->slots[s].role == DL_SLOT_OUT && model->op[i].slot[s] == value) {
                return &model->op[i];
            }
        }
    }
    return NULL;
}

static dl_status add_metrics(dl_layer_build *build, int probabilities, const dl_model_options *options) {
    dl_output *output = &build->model->output;
    for (int i = 0; i < options->n_metrics && i < 4; i++) {
        output->metric_name[i] = options->metrics[i];
        DL_RETURN_ERROR_IF(strcmp(options->metrics[i], "accuracy") != 0, DL_ERR_USAGE, "unknown metric '%s'",
                           options->metrics[i]);
        DL_RETURN_IF_ERROR(add_value(build->model, DL_VALUE_COMPUTED, options->metrics[i], DL_F32,
                                     &build->model->value[output->loss].shape, &output->metric[i]));
        const int slots[] = {probabilities, output->labels, output->metric[i]};
        const dl_op_attr attr = {.u.accuracy.k = 1};
        DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_ACCURACY, &attr, slots, 3, NULL));
        output->n_metrics = i + 1;
    }
    return DL_OK;
}

/* The first layer that carries a state. */
static int stateful_layer(const dl_model *model) {
    int v = 0;
    while (model->value[v].kind != DL_VALUE_STATE) {
        v++;
    }
    return model->value[v].layer;
}

dl_status dl_model_add_output(dl_model *model, int last, const dl_model_options *options,
                              dl_diagnostics *diagnostics) {
    const dl_shape shape = model->value[last].shape;
    char text[DL_SHAPE_TEXT_BYTES];
    if (shape.n_dims != 1 && shape.n_dims != 2) {
        return dl_diagnose(
            diagnostics, model->layer[model->n_layers - 1].place,
            "the model ends with shape %s; the loss needs a vector with one number for each class",
            dl_shape_text(&shape, text));
    }
    if (model->value[last].any_length) {
        return dl_diagnose(
            diagnostics, model->layer[model->n_layers - 1].place,
            "the model ends with sequences of different lengths, but a sample has one label; end the last lstm "
            "with return_sequences: false");
    }
    if (model->stateful && shape.n_dims == 1) {
        return dl_diagnose(diagnostics, model->layer[stateful_layer(model)].place,
                           "%s '%s' is stateful, but the model ends in one vector for each window, and such windows "
                           "are shuffled; use return_sequences: true up to the output",
                           model->layer[stateful_layer(model)].kind, model->layer[stateful_layer(model)].name);
    }
    const int64_t n_outputs = shape.dim[shape.n_dims - 1];
    dl_shape rows = shape; /* one label for each vector */
    rows.n_dims--;
    const int64_t n_classes = options->data->n_classes;
    if (n_classes > n_outputs) {
        return dl_diagnose(diagnostics, model->layer[model->n_layers - 1].place,
                           "the model ends with %" PRId64 " outputs, but the data set has %" PRId64
                           " classes; use units: auto",
                           n_outputs, n_classes);
    }
    dl_layer_build build = {.model = model, .layer = -1, .diagnostics = diagnostics};
    dl_output *output = &model->output;
    output->value = last;
    output->rows = dl_shape_elements(&rows);
    DL_RETURN_IF_ERROR(add_value(model, DL_VALUE_FIELD, "y", DL_I32, &rows, &output->labels));
    int probabilities = last;
    const dl_model_op *maker = maker_of(model, last);
    if (maker == NULL || maker->kind != DL_OP_SOFTMAX_FORWARD) {
        DL_RETURN_IF_ERROR(
            add_value(model, DL_VALUE_COMPUTED, "probabilities", DL_F32, &shape, &probabilities));
        const int slots[] = {last, probabilities};
        DL_RETURN_IF_ERROR(dl_layer_op(&build, DL_OP_SOFTMAX_FORWARD, &(dl_op_attr){0}, slots, 2, NULL));
    }
    DL_RETURN_IF_ERROR(add_value(model, DL_VALUE_COMPUTED, "loss", DL_F32, &rows, &output->loss));
    const int slots[] = {probabilities, output->labels, output->loss};
    DL_RETURN_IF_ERROR(dl_layer_op(&build, DL_OP_CROSS_ENTROPY_FORWARD, &(dl_op_attr){0}, slots, 3, NULL));
    return add_metrics(&build, probabilities, options);
}
