/* Optimizer steps of one element, PyTorch's formulas (torch.optim.SGD, torch.optim.Adam). What is the same
 * for all elements is computed once, in double, from the step block and the totals. */
#ifndef DLTRAIN_KERNELS_COMMON_UPDATE_H
#define DLTRAIN_KERNELS_COMMON_UPDATE_H

#include "kernels/common/blocks.h"
#include "kernels/common/pointwise.h"
#include "kernels/op.h"

#include <math.h>

/* Whether the control word lets a step change parameters and state. */
DL_SHARED bool dl_step_is_ok(const int32_t *control) {
    return control[DL_CONTROL_NONFINITE] == 0 && control[DL_CONTROL_BAD_DATA] == 0 &&
           control[DL_CONTROL_ERROR] == 0;
}

/* Gradients come scaled by 1 / capacity of the global batch; this makes them means over its true weight. */
DL_SHARED float dl_gradient_factor(double capacity, const double *totals) {
    return totals[DL_TOTAL_WEIGHT] > 0 ? (float)(capacity / totals[DL_TOTAL_WEIGHT]) : 0.0f;
}

typedef struct dl_sgd_step {
    float factor, weight_decay, momentum, rate;
    bool nesterov;
} dl_sgd_step;

DL_SHARED dl_sgd_step dl_sgd_step_of(const dl_sgd_attr *attr, const dl_step_block *step,
                                     const double *totals) {
    dl_sgd_step s;
    s.factor = dl_gradient_factor(attr->capacity, totals);
    s.weight_decay = (float)attr->weight_decay;
    s.momentum = (float)attr->momentum;
    s.rate = (float)step->learning_rate;
    s.nesterov = attr->nesterov;
    return s;
}

/* The new parameter; *v is the momentum, NULL without. */
DL_SHARED float dl_sgd_element(const dl_sgd_step *s, float w, float g, float *v) {
    float d = g * s->factor + s->weight_decay * w;
    if (v != NULL) {
        *v = s->momentum * *v + d;
        d = s->nesterov ? d + s->momentum * *v : *v;
    }
    return w - s->rate * d;
}

typedef struct dl_adam_step {
    float factor, weight_decay, beta_1, beta_2, rest_1, rest_2; /* rest = 1 - beta */
    float rate;                                                 /* learning rate / (1 - beta_1^t) */
    float root_2;                                               /* 1 / sqrt(1 - beta_2^t) */
    float epsilon;
} dl_adam_step;

DL_SHARED dl_adam_step dl_adam_step_of(const dl_adam_attr *attr, const dl_step_block *step,
                                       const double *totals) {
    const double t = (double)step->t;
    dl_adam_step s;
    s.factor = dl_gradient_factor(attr->capacity, totals);
    s.weight_decay = (float)attr->weight_decay;
    s.beta_1 = (float)attr->beta_1;
    s.beta_2 = (float)attr->beta_2;
    s.rest_1 = (float)(1.0 - attr->beta_1);
    s.rest_2 = (float)(1.0 - attr->beta_2);
    s.rate = (float)(step->learning_rate / (1.0 - pow(attr->beta_1, t)));
    s.root_2 = (float)(1.0 / sqrt(1.0 - pow(attr->beta_2, t)));
    s.epsilon = (float)attr->epsilon;
    return s;
}

/* The new parameter; *m and *v are the moments. */
DL_SHARED float dl_adam_element(const dl_adam_step *s, float w, float g, float *m, float *v) {
    const float d = g * s->factor + s->weight_decay * w;
    *m = s->beta_1 * *m + s->rest_1 * d;
    *v = s->beta_2 * *v + s->rest_2 * (d * d);
    return w - s->rate * *m / (sqrtf(*v) * s->root_2 + s->epsilon);
}

#endif
