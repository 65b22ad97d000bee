/* Optimizer steps, PyTorch's formulas (kernels/common/update.h), one kernel for a whole range of the arenas.
 * Each thread computes what is the same for all elements again: some fifty operations beside memory that it
 * waits for. */
#include "kernels/common/loss_scale.h"
#include "kernels/common/update.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.cuh"

/* What an update reads of the step. */
typedef struct update_blocks {
    const dl_step_block *step;
    const double *totals;
    const int32_t *control;
    const double *norm;
} update_blocks;

static __global__ void sgd(int64_t n, dl_op_attr attr, float *w, const float *g, float *v, update_blocks b) {
    if (!dl_step_is_ok(b.control)) {
        return;
    }
    const dl_sgd_step s = dl_sgd_step_of(&attr, b.step, b.totals, b.norm);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        w[i] = dl_sgd_element(&s, w[i], g[i], v == NULL ? NULL : v + i);
    }
}

cudaError_t dl_launch_sgd(int64_t n, const dl_op_attr *attr, float *w, const float *g, float *v,
                          const dl_step_block *step, const double *totals, const int32_t *control,
                          const double *norm, cudaStream_t stream) {
    return dl_launch(sgd, n, stream, *attr, w, g, v, update_blocks{step, totals, control, norm});
}

static __global__ void adam(int64_t n, dl_op_attr attr, float *w, const float *g, float *m, float *v,
                            update_blocks b) {
    if (!dl_step_is_ok(b.control)) {
        return;
    }
    const dl_adam_step s = dl_adam_step_of(&attr, b.step, b.totals, b.norm);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        w[i] = dl_adam_element(&s, w[i], g[i], m + i, v + i);
    }
}

cudaError_t dl_launch_adam(int64_t n, const dl_op_attr *attr, float *w, const float *g, float *m, float *v,
                           const dl_step_block *step, const double *totals, const int32_t *control,
                           const double *norm, cudaStream_t stream) {
    return dl_launch(adam, n, stream, *attr, w, g, m, v, update_blocks{step, totals, control, norm});
}

static __global__ void rmsprop(int64_t n, dl_op_attr attr, float *w, const float *g, float *s, float *m,
                               float *v, update_blocks b) {
    if (!dl_step_is_ok(b.control)) {
        return;
    }
    const dl_rmsprop_step step = dl_rmsprop_step_of(&attr, b.step, b.totals, b.norm);
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        w[i] =
            dl_rmsprop_element(&step, w[i], g[i], s + i, m == NULL ? NULL : m + i, v == NULL ? NULL : v + i);
    }
}

cudaError_t dl_launch_rmsprop(int64_t n, const dl_op_attr *attr, float *w, const float *g, float *s, float *m,
                              float *v, const dl_step_block *step, const double *totals,
                              const int32_t *control, const double *norm, cudaStream_t stream) {
    return dl_launch(rmsprop, n, stream, *attr, w, g, s, m, v, update_blocks{step, totals, control, norm});
}

static __global__ void commit_f32(int64_t n, dl_op_attr attr, float *state, const float *value,
                                  const int32_t *control, const dl_step_block *step) {
    if (!dl_step_is_ok(control)) {
        return;
    }
    dl_average_step average = {1.0f};
    if (attr.u.commit.decay > 0) {
        average = dl_average_step_of(&attr, step);
    }
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        state[i] = attr.accumulate ? state[i] + value[i] : dl_average_element(&average, state[i], value[i]);
    }
}

cudaError_t dl_launch_commit_f32(int64_t n, const dl_op_attr *attr, float *state, const float *value,
                                 const int32_t *control, const dl_step_block *step, cudaStream_t stream) {
    return dl_launch(commit_f32, n, stream, *attr, state, value, control, step);
}

static __global__ void commit_f64(int64_t n, bool accumulate, double *state, const double *value,
                                  const int32_t *control) {
    if (!dl_step_is_ok(control)) {
        return;
    }
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        state[i] = accumulate ? state[i] + value[i] : value[i];
    }
}

static __global__ void begin_control(int32_t *control, const dl_step_block *step) {
    dl_begin_control(control, step);
}

cudaError_t dl_launch_begin_control(int32_t *control, const dl_step_block *step, cudaStream_t stream) {
    DL_LAUNCH(begin_control, 1, 1, stream, control, step);
    return cudaPeekAtLastError();
}

static __global__ void scale_weight(const double *totals, const double *scale, double *scaled) {
    const int i = (int)threadIdx.x;
    scaled[i] = i == DL_TOTAL_WEIGHT ? totals[i] * scale[DL_SCALE_VALUE] : totals[i];
}

cudaError_t dl_launch_scale_weight(const double *totals, const double *scale, double *scaled,
                                   cudaStream_t stream) {
    DL_LAUNCH(scale_weight, 1, DL_N_TOTALS, stream, totals, scale, scaled);
    return cudaPeekAtLastError();
}

static __global__ void commit_loss_scale(double *scale, const int32_t *control) {
    dl_next_loss_scale(scale, control);
}

cudaError_t dl_launch_commit_loss_scale(double *scale, const int32_t *control, cudaStream_t stream) {
    DL_LAUNCH(commit_loss_scale, 1, 1, stream, scale, control);
    return cudaPeekAtLastError();
}

cudaError_t dl_launch_commit_f64(int64_t n, bool accumulate, double *state, const double *value,
                                 const int32_t *control, cudaStream_t stream) {
    return dl_launch(commit_f64, n, stream, accumulate, state, value, control);
}
