#include "optim/tables.h"

#include <math.h>

typedef struct exponential_options {
    int64_t warmup_steps;
    double factor, every, start;
    bool staircase;
} exponential_options;

static const dl_option options[] = {
    {.name = "warmup_steps",
     .type = DL_TYPE_INT,
     .offset = offsetof(exponential_options, warmup_steps),
     .fallback = "0",
     .doc = "steps over which the rate grows linearly to the optimizer's",
     .max = 1e9},
    {.name = "factor",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(exponential_options, factor),
     .fallback = "0.9",
     .doc = "what the rate is multiplied by over `every` epochs",
     .max = 1},
    {.name = "every",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(exponential_options, every),
     .fallback = "1",
     .doc = "epochs over which the rate falls by the factor",
     .min = 1e-6,
     .max = 1e6},
    {.name = "start",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(exponential_options, start),
     .fallback = "0",
     .doc = "epochs of training before the fall begins",
     .max = 1e6},
    {.name = "staircase",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(exponential_options, staircase),
     .fallback = "false",
     .doc = "true: the whole factor at once each time `every` epochs have passed"},
    DL_OPTION_END,
};

static int64_t exponential_warmup(const void *values) {
    const exponential_options *exponential = values;
    return exponential->warmup_steps;
}

static double exponential_factor(const void *values, const dl_schedule_point *point) {
    const exponential_options *exponential = values;
    const double passed = (point->epochs - exponential->start) / exponential->every;
    if (passed <= 0) {
        return 1;
    }
    /* a whole number that the division missed by its rounding counts as reached */
    return pow(exponential->factor, exponential->staircase ? floor(passed * (1 + 1e-12)) : passed);
}

const dl_schedule dl_schedule_exponential = {
    .kind = {.name = "exponential",
             .doc = "the rate falls by a factor every epoch, smoothly or in steps",
             .options = options,
             .n_bytes = sizeof(exponential_options)},
    .warmup_steps = exponential_warmup,
    .factor = exponential_factor,
};
