/* Twenty steps of each optimizer with given gradients. */
#include "golden.h"

#include "kernels/common/blocks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_N = 64 };
static const double allowed = 1e-5;

/* What the updates share. The batch is not full: 12 samples of 16, so gradients come 12/16 too small. */
typedef struct blocks {
    dl_step_block step;
    double totals[DL_N_TOTALS];
    int32_t control[DL_N_CONTROLS];
    double norm[DL_N_NORMS];
    float w[MAX_N], g[MAX_N], s[MAX_N], m[MAX_N], v[MAX_N];
} blocks;

enum { CAPACITY = 16, WEIGHT = 12 };

static const struct optimizer {
    const char *prefix;
    dl_op_kind kind;
} optimizers[] = {
    {"sgd/plain/", DL_OP_SGD_UPDATE},
    {"sgd/momentum/", DL_OP_SGD_UPDATE},
    {"sgd/nesterov/", DL_OP_SGD_UPDATE},
    {"sgd/decay/", DL_OP_SGD_UPDATE},
    {"adam/usual/", DL_OP_ADAM_UPDATE},
    {"adam/decay/", DL_OP_ADAM_UPDATE},
    {"rmsprop/usual/", DL_OP_RMSPROP_UPDATE},
    {"rmsprop/momentum/", DL_OP_RMSPROP_UPDATE},
    {"rmsprop/centered/", DL_OP_RMSPROP_UPDATE},
    {"rmsprop/all/", DL_OP_RMSPROP_UPDATE},
    {"sgd/clipped/", DL_OP_SGD_UPDATE},
    {"rmsprop/clipped/", DL_OP_RMSPROP_UPDATE},
};

/* 0.9f as a double is not what PyTorch was told: back to the nearest short decimal. */
static double decimal(float value) {
    return round((double)value * 1e9) / 1e9;
}

static void set_attr(dl_op_kind kind, const float *o, dl_op_attr *attr) {
    if (kind == DL_OP_SGD_UPDATE) {
        attr->u.sgd = (dl_sgd_attr){CAPACITY, decimal(o[1]), decimal(o[2]), o[3] != 0};
    } else if (kind == DL_OP_RMSPROP_UPDATE) {
        attr->u.rmsprop = (dl_rmsprop_attr){CAPACITY,      decimal(o[1]), decimal(o[2]),
                                            decimal(o[3]), decimal(o[4]), o[5] != 0};
    } else {
        attr->u.adam = (dl_adam_attr){CAPACITY, decimal(o[1]), decimal(o[2]), decimal(o[3]), decimal(o[4])};
    }
}

/* The states that the options need: PyTorch keeps no others. */
static void bind_states(golden_op *op, const float *options, int64_t n, blocks *b) {
    const bool adam = op->desc.kind == DL_OP_ADAM_UPDATE, rmsprop = op->desc.kind == DL_OP_RMSPROP_UPDATE;
    if (rmsprop) {
        golden_bind(op, "s", DL_F32, DL_SHAPE(n), b->s);
    }
    if (adam || (rmsprop && options[5] != 0)) {
        golden_bind(op, "m", DL_F32, DL_SHAPE(n), b->m);
    }
    if (adam || options[rmsprop ? 3 : 1] != 0) {
        golden_bind(op, "v", DL_F32, DL_SHAPE(n), b->v);
    }
}

/* The norm of b->g and the factor that clips it, by the kinds that do it in a program. */
static dl_status measure_norm(dl_device *device, int64_t n, double limit, blocks *b) {
    double sums[1] = {0};
    golden_op squares, norm;
    golden_begin(&squares, device, DL_OP_SUM_SQUARES);
    golden_bind(&squares, "x", DL_F32, DL_SHAPE(n), b->g);
    golden_bind(&squares, "sums", DL_F64, DL_SHAPE(1), sums);
    golden_bind(&squares, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS), b->control);
    DL_RETURN_IF_ERROR(golden_run(&squares, NULL));
    golden_end(&squares);
    golden_begin(&norm, device, DL_OP_GRADIENT_NORM);
    norm.desc.attr.u.clip = (dl_clip_attr){.capacity = CAPACITY, .limit = limit};
    golden_bind(&norm, "sums", DL_F64, DL_SHAPE(1), sums);
    golden_bind(&norm, "totals", DL_F64, DL_SHAPE(DL_N_TOTALS), b->totals);
    golden_bind(&norm, "norm", DL_F64, DL_SHAPE(DL_N_NORMS), b->norm);
    DL_RETURN_IF_ERROR(golden_run(&norm, NULL));
    golden_end(&norm);
    return DL_OK;
}

static dl_status run_step(dl_device *device, dl_op_kind kind, const float *options, const float *clip,
                          int64_t n, blocks *b) {
    golden_op op;
    golden_begin(&op, device, kind);
    set_attr(kind, options, &op.desc.attr);
    golden_bind(&op, "w", DL_F32, DL_SHAPE(n), b->w);
    golden_bind(&op, "g", DL_F32, DL_SHAPE(n), b->g);
    bind_states(&op, options, n, b);
    if (clip != NULL) {
        DL_RETURN_IF_ERROR(measure_norm(device, n, (double)*clip, b));
        golden_bind(&op, "norm", DL_F64, DL_SHAPE(DL_N_NORMS), b->norm);
    }
    golden_bind(&op, "step", DL_U8, DL_SHAPE((int64_t)sizeof b->step), &b->step);
    golden_bind(&op, "totals", DL_F64, DL_SHAPE(DL_N_TOTALS), b->totals);
    golden_bind(&op, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS), b->control);
    DL_RETURN_IF_ERROR(golden_run(&op, NULL));
    golden_end(&op);
    return DL_OK;
}

static dl_status check(dl_device *device, const golden_file *file, const struct optimizer *o,
                       golden_score *score) {
    const golden_record *gradients = golden_find(file, o->prefix, "g"),
                        *start = golden_find(file, o->prefix, "start");
    const float *options = golden_find(file, o->prefix, "attr")->values;
    const int64_t n_steps = gradients->shape.dim[0], n = gradients->shape.dim[1];
    DL_RETURN_ERROR_IF(n > MAX_N, DL_ERR_DATA, "%sg is too wide", o->prefix);
    const golden_record *clip = golden_find(file, o->prefix, "clip");
    float trace[32 * MAX_N], norms[32];
    blocks b = {.step = {.weight = WEIGHT, .learning_rate = decimal(options[0])}};
    b.totals[DL_TOTAL_WEIGHT] = WEIGHT;
    memcpy(b.w, start->values, (size_t)n * sizeof(float));
    for (int64_t t = 0; t < n_steps; t++) {
        b.step.step = b.step.t = t + 1;
        for (int64_t i = 0; i < n; i++) {
            b.g[i] = gradients->values[t * n + i] * ((float)WEIGHT / (float)CAPACITY);
        }
        DL_RETURN_IF_ERROR(run_step(device, o->kind, options, clip == NULL ? NULL : clip->values, n, &b));
        norms[t] = (float)b.norm[DL_NORM_VALUE];
        memcpy(trace + t * n, b.w, (size_t)n * sizeof(float));
    }
    golden_compare(score, file, o->prefix, "w", trace, allowed);
    if (clip != NULL) {
        golden_compare(score, file, o->prefix, "norm", norms, allowed);
    }
    return DL_OK;
}

static dl_status check_average(dl_device *device, const golden_file *file, golden_score *score) {
    static const char prefix[] = "average/ema/";
    const golden_record *w = golden_find(file, prefix, "w");
    const double decay = decimal(golden_find(file, prefix, "decay")->values[0]);
    const int64_t n_steps = w->shape.dim[0], n = w->shape.dim[1];
    float trace[32 * MAX_N];
    blocks b = {.step = {.weight = WEIGHT}};
    for (int64_t t = 0; t < n_steps; t++) {
        golden_op op;
        b.step.step = b.step.t = t + 1;
        golden_begin(&op, device, DL_OP_COMMIT);
        op.desc.attr.u.commit.decay = decay;
        golden_bind(&op, "state", DL_F32, DL_SHAPE(n), b.w);
        golden_bind(&op, "value", DL_F32, DL_SHAPE(n), w->values + t * n);
        golden_bind(&op, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS), b.control);
        golden_bind(&op, "step", DL_U8, DL_SHAPE((int64_t)sizeof b.step), &b.step);
        DL_RETURN_IF_ERROR(golden_run(&op, NULL));
        golden_end(&op);
        memcpy(trace + t * n, b.w, (size_t)n * sizeof(float));
    }
    golden_compare(score, file, prefix, "average", trace, allowed);
    return DL_OK;
}

dl_status golden_check_optimizers(dl_device *device, const golden_file *file, golden_score *score) {
    for (size_t i = 0; i < sizeof optimizers / sizeof optimizers[0]; i++) {
        DL_RETURN_IF_ERROR(check(device, file, &optimizers[i], score));
    }
    return check_average(device, file, score);
}
