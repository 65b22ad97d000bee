#include "optim/tables.h"

typedef struct constant_options {
    int64_t warmup_steps;
} constant_options;

static const dl_option options[] = {
    {.name = "warmup_steps",
     .type = DL_TYPE_INT,
     .offset = offsetof(constant_options, warmup_steps),
     .fallback = "0",
     .doc = "steps over which the rate grows linearly to the optimizer's",
     .max = 1e9},
    DL_OPTION_END,
};

static int64_t constant_warmup(const void *values) {
    const constant_options *constant = values;
    return constant->warmup_steps;
}

static double constant_factor(const void *values, const dl_schedule_point *point) {
    (void)values;
    (void)point;
    return 1;
}

const dl_schedule dl_schedule_constant = {
    .kind = {.name = "constant",
             .doc = "the optimizer's learning rate throughout",
             .options = options,
             .n_bytes = sizeof(constant_options)},
    .warmup_steps = constant_warmup,
    .factor = constant_factor,
};
