/* batch_normalization: each channel with mean 0 and variance 1 over the batch, then scaled and shifted (Ioffe
 * and Szegedy, arXiv:1502.03167). Evaluation, and training of a layer that is not trainable, use moving
 * averages of mean and variance. */
#include "model/layer.h"

enum { STATISTICS_RANK, STATISTICS_GLOBAL };
static const char *const statistics_words[] = {"rank", "global", NULL};

typedef struct batch_normalization_options {
    dl_layer_common common;
    double momentum, epsilon;
    int64_t statistics;
    int activation;
} batch_normalization_options;

static const dl_option options[] = {
    {.name = "momentum",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(batch_normalization_options, momentum),
     .fallback = "0.9",
     .min = 0,
     .max = 1,
     .doc = "moving = momentum * moving + (1 - momentum) * batch"},
    {.name = "epsilon",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(batch_normalization_options, epsilon),
     .fallback = "1e-5",
     .min = 0,
     .max = 1,
     .doc = "added to the variance"},
    {.name = "statistics",
     .type = DL_TYPE_INT,
     .offset = offsetof(batch_normalization_options, statistics),
     .fallback = "rank",
     .min = 1,
     .max = 1 << 20,
     .words = statistics_words,
     .doc =
         "mean and variance are over: a rank's samples of a micro-batch, those of all ranks (global; always so "
         "when reproducible), or groups of N samples"},
    {.name = "activation",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(batch_normalization_options, activation),
     .fallback = "linear",
     .words = dl_layer_activations,
     .doc = "function applied to the output"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

/* The values that the steps of the normalization pass on. */
typedef struct values {
    int gamma, beta, moving_mean, moving_variance, sums, stat, y;
} values;

static dl_status declare(dl_layer_build *build, int input, int64_t group, values *v) {
    const dl_shape shape = build->model->value[input].shape;
    const int64_t channels = shape.dim[shape.n_dims - 1];
    const dl_shape vector = DL_SHAPE(channels);
    DL_RETURN_IF_ERROR(dl_layer_parameter(build, "gamma", &vector, DL_INIT_ONE, 0, 0, &v->gamma));
    DL_RETURN_IF_ERROR(dl_layer_parameter(build, "beta", &vector, DL_INIT_ZERO, 0, 0, &v->beta));
    DL_RETURN_IF_ERROR(dl_layer_moving(build, "moving_mean", &vector, DL_INIT_ZERO, &v->moving_mean));
    DL_RETURN_IF_ERROR(dl_layer_moving(build, "moving_variance", &vector, DL_INIT_ONE, &v->moving_variance));
    DL_RETURN_IF_ERROR(
        dl_layer_statistic(build, "sums", DL_F64, &DL_SHAPE(1, 2 * channels + 1), group, &v->sums));
    DL_RETURN_IF_ERROR(dl_layer_statistic(build, "stat", DL_F32, &DL_SHAPE(1, 5, channels), group, &v->stat));
    return dl_layer_value(build, NULL, DL_F32, &shape, &v->y);
}

/* Statistics of the batch, in training programs. */
static dl_status emit_batch(dl_layer_build *build, int input, const dl_op_attr *attr, const values *v) {
    dl_model_op *op = NULL;
    const int sums[] = {input, v->sums}, statistics[] = {v->sums, v->gamma, v->beta, v->stat};
    DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_BATCH_NORM_SUMS, attr, sums, 2, &op));
    op->when = DL_WHEN_TRAINING;
    DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_BATCH_NORM_STATISTICS, attr, statistics, 4, &op));
    op->when = DL_WHEN_TRAINING;
    return DL_OK;
}

static dl_status build_batch_normalization(dl_layer_build *build, const void *chosen, const int *inputs,
                                           int n_inputs, int *output) {
    (void)n_inputs;
    const batch_normalization_options *o = chosen;
    const bool trainable = build->model->layer[build->layer].trainable;
    const bool word =
        o->statistics == DL_WORD(STATISTICS_RANK) || o->statistics == DL_WORD(STATISTICS_GLOBAL);
    dl_op_attr attr = {.u.norm = {.epsilon = o->epsilon, .momentum = o->momentum}};
    attr.u.norm.group = word || !trainable ? 0 : o->statistics;
    attr.u.norm.global = trainable && o->statistics == DL_WORD(STATISTICS_GLOBAL);
    values v;
    dl_model_op *op = NULL;
    DL_RETURN_IF_ERROR(declare(build, inputs[0], attr.u.norm.group, &v));
    if (trainable) {
        DL_RETURN_IF_ERROR(emit_batch(build, inputs[0], &attr, &v));
    }
    const int moving[] = {v.moving_mean, v.moving_variance, v.gamma, v.beta, v.stat};
    DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_BATCH_NORM_MOVING, &attr, moving, 5, &op));
    op->when = trainable ? DL_WHEN_EVALUATION : DL_WHEN_ALWAYS;
    const int forward[] = {inputs[0], v.stat, -1, v.y};
    DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_BATCH_NORM_FORWARD, &attr, forward, 4, NULL));
    return dl_layer_activate(build, o->activation, v.y, output);
}

const dl_layer_kind dl_layer_batch_normalization = {
    .variant = {.name = "batch_normalization",
                .doc = "each channel with mean 0 and variance 1, then scaled and shifted",
                .options = options,
                .n_bytes = sizeof(batch_normalization_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .build = build_batch_normalization,
};
