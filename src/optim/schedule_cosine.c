#include "optim/tables.h"

#include <math.h>

typedef struct cosine_options {
    int64_t warmup_steps;
    double final;
} cosine_options;

static const dl_option options[] = {
    {.name = "warmup_steps",
     .type = DL_TYPE_INT,
     .offset = offsetof(cosine_options, warmup_steps),
     .fallback = "0",
     .doc = "steps over which the rate grows linearly to the optimizer's",
     .max = 1e9},
    {.name = "final",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(cosine_options, final),
     .fallback = "0",
     .doc = "share of the rate that is left at the end of training",
     .max = 1},
    DL_OPTION_END,
};

static int64_t cosine_warmup(const void *values) {
    const cosine_options *cosine = values;
    return cosine->warmup_steps;
}

static double cosine_factor(const void *values, const dl_schedule_point *point) {
    const cosine_options *cosine = values;
    const double pi = acos(-1.0);
    return cosine->final + (1 - cosine->final) * (1 + cos(pi * point->share)) / 2;
}

const dl_schedule dl_schedule_cosine = {
    .kind = {.name = "cosine",
             .doc = "half a cosine from the optimizer's rate down to a share of it",
             .options = options,
             .n_bytes = sizeof(cosine_options)},
    .warmup_steps = cosine_warmup,
    .factor = cosine_factor,
};
