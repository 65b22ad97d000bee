#include "base/pieces.h"
#include "kernels/common/activation.h"
#include "kernels/common/batch_norm.h"
#include "kernels/common/update.h"
#include "kernels/ops/sizes.h"
#include "kernels/ref/ref.h"

/* The samples of a group. */
static dl_range group_samples(const dl_batch_norm_sizes *z, int64_t group) {
    const int64_t end = (group + 1) * z->group;
    return (dl_range){group * z->group, end < z->n ? end : z->n};
}

/* Statistics of the group that sample n is in. */
static const float *stat_of(const dl_batch_norm_sizes *z, const float *stat, int64_t n) {
    return stat + n / z->group * DL_N_STATS * z->channels;
}

static double normalized(const dl_batch_norm_sizes *z, const float *stat, int64_t c, float x) {
    return ((double)x - (double)stat[DL_STAT_MEAN * z->channels + c]) *
           (double)stat[DL_STAT_INVERSE_DEVIATION * z->channels + c];
}

static double affine(const dl_batch_norm_sizes *z, const float *stat, int64_t c, float x) {
    return (double)x * (double)stat[DL_STAT_SCALE * z->channels + c] +
           (double)stat[DL_STAT_SHIFT * z->channels + c];
}

/* dy where the fused activation lets it through. */
static double passed(const dl_op *op, const dl_batch_norm_sizes *z, const float *stat, int64_t c, float x,
                     float dy) {
    return op->desc.attr.activation == DL_ACT_RELU && !(affine(z, stat, c, x) > 0.0) ? 0.0 : (double)dy;
}

void dl_batch_norm_sums_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const float *x = slots[0];
    double *sums = slots[1];
    for (int64_t g = 0; g < z.groups; g++) {
        const dl_range samples = group_samples(&z, g);
        double *of = sums + g * (2 * z.channels + 1);
        for (int64_t c = 0; c < z.channels; c++) {
            of[c] = of[z.channels + c] = 0.0;
            for (int64_t i = samples.begin * z.cells; i < samples.end * z.cells; i++) {
                const double value = (double)x[i * z.channels + c];
                of[c] += value;
                of[z.channels + c] += value * value;
            }
        }
        of[2 * z.channels] = (double)((samples.end - samples.begin) * z.cells);
    }
}

void dl_batch_norm_statistics_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const double *sums = slots[0];
    const float *gamma = slots[1], *beta = slots[2];
    float *stat = slots[3];
    for (int64_t g = 0; g < z.groups; g++) {
        const double *of = sums + g * (2 * z.channels + 1);
        const double count = of[2 * z.channels], inverse = count > 0.0 ? 1.0 / count : 0.0;
        for (int64_t c = 0; c < z.channels; c++) {
            dl_batch_norm_fold(dl_batch_norm_channel(of[c], of[z.channels + c], count),
                               op->desc.attr.u.norm.epsilon, (double)gamma[c], (double)beta[c], inverse,
                               stat + g * DL_N_STATS * z.channels + c, z.channels);
        }
    }
}

void dl_batch_norm_moving_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const float *mean = slots[0], *variance = slots[1], *gamma = slots[2], *beta = slots[3];
    float *stat = slots[4];
    for (int64_t c = 0; c < z.channels; c++) {
        dl_batch_norm_fold((dl_channel_moments){(double)mean[c], (double)variance[c]},
                           op->desc.attr.u.norm.epsilon, (double)gamma[c], (double)beta[c], 0.0, stat + c,
                           z.channels);
    }
}

void dl_batch_norm_forward_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const float *x = slots[0], *residual = slots[2];
    float *y = slots[3];
    for (int64_t i = 0; i < z.n * z.cells * z.channels; i++) {
        const float *stat = stat_of(&z, slots[1], i / (z.cells * z.channels));
        double value = affine(&z, stat, i % z.channels, x[i]);
        value += residual != NULL ? (double)residual[i] : 0.0;
        y[i] = dl_activate(op->desc.attr.activation, (float)value);
    }
}

void dl_batch_norm_backward_sums_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const float *dy = slots[0], *x = slots[1];
    double *dstat = slots[3];
    for (int64_t g = 0; g < z.groups; g++) {
        const dl_range samples = group_samples(&z, g);
        const float *stat = stat_of(&z, slots[2], samples.begin);
        for (int64_t c = 0; c < z.channels; c++) {
            double sum = 0.0, along = 0.0;
            for (int64_t i = samples.begin * z.cells; i < samples.end * z.cells; i++) {
                const float value = x[i * z.channels + c];
                const double d = passed(op, &z, stat, c, value, dy[i * z.channels + c]);
                sum += d;
                along += d * normalized(&z, stat, c, value);
            }
            dstat[2 * g * z.channels + c] = sum;
            dstat[(2 * g + 1) * z.channels + c] = along;
        }
    }
}

void dl_batch_norm_backward_data_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const float *dy = slots[0], *x = slots[1];
    float *dx = slots[4];
    for (int64_t i = 0; i < z.n * z.cells * z.channels; i++) {
        const int64_t n = i / (z.cells * z.channels), c = i % z.channels;
        const float *stat = stat_of(&z, slots[2], n);
        const double *dstat = slots[3];
        double value = passed(op, &z, stat, c, x[i], dy[i]);
        if (dstat != NULL) {
            dstat += n / z.group * 2 * z.channels;
            value -= (double)stat[DL_STAT_INVERSE_COUNT * z.channels + c] *
                     (dstat[c] + normalized(&z, stat, c, x[i]) * dstat[z.channels + c]);
        }
        dx[i] = (float)((double)stat[DL_STAT_SCALE * z.channels + c] * value);
    }
}

void dl_batch_norm_backward_weights_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const double *dstat = slots[0];
    float *out[2] = {slots[2], slots[1]}; /* sum of dy is the gradient of beta */
    for (int k = 0; k < 2; k++) {
        for (int64_t c = 0; c < z.channels && out[k] != NULL; c++) {
            double sum = 0.0;
            for (int64_t g = 0; g < z.groups; g++) {
                sum += dstat[(2 * g + k) * z.channels + c];
            }
            out[k][c] = (float)sum;
        }
    }
}

void dl_batch_norm_moments_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const double *sums = slots[0];
    double *moments = slots[1];
    for (int64_t g = 0; g < z.groups; g++) {
        const double *of = sums + g * (2 * z.channels + 1);
        const double count = of[2 * z.channels];
        for (int64_t c = 0; c < z.channels; c++) {
            const dl_channel_moments m = dl_batch_norm_channel(of[c], of[z.channels + c], count);
            moments[c] += count * m.mean;
            moments[z.channels + c] += count * m.variance;
        }
        moments[2 * z.channels] += count;
    }
}

void dl_batch_norm_commit_ref(const dl_op *op, void *const *slots) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(&op->desc);
    const double *moments = slots[0];
    float *moving[2] = {slots[1], slots[2]};
    const double keep = op->desc.attr.u.norm.momentum, count = moments[2 * z.channels];
    if (!dl_step_is_ok(slots[3]) || !(count > 0.0)) {
        return;
    }
    for (int k = 0; k < 2; k++) {
        for (int64_t c = 0; c < z.channels; c++) {
            moving[k][c] =
                (float)(keep * (double)moving[k][c] + (1.0 - keep) * moments[k * z.channels + c] / count);
        }
    }
}
