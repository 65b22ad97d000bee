#include "kernels/common/update.h"

#include "kernels/ref/ref.h"

void dl_sgd_update_ref(const dl_op *op, void *const *slots) {
    float *w = slots[0], *v = slots[2];
    const float *g = slots[1];
    if (!dl_step_is_ok(slots[5])) {
        return;
    }
    const dl_sgd_step s = dl_sgd_step_of(&op->desc.attr, slots[3], slots[4], slots[6]);
    const int64_t n = dl_shape_elements(&op->desc.slot[0].shape);
    for (int64_t i = 0; i < n; i++) {
        w[i] = dl_sgd_element(&s, w[i], g[i], v == NULL ? NULL : v + i);
    }
}

void dl_adam_update_ref(const dl_op *op, void *const *slots) {
    float *w = slots[0], *m = slots[2], *v = slots[3];
    const float *g = slots[1];
    if (!dl_step_is_ok(slots[6])) {
        return;
    }
    const dl_adam_step s = dl_adam_step_of(&op->desc.attr, slots[4], slots[5], slots[7]);
    const int64_t n = dl_shape_elements(&op->desc.slot[0].shape);
    for (int64_t i = 0; i < n; i++) {
        w[i] = dl_adam_element(&s, w[i], g[i], m + i, v + i);
    }
}

void dl_rmsprop_update_ref(const dl_op *op, void *const *slots) {
    float *w = slots[0], *s = slots[2], *m = slots[3], *v = slots[4];
    const float *g = slots[1];
    if (!dl_step_is_ok(slots[7])) {
        return;
    }
    const dl_rmsprop_step step = dl_rmsprop_step_of(&op->desc.attr, slots[5], slots[6], slots[8]);
    const int64_t n = dl_shape_elements(&op->desc.slot[0].shape);
    for (int64_t i = 0; i < n; i++) {
        w[i] =
            dl_rmsprop_element(&step, w[i], g[i], s + i, m == NULL ? NULL : m + i, v == NULL ? NULL : v + i);
    }
}

void dl_gradient_norm_ref(const dl_op *op, void *const *slots) {
    const dl_clip_attr *clip = &op->desc.attr.u.clip;
    const double *sums = slots[0];
    double *norm = slots[2], sum = 0;
    const int64_t n = dl_shape_elements(&op->desc.slot[0].shape);
    for (int64_t i = 0; i < n; i++) {
        sum += sums[i];
    }
    norm[DL_NORM_VALUE] = sqrt(sum) * dl_mean_factor(clip->capacity, slots[1]);
    norm[DL_NORM_FACTOR] = dl_clip_factor(norm[DL_NORM_VALUE], clip->limit);
}

static void commit_floats(const dl_op *op, void *const *slots, int64_t n) {
    float *state = slots[0];
    const float *value = slots[1];
    const bool averages = op->desc.attr.u.commit.decay > 0;
    dl_average_step average = {.rest = 1.0f};
    if (averages) {
        average = dl_average_step_of(&op->desc.attr, slots[3]);
    }
    for (int64_t i = 0; i < n; i++) {
        state[i] =
            op->desc.attr.accumulate ? state[i] + value[i] : dl_average_element(&average, state[i], value[i]);
    }
}

void dl_commit_ref(const dl_op *op, void *const *slots) {
    const bool adds = op->desc.attr.accumulate, wide = op->desc.slot[0].dtype == DL_F64;
    if (!dl_step_is_ok(slots[2])) {
        return;
    }
    const int64_t n = dl_shape_elements(&op->desc.slot[0].shape);
    if (op->desc.slot[0].dtype == DL_F32) {
        commit_floats(op, slots, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (wide) {
            double *state = slots[0];
            const double *value = slots[1];
            state[i] = adds ? state[i] + value[i] : value[i];
        } else {
            float *state = slots[0];
            const float *value = slots[1];
            state[i] = adds ? state[i] + value[i] : value[i];
        }
    }
}
