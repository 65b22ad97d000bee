#include "optim/tables.h"

#include <math.h>

typedef struct step_options {
    int64_t warmup_steps;
    double factor, every;
    dl_float_list epochs;
} step_options;

static const dl_option options[] = {
    {.name = "warmup_steps",
     .type = DL_TYPE_INT,
     .offset = offsetof(step_options, warmup_steps),
     .fallback = "0",
     .doc = "steps over which the rate grows linearly to the optimizer's",
     .max = 1e9},
    {.name = "factor",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(step_options, factor),
     .fallback = "0.1",
     .doc = "what the rate is multiplied by at each step down",
     .max = 1},
    {.name = "epochs",
     .type = DL_TYPE_FLOATS,
     .offset = offsetof(step_options, epochs),
     .fallback = "[]",
     .doc = "after how many epochs of training the rate steps down: [30, 60, 90]",
     .max = 1e6},
    {.name = "every",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(step_options, every),
     .fallback = "0",
     .doc = "instead of epochs: the rate steps down each time so many epochs have passed",
     .max = 1e6},
    DL_OPTION_END,
};

static int64_t step_warmup(const void *values) {
    const step_options *step = values;
    return step->warmup_steps;
}

/* Whether `epochs` have passed; so many as make whole samples, but for the rounding of a division. */
static bool has_passed(double now, double epochs) {
    return now >= epochs * (1 - 1e-12);
}

static double step_factor(const void *values, const dl_schedule_point *point) {
    const step_options *step = values;
    double n = step->every > 0 ? floor(point->epochs / step->every * (1 + 1e-12)) : 0;
    for (int i = 0; i < step->epochs.n; i++) {
        n += has_passed(point->epochs, step->epochs.value[i]) ? 1 : 0;
    }
    return pow(step->factor, n);
}

static const char *step_mistake(const void *values) {
    const step_options *step = values;
    return (step->epochs.n > 0) == (step->every > 0)
               ? "step needs either 'epochs', a list like [30, 60], or 'every', a number of epochs"
               : NULL;
}

const dl_schedule dl_schedule_step = {
    .kind = {.name = "step",
             .doc = "the rate multiplied by a factor after given epochs",
             .options = options,
             .n_bytes = sizeof(step_options)},
    .warmup_steps = step_warmup,
    .factor = step_factor,
    .mistake = step_mistake,
};
