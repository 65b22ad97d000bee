/* Optimizer steps of one element, PyTorch's formulas (torch.optim.SGD, Adam, RMSprop). What is the same for
 * all elements is computed once, in double, from the step block, the totals and the gradient's norm. */
#ifndef DLTRAIN_KERNELS_COMMON_UPDATE_H
#define DLTRAIN_KERNELS_COMMON_UPDATE_H

#include "kernels/common/control.h"
#include "kernels/common/pointwise.h"
#include "kernels/op.h"

#include <math.h>

/* Gradients come scaled by 1 / capacity of the global batch; this makes them means over its true weight. */
DL_SHARED double dl_mean_factor(double capacity, const double *totals) {
    return totals[DL_TOTAL_WEIGHT] > 0 ? capacity / totals[DL_TOTAL_WEIGHT] : 0.0;
}

/* The same for what an update reads: clipped too, where there is a norm (NULL: not clipped). */
DL_SHARED float dl_gradient_factor(double capacity, const double *totals, const double *norm) {
    return (float)(dl_mean_factor(capacity, totals) * (norm != NULL ? norm[DL_NORM_FACTOR] : 1.0));
}

/* torch.nn.utils.clip_grad_norm_: the factor that brings a gradient of this norm down to the limit. */
DL_SHARED double dl_clip_factor(double norm, double limit) {
    const double factor = limit / (norm + 1e-6);
    return limit > 0 && factor < 1.0 ? factor : 1.0;
}

DL_SHARED double dl_update_rate(const dl_op_attr *attr, const dl_step_block *step) {
    return step->learning_rate * (attr->rate_factor > 0 ? attr->rate_factor : 1.0);
}

/* An exponential moving average. The first step's value is what it begins with, as in PyTorch's AveragedModel
 * and Keras's use_ema: the initial weights leave no trace. */
typedef struct dl_average_step {
    float rest; /* 1 - decay, 1 in the first step */
} dl_average_step;

DL_SHARED dl_average_step dl_average_step_of(const dl_op_attr *attr, const dl_step_block *step) {
    dl_average_step s;
    s.rest = step->t <= 1 ? 1.0f : (float)(1.0 - attr->u.commit.decay);
    return s;
}

DL_SHARED float dl_average_element(const dl_average_step *s, float state, float value) {
    return s->rest == 1.0f ? value : state + s->rest * (value - state);
}

typedef struct dl_sgd_step {
    float factor, weight_decay, momentum, rate;
    bool nesterov;
} dl_sgd_step;

DL_SHARED dl_sgd_step dl_sgd_step_of(const dl_op_attr *attr, const dl_step_block *step, const double *totals,
                                     const double *norm) {
    const dl_sgd_attr *sgd = &attr->u.sgd;
    dl_sgd_step s;
    s.factor = dl_gradient_factor(sgd->capacity, totals, norm);
    s.weight_decay = (float)sgd->weight_decay;
    s.momentum = (float)sgd->momentum;
    s.rate = (float)dl_update_rate(attr, step);
    s.nesterov = sgd->nesterov;
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

DL_SHARED dl_adam_step dl_adam_step_of(const dl_op_attr *attr, const dl_step_block *step,
                                       const double *totals, const double *norm) {
    const dl_adam_attr *adam = &attr->u.adam;
    const double t = (double)step->t;
    dl_adam_step s;
    s.factor = dl_gradient_factor(adam->capacity, totals, norm);
    s.weight_decay = (float)adam->weight_decay;
    s.beta_1 = (float)adam->beta_1;
    s.beta_2 = (float)adam->beta_2;
    s.rest_1 = (float)(1.0 - adam->beta_1);
    s.rest_2 = (float)(1.0 - adam->beta_2);
    s.rate = (float)(dl_update_rate(attr, step) / (1.0 - pow(adam->beta_1, t)));
    s.root_2 = (float)(1.0 / sqrt(1.0 - pow(adam->beta_2, t)));
    s.epsilon = (float)adam->epsilon;
    return s;
}

/* The new parameter; *m and *v are the moments. */
DL_SHARED float dl_adam_element(const dl_adam_step *s, float w, float g, float *m, float *v) {
    const float d = g * s->factor + s->weight_decay * w;
    *m = s->beta_1 * *m + s->rest_1 * d;
    *v = s->beta_2 * *v + s->rest_2 * (d * d);
    return w - s->rate * *m / (sqrtf(*v) * s->root_2 + s->epsilon);
}

typedef struct dl_rmsprop_step {
    float factor, weight_decay, rho, rest, momentum, rate, epsilon; /* rest = 1 - rho */
} dl_rmsprop_step;

DL_SHARED dl_rmsprop_step dl_rmsprop_step_of(const dl_op_attr *attr, const dl_step_block *step,
                                             const double *totals, const double *norm) {
    const dl_rmsprop_attr *rmsprop = &attr->u.rmsprop;
    dl_rmsprop_step s;
    s.factor = dl_gradient_factor(rmsprop->capacity, totals, norm);
    s.weight_decay = (float)rmsprop->weight_decay;
    s.rho = (float)rmsprop->rho;
    s.rest = (float)(1.0 - rmsprop->rho);
    s.momentum = (float)rmsprop->momentum;
    s.rate = (float)dl_update_rate(attr, step);
    s.epsilon = (float)rmsprop->epsilon;
    return s;
}

/* The new parameter; *s is the mean square, *m the mean (NULL: not centered), *v the momentum (NULL: none). A
 * variance that rounding made negative counts as zero. */
DL_SHARED float dl_rmsprop_element(const dl_rmsprop_step *step, float w, float g, float *s, float *m,
                                   float *v) {
    const float d = g * step->factor + step->weight_decay * w;
    *s = step->rho * *s + step->rest * (d * d);
    float square = *s;
    if (m != NULL) {
        *m = step->rho * *m + step->rest * d;
        square = *s - *m * *m;
        square = square < 0.0f ? 0.0f : square;
    }
    float move = d / (sqrtf(square) + step->epsilon);
    if (v != NULL) {
        *v = step->momentum * *v + move;
        move = *v;
    }
    return w - step->rate * move;
}

#endif
