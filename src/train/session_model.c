/* The model of a session: what the config asks for, over what the data set holds. */
#include "train/session_parts.h"

#include "model/scoring.h"
#include "train/views.h"

#include <string.h>

enum { FIELD_X, FIELD_Y };

/* The input as the config wants it: a first dimension that is left open is the data set's. */
static dl_shape input_shape(const dl_session *session, bool ragged) {
    const dl_int_list *wanted = &session->config->model.input.shape;
    const dl_field *x = &session->train_info.field[FIELD_X];
    dl_shape shape = {.n_dims = wanted->n};
    memcpy(shape.dim, wanted->value, (size_t)wanted->n * sizeof *wanted->value);
    if (dl_config_is_open(shape.dim[0])) {
        const int64_t fixed = x->sample_shape.n_dims > 0 ? x->sample_shape.dim[0] : 1;
        const int64_t longest = dl_views_max_length(session);
        shape.dim[0] = ragged && longest > 0 ? longest : fixed;
    }
    if (session->one_position) {
        shape.dim[0] = 1;
    }
    return shape;
}

/* Does the data set hold what the config says: tokens, samples of one shape or of different lengths? */
static dl_status check_kind_of_input(const dl_session *session, dl_diagnostics *diagnostics) {
    const dl_input_config *input = &session->config->model.input;
    const dl_field_kind kind = session->train_info.field[FIELD_X].kind;
    const bool tokens = input->dtype != 0;
    if (tokens != (kind == DL_FIELD_TOKENS)) {
        return dl_diagnose(diagnostics, session->config->input_place,
                           tokens ? "dtype is tokens, but the data set in '%s' holds no text"
                                  : "the data set in '%s' holds a text; write dtype: tokens beside the shape",
                           session->config->data.path);
    }
    if (kind == DL_FIELD_RAGGED && !dl_config_is_open(input->shape.value[0])) {
        return dl_diagnose(diagnostics, session->config->input_place,
                           "the samples of the data set in '%s' have different lengths; write null for the "
                           "first number of the shape",
                           session->config->data.path);
    }
    return DL_OK;
}

dl_status dl_session_build_model(dl_session *session, dl_diagnostics *diagnostics) {
    const dl_config *config = session->config;
    const dl_field *x = &session->train_info.field[FIELD_X];
    const char *metrics[DL_MAX_LIST];
    for (int i = 0; i < config->train.metrics.n; i++) {
        metrics[i] = dl_metric_at(config->train.metrics.value[i])->variant.name;
    }
    const dl_field *y = &session->train_info.field[FIELD_Y];
    const bool ragged = x->kind == DL_FIELD_RAGGED;
    dl_model_data data = {.sample_shape = x->sample_shape,
                          .dtype = x->dtype,
                          .n_classes = session->train_info.n_classes,
                          .n_normalize = config->data.mean.n,
                          .mean = config->data.mean.value,
                          .std = config->data.std.value,
                          .has_target = !session->data_unknown && session->train_info.n_fields > FIELD_Y,
                          .target_dtype = y->dtype,
                          .target_shape = y->sample_shape,
                          .target_steps = y->kind == DL_FIELD_RAGGED};
    dl_model_options options = {.input_shape = input_shape(session, ragged),
                                .tokens = config->model.input.dtype != 0,
                                .any_length = ragged,
                                .layers = config->model.layers,
                                .augment = config->data.augment,
                                .freeze = config->model.freeze,
                                .place = config->model_place,
                                .input_place = config->input_place,
                                .data = &data,
                                .seed = (uint64_t)config->seed,
                                .loss = dl_loss_at(config->train.loss),
                                .loss_place = config->places.loss,
                                .label_smoothing = config->train.label_smoothing,
                                .n_metrics = config->train.metrics.n,
                                .metrics = metrics};
    DL_RETURN_IF_ERROR(check_kind_of_input(session, diagnostics));
    if (x->kind == DL_FIELD_TOKENS) {
        data.sample_shape = options.input_shape; /* a window is what the model wants it to be */
    } else if (ragged) {
        memmove(data.sample_shape.dim + 1, data.sample_shape.dim, (DL_MAX_DIMS - 1) * sizeof(int64_t));
        data.sample_shape.dim[0] = options.input_shape.dim[0];
        data.sample_shape.n_dims++;
    }
    return dl_model_build(&options, diagnostics, &session->model);
}

dl_status dl_session_build_for_text(dl_session *session, dl_diagnostics *diagnostics) {
    if (dl_model_context(session->model) != DL_CONTEXT_CARRIED) {
        return DL_OK;
    }
    dl_model_destroy(&session->model);
    session->one_position = true;
    return dl_session_build_model(session, diagnostics);
}
