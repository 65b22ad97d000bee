#include "optim/tables.h"

#include <math.h>

typedef struct polynomial_options {
    int64_t warmup_steps;
    double power, final;
} polynomial_options;

static const dl_option options[] = {
    {.name = "warmup_steps",
     .type = DL_TYPE_INT,
     .offset = offsetof(polynomial_options, warmup_steps),
     .fallback = "0",
     .doc = "steps over which the rate grows linearly to the optimizer's",
     .max = 1e9},
    {.name = "power",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(polynomial_options, power),
     .fallback = "1",
     .doc = "exponent of the share of training that is left; 1 is a straight line",
     .max = 100},
    {.name = "final",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(polynomial_options, final),
     .fallback = "0",
     .doc = "share of the rate that is left at the end of training",
     .max = 1},
    DL_OPTION_END,
};

static int64_t polynomial_warmup(const void *values) {
    const polynomial_options *polynomial = values;
    return polynomial->warmup_steps;
}

static double polynomial_factor(const void *values, const dl_schedule_point *point) {
    const polynomial_options *polynomial = values;
    return polynomial->final + (1 - polynomial->final) * pow(1 - point->share, polynomial->power);
}

const dl_schedule dl_schedule_polynomial = {
    .kind = {.name = "polynomial",
             .doc = "a power of the share of training that is left, down to a share of the optimizer's rate",
             .options = options,
             .n_bytes = sizeof(polynomial_options)},
    .warmup_steps = polynomial_warmup,
    .factor = polynomial_factor,
};
