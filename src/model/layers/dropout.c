/* dropout: in training each element is zeroed with probability `rate`, the others scaled by 1 / (1 - rate);
 * in evaluation it does nothing (Srivastava et al., JMLR 15, 2014). */
#include "base/rng.h"
#include "model/layer.h"

typedef struct dropout_options {
    dl_layer_common common;
    double rate;
} dropout_options;

static const dl_option options[] = {
    {.name = "rate",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dropout_options, rate),
     .min = 0,
     .max = 0.999,
     .doc = "share of the elements set to zero in training"},
    DL_LAYER_COMMON_OPTIONS,
    DL_OPTION_END,
};

static dl_status build_dropout(dl_layer_build *build, const void *values, const int *inputs, int n_inputs,
                               int *output) {
    (void)n_inputs;
    const dropout_options *o = values;
    *output = inputs[0];
    if (o->rate == 0.0) {
        return DL_OK;
    }
    const dl_shape shape = build->model->value[inputs[0]].shape;
    DL_RETURN_IF_ERROR(dl_layer_value(build, NULL, DL_F32, &shape, output));
    const dl_op_attr attr = {.training = true,
                             .u.dropout = {.rate = o->rate,
                                           .seed = build->seed,
                                           .purpose = DL_RNG_DROPOUT + (uint32_t)build->layer}};
    const int slots[] = {inputs[0], build->model->ids, build->model->step, *output};
    dl_model_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_layer_op(build, DL_OP_DROPOUT_FORWARD, &attr, slots, 4, &op));
    op->identity_of = inputs[0];
    return DL_OK;
}

const dl_layer_kind dl_layer_dropout = {
    .variant = {.name = "dropout",
                .doc = "zeroes a share of the elements in training",
                .options = options,
                .n_bytes = sizeof(dropout_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_any_length = true,
    .build = build_dropout,
};
