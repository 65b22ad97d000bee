#include "optim/tables.h"

typedef struct adam_options {
    double learning_rate, beta_1, beta_2, epsilon, weight_decay;
} adam_options;

/* A beta of 1 would divide by zero in the bias correction. */
#define LARGEST_BETA 0.99999999

static const dl_option options[] = {
    {.name = "learning_rate",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(adam_options, learning_rate),
     .fallback = "0.001",
     .doc = "step size before the schedule",
     .max = 1e6},
    {.name = "beta_1",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(adam_options, beta_1),
     .fallback = "0.9",
     .doc = "decay of the mean gradient",
     .max = LARGEST_BETA},
    {.name = "beta_2",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(adam_options, beta_2),
     .fallback = "0.999",
     .doc = "decay of the mean squared gradient",
     .max = LARGEST_BETA},
    {.name = "epsilon",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(adam_options, epsilon),
     .fallback = "1e-7",
     .doc = "added to the root of the mean squared gradient",
     .max = 1},
    {.name = "weight_decay",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(adam_options, weight_decay),
     .fallback = "0",
     .doc = "weights times this are added to the gradient",
     .max = 1e6},
    DL_OPTION_END,
};

static bool adam_needs_slot(const void *values, int i) {
    (void)values;
    (void)i;
    return true;
}

static double adam_rate(const void *values) {
    const adam_options *adam = values;
    return adam->learning_rate;
}

static void adam_attributes(const void *values, double capacity, dl_op_attr *out) {
    const adam_options *adam = values;
    out->u.adam = (dl_adam_attr){.capacity = capacity,
                                 .beta_1 = adam->beta_1,
                                 .beta_2 = adam->beta_2,
                                 .epsilon = adam->epsilon,
                                 .weight_decay = adam->weight_decay};
}

const dl_optimizer dl_optimizer_adam = {
    .kind = {.name = "adam",
             .doc = "steps scaled by the running mean and square of the gradient",
             .options = options,
             .n_bytes = sizeof(adam_options)},
    .update = DL_OP_ADAM_UPDATE,
    .slot = {{.name = "m", .op_slot = "m"}, {.name = "v", .op_slot = "v"}},
    .needs_slot = adam_needs_slot,
    .learning_rate = adam_rate,
    .attributes = adam_attributes,
};
