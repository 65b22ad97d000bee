#include "model/output.h"

#include "model/scoring.h"

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

/* --- what the model ends with, and what the data set has to compare it with --- */

static dl_place last_place(const dl_model *model) {
    return model->layer[model->n_layers - 1].place;
}

/* One class for a sample, or one for each position of a window of text. */
static dl_status check_rows(dl_model *model, const dl_shape *shape, const dl_model_options *options,
                            dl_diagnostics *diagnostics) {
    char text[DL_SHAPE_TEXT_BYTES];
    const int64_t rows = dl_shape_elements(shape) / shape->dim[shape->n_dims - 1];
    if (options->tokens && shape->n_dims == 2 && rows != options->input_shape.dim[0]) {
        return dl_diagnose(diagnostics, last_place(model),
                           "the model ends with shape %s: classes at %" PRId64
                           " positions, but a window of the text has %" PRId64
                           "; there must be as many, or one vector for the whole window",
                           dl_shape_text(shape, text), rows, options->input_shape.dim[0]);
    }
    if (options->data->has_target && !options->data->target_steps &&
        rows != dl_shape_elements(&options->data->target_shape)) {
        return dl_diagnose(diagnostics, last_place(model),
                           "the model ends with shape %s: classes at %" PRId64
                           " positions, but a sample of the data set has one; end the last lstm with "
                           "return_sequences: false, or put `- flatten: {}` before the last dense",
                           dl_shape_text(shape, text), rows);
    }
    return DL_OK;
}

static dl_status check_classes(dl_model *model, const dl_shape *shape, const dl_model_options *options,
                               dl_diagnostics *diagnostics) {
    const int64_t n_classes = options->data->n_classes, n_outputs = shape->dim[shape->n_dims - 1];
    if (n_classes > n_outputs) {
        return dl_diagnose(diagnostics, last_place(model),
                           "the model ends with %" PRId64 " outputs, but the data set has %" PRId64
                           " classes; use units: auto",
                           n_outputs, n_classes);
    }
    if (options->data->has_target && options->data->target_dtype != DL_I32) {
        return dl_diagnose(
            diagnostics, options->loss_place,
            "the loss %s needs class numbers, but y of the data set is %s; a loss of numbers is "
            "mean_squared_error",
            options->loss->variant.name, dl_dtype_name(options->data->target_dtype));
    }
    return check_rows(model, shape, options, diagnostics);
}

static dl_status check_values(dl_model *model, int last, const dl_shape *shape,
                              const dl_model_options *options, dl_diagnostics *diagnostics) {
    const dl_model_data *data = options->data;
    if (model->value[last].any_length) {
        return dl_diagnose(
            diagnostics, options->loss_place,
            "the loss %s is not there for every step of sequences of different lengths; that of "
            "classes is softmax_cross_entropy",
            options->loss->variant.name);
    }
    char have[DL_SHAPE_TEXT_BYTES], wanted[DL_SHAPE_TEXT_BYTES];
    if (options->tokens) { /* and so are what it is to be compared with */
        return dl_diagnose(
            diagnostics, options->loss_place,
            "the loss %s needs float32 targets, but those of a text are its tokens; the loss of "
            "classes is softmax_cross_entropy",
            options->loss->variant.name);
    }
    if (!data->has_target) {
        return DL_OK;
    }
    if (data->target_dtype != DL_F32) {
        return dl_diagnose(
            diagnostics, options->loss_place,
            "the loss %s needs float32 targets, but y of the data set is %s; the loss of classes is "
            "softmax_cross_entropy",
            options->loss->variant.name, dl_dtype_name(data->target_dtype));
    }
    if (dl_shape_elements(&data->target_shape) != dl_shape_elements(shape)) {
        return dl_diagnose(diagnostics, last_place(model),
                           "the model ends with shape %s, but y of the data set has %s; they must be equal",
                           dl_shape_text(shape, have), dl_shape_text(&data->target_shape, wanted));
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

/* Sequences of different lengths on one side, one thing for each sample on the other. */
static dl_status check_steps(dl_model *model, const dl_model_options *options, dl_diagnostics *diagnostics) {
    return dl_diagnose(
        diagnostics, last_place(model),
        options->data->target_steps
            ? "the model ends with one vector for each sample, but its steps have classes; keep "
              "return_sequences: true up to the output"
            : "the model ends with sequences of different lengths, but a sample has one target; "
              "end the last lstm with return_sequences: false");
}

static dl_status check_shape(dl_model *model, int last, const dl_shape *shape,
                             const dl_model_options *options, dl_diagnostics *diagnostics) {
    char text[DL_SHAPE_TEXT_BYTES];
    const bool classes = options->loss->target == DL_TARGET_CLASSES;
    if (shape->n_dims != 1 && shape->n_dims != 2) {
        return dl_diagnose(
            diagnostics, last_place(model),
            "the model ends with shape %s; the loss needs a vector with one number for each %s",
            dl_shape_text(shape, text), classes ? "class" : "target");
    }
    if (options->any_length && options->data->has_target &&
        model->value[last].any_length != options->data->target_steps) {
        return check_steps(model, options, diagnostics);
    }
    if (model->stateful && shape->n_dims == 1) {
        const dl_layer *layer = &model->layer[stateful_layer(model)];
        return dl_diagnose(
            diagnostics, layer->place,
            "%s '%s' is stateful, but the model ends in one vector for each window, and such windows "
            "are shuffled; use return_sequences: true up to the output",
            layer->kind, layer->name);
    }
    return classes ? check_classes(model, shape, options, diagnostics)
                   : check_values(model, last, shape, options, diagnostics);
}

/* --- loss and metrics --- */

/* Softmax behind the last layer, unless the model ends with one. */
static dl_status add_softmax(dl_layer_build *build, int last, int *probabilities) {
    const dl_model_op *maker = maker_of(build->model, last);
    *probabilities = last;
    if (maker != NULL && maker->kind == DL_OP_SOFTMAX_FORWARD) {
        return DL_OK;
    }
    const dl_shape shape = build->model->value[last].shape;
    DL_RETURN_IF_ERROR(
        add_value(build->model, DL_VALUE_COMPUTED, "probabilities", DL_F32, &shape, probabilities));
    build->model->value[*probabilities].any_length = build->model->value[last].any_length;
    const int slots[] = {last, *probabilities};
    return dl_layer_op(build, DL_OP_SOFTMAX_FORWARD, &(dl_op_attr){0}, slots, 2, NULL);
}

static dl_status add_metrics(dl_score_build *b, const dl_model_options *options) {
    dl_output *output = &b->build.model->output;
    for (int i = 0; i < options->n_metrics && i < DL_MAX_FIGURES; i++) {
        const dl_metric_kind *metric = dl_metric_find(options->metrics[i]);
        DL_RETURN_ERROR_IF(metric == NULL || metric->target != options->loss->target, DL_ERR_USAGE,
                           "the loss %s has no metric '%s'", options->loss->variant.name,
                           options->metrics[i]);
        DL_RETURN_IF_ERROR(metric->build(b, &output->metric[i]));
        output->metric_name[i] = metric->variant.name;
        output->finish[i] = metric->finish;
        output->n_metrics = i + 1;
    }
    return DL_OK;
}

static dl_status add_output(dl_model *model, int last, const dl_model_options *options,
                            dl_diagnostics *diagnostics) {
    const dl_shape shape = model->value[last].shape;
    const bool classes = options->loss->target == DL_TARGET_CLASSES;
    const int n_before = diagnostics->n_errors;
    DL_RETURN_IF_ERROR(check_shape(model, last, &shape, options, diagnostics));
    if (diagnostics->n_errors > n_before) {
        return DL_OK;
    }
    dl_score_build b = {.build = {.model = model, .layer = -1, .diagnostics = diagnostics},
                        .scores = last,
                        .label_smoothing = options->label_smoothing,
                        .loss = -1};
    dl_output *output = &model->output;
    dl_shape target = shape;
    if (classes) {
        target.dim[--target.n_dims] = 0;
    }
    output->value = last;
    output->classes = classes;
    output->rows = dl_shape_elements(&shape) / shape.dim[shape.n_dims - 1];
    DL_RETURN_IF_ERROR(
        add_value(model, DL_VALUE_FIELD, "y", classes ? DL_I32 : DL_F32, &target, &output->labels));
    model->value[output->labels].any_length = model->value[last].any_length;
    b.targets = output->labels;
    if (classes) {
        DL_RETURN_IF_ERROR(add_softmax(&b.build, last, &b.scores));
    }
    output->scores = b.scores;
    DL_RETURN_IF_ERROR(options->loss->build(&b, &output->loss));
    b.loss = output->loss;
    return add_metrics(&b, options);
}

dl_status dl_model_add_output(dl_model *model, int last, const dl_model_options *options,
                              dl_diagnostics *diagnostics) {
    dl_model_options complete = *options;
    if (complete.loss == NULL) {
        complete.loss = dl_loss_at(0);
    }
    return add_output(model, last, &complete, diagnostics);
}
