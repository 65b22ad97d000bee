#include "optim/tables.h"

typedef struct rmsprop_options {
    double learning_rate, rho, epsilon, momentum, weight_decay;
    bool centered;
} rmsprop_options;

static const dl_option options[] = {
    {.name = "learning_rate",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(rmsprop_options, learning_rate),
     .fallback = "0.001",
     .doc = "step size before the schedule",
     .max = 1e6},
    {.name = "rho",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(rmsprop_options, rho),
     .fallback = "0.9",
     .doc = "decay of the mean squared gradient",
     .max = 1},
    {.name = "epsilon",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(rmsprop_options, epsilon),
     .fallback = "1e-7",
     .doc = "added to the root of the mean squared gradient",
     .max = 1},
    {.name = "momentum",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(rmsprop_options, momentum),
     .fallback = "0",
     .doc = "share of the last step's direction that is kept; 0 keeps no state for it",
     .max = 1},
    {.name = "centered",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(rmsprop_options, centered),
     .fallback = "false",
     .doc = "divide by the root of the gradient's variance, not of its mean square"},
    {.name = "weight_decay",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(rmsprop_options, weight_decay),
     .fallback = "0",
     .doc = "weights times this are added to the gradient",
     .max = 1e6},
    DL_OPTION_END,
};

enum { SQUARE, MEAN, MOMENTUM };

static bool rmsprop_needs_slot(const void *values, int i) {
    const rmsprop_options *rmsprop = values;
    return i == SQUARE || (i == MEAN && rmsprop->centered) || (i == MOMENTUM && rmsprop->momentum > 0);
}

static double rmsprop_rate(const void *values) {
    const rmsprop_options *rmsprop = values;
    return rmsprop->learning_rate;
}

static void rmsprop_attributes(const void *values, double capacity, dl_op_attr *out) {
    const rmsprop_options *rmsprop = values;
    out->u.rmsprop = (dl_rmsprop_attr){.capacity = capacity,
                                       .rho = rmsprop->rho,
                                       .epsilon = rmsprop->epsilon,
                                       .momentum = rmsprop->momentum,
                                       .weight_decay = rmsprop->weight_decay,
                                       .centered = rmsprop->centered};
}

const dl_optimizer dl_optimizer_rmsprop = {
    .kind = {.name = "rmsprop",
             .doc = "steps scaled by the running root mean square of the gradient",
             .options = options,
             .n_bytes = sizeof(rmsprop_options)},
    .update = DL_OP_RMSPROP_UPDATE,
    .slot = {[SQUARE] = {.name = "square", .op_slot = "s"},
             [MEAN] = {.name = "mean", .op_slot = "m"},
             [MOMENTUM] = {.name = "momentum", .op_slot = "v"}},
    .needs_slot = rmsprop_needs_slot,
    .learning_rate = rmsprop_rate,
    .attributes = rmsprop_attributes,
};
