#include "optim/tables.h"

typedef struct sgd_options {
    double learning_rate, momentum, weight_decay;
    bool nesterov;
} sgd_options;

static const dl_option options[] = {
    {.name = "learning_rate",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(sgd_options, learning_rate),
     .fallback = "0.01",
     .doc = "step size before the schedule",
     .max = 1e6},
    {.name = "momentum",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(sgd_options, momentum),
     .fallback = "0",
     .doc = "share of the last step's direction that is kept; 0 keeps no state",
     .max = 1},
    {.name = "nesterov",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(sgd_options, nesterov),
     .fallback = "false",
     .doc = "look ahead along the momentum (needs momentum > 0)"},
    {.name = "weight_decay",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(sgd_options, weight_decay),
     .fallback = "0",
     .doc = "weights times this are added to the gradient",
     .max = 1e6},
    DL_OPTION_END,
};

static bool sgd_needs_slot(const void *values, int i) {
    const sgd_options *sgd = values;
    return i == 0 && sgd->momentum > 0;
}

static double sgd_rate(const void *values) {
    const sgd_options *sgd = values;
    return sgd->learning_rate;
}

static void sgd_attributes(const void *values, double capacity, dl_op_attr *out) {
    const sgd_options *sgd = values;
    out->u.sgd = (dl_sgd_attr){.capacity = capacity,
                               .momentum = sgd->momentum,
                               .weight_decay = sgd->weight_decay,
                               .nesterov = sgd->nesterov};
}

static const char *sgd_mistake(const void *values) {
    const sgd_options *sgd = values;
    return sgd->nesterov && sgd->momentum == 0
               ? "nesterov needs a momentum; give sgd a 'momentum' above 0 or leave 'nesterov' out"
               : NULL;
}

const dl_optimizer dl_optimizer_sgd = {
    .kind = {.name = "sgd",
             .doc = "stochastic gradient descent, with momentum on request",
             .options = options,
             .n_bytes = sizeof(sgd_options)},
    .update = DL_OP_SGD_UPDATE,
    .slot = {{.name = "momentum", .op_slot = "v"}},
    .needs_slot = sgd_needs_slot,
    .learning_rate = sgd_rate,
    .attributes = sgd_attributes,
    .mistake = sgd_mistake,
};
