/* Single operations: each record whose name ends in "/attr" is a case; slots are found by name. */
#include "golden.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double allowed = 3e-6;

static void conv_attr(const float *attr, dl_op_attr *out) {
    dl_conv_attr *conv = &out->u.conv;
    for (int i = 0; i < 4; i++) {
        conv->padding[i] = (int64_t)attr[2 + i];
    }
    conv->stride[0] = (int64_t)attr[0];
    conv->stride[1] = (int64_t)attr[1];
    conv->groups = (int64_t)attr[6];
}

static void pool_attr(const float *attr, dl_op_attr *out) {
    dl_pool_attr *pool = &out->u.pool;
    for (int i = 0; i < 2; i++) {
        pool->window[i] = (int64_t)attr[i];
        pool->stride[i] = (int64_t)attr[2 + i];
    }
    for (int i = 0; i < 4; i++) {
        pool->padding[i] = (int64_t)attr[4 + i];
    }
}

static void activation_attr(const float *attr, dl_op_attr *out) {
    out->activation = (dl_activation)attr[0];
}

static void loss_attr(const float *attr, dl_op_attr *out) {
    out->u.loss.scale = 1.0 / (double)attr[0];
}

static void smoothed_attr(const float *attr, dl_op_attr *out) {
    loss_attr(attr, out);
    out->u.loss.smoothing = round((double)attr[1] * 1e6) / 1e6; /* 0.1f is not what PyTorch was told */
}

static void error_attr(const float *attr, dl_op_attr *out) {
    loss_attr(attr, out);
    out->u.loss.absolute = attr[1] != 0;
}

static void no_attr(const float *attr, dl_op_attr *out) {
    (void)attr;
    (void)out;
}

static const struct family {
    const char *prefix;
    dl_op_kind kind;
    void (*attr)(const float *attr, dl_op_attr *out);
} families[] = {
    {"conv/", DL_OP_CONV2D_FORWARD, conv_attr},
    {"dense/", DL_OP_DENSE_FORWARD, no_attr},
    {"pool/", DL_OP_MAX_POOLING2D_FORWARD, pool_attr},
    {"activation/", DL_OP_ACTIVATION_FORWARD, activation_attr},
    {"softmax/", DL_OP_SOFTMAX_FORWARD, no_attr},
    {"softmax_cross_entropy/mean/", DL_OP_SOFTMAX_CROSS_ENTROPY, loss_attr},
    {"softmax_cross_entropy/smoothed/", DL_OP_SOFTMAX_CROSS_ENTROPY, smoothed_attr},
    {"softmax_cross_entropy/rows/", DL_OP_SOFTMAX_CROSS_ENTROPY, smoothed_attr},
    {"error/", DL_OP_ERROR_FORWARD, error_attr},
};

/* Makes arrays for all slots that have a record: copies for inputs, empty ones for outputs. */
static dl_status bind_records(const golden_file *file, const char *prefix, golden_op *op) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    for (int i = 0; i < info->n_slots; i++) {
        const golden_record *record = golden_find(file, prefix, info->slots[i].name);
        if (record == NULL) {
            continue;
        }
        const int64_t n = dl_shape_elements(&record->shape);
        const bool labels = strcmp(info->slots[i].name, "labels") == 0;
        float *array = NULL;
        DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *array, &array));
        golden_bind(op, info->slots[i].name, labels ? DL_I32 : DL_F32, record->shape, array);
        for (int64_t k = 0; k < n && info->slots[i].role == DL_SLOT_IN; k++) {
            if (labels) {
                ((int32_t *)(void *)array)[k] = (int32_t)record->values[k];
            } else {
                array[k] = record->values[k];
            }
        }
    }
    return DL_OK;
}

/* Runs one operation of a case and compares its outputs. */
static dl_status check(golden_op *op, const golden_file *file, const char *prefix, const golden_op *forward,
                       golden_score *score) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    DL_RETURN_IF_ERROR(bind_records(file, prefix, op));
    const int index = dl_op_slot(info, "index");
    if (index >= 0 && info->slots[index].role == DL_SLOT_OUT) {
        golden_bind(op, "index", DL_U8, golden_find(file, prefix, "y")->shape, NULL);
    }
    if (index >= 0 && info->slots[index].role == DL_SLOT_IN) {
        op->desc.slot[dl_op_slot(info, "y")].present = false; /* read only where relu is fused */
    }
    DL_RETURN_IF_ERROR_DOING(golden_run(op, forward), "running %s of %s", info->name, prefix);
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].role == DL_SLOT_OUT && op->host[i] != NULL) {
            golden_compare(score, file, prefix, info->slots[i].name, op->host[i], allowed);
        }
    }
    return DL_OK;
}

static void end(golden_op *op) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        dl_free(&op->host[i]);
    }
    golden_end(op);
}

static dl_status check_case(dl_device *device, const golden_file *file, const struct family *family,
                            const char *prefix, golden_score *score) {
    golden_op forward;
    golden_begin(&forward, device, family->kind);
    family->attr(golden_find(file, prefix, "attr")->values, &forward.desc.attr);
    DL_RETURN_IF_ERROR(check(&forward, file, prefix, NULL, score));
    const dl_op_info *info = dl_op_info_of(family->kind);
    for (int i = 0; i < info->n_gradients; i++) {
        golden_op backward;
        golden_begin(&backward, device, info->gradients[i].kind);
        backward.desc.attr = forward.desc.attr;
        DL_RETURN_IF_ERROR(check(&backward, file, prefix, &forward, score));
        end(&backward);
    }
    end(&forward);
    return DL_OK;
}

dl_status golden_check_kinds(dl_device *device, const golden_file *file, golden_score *score) {
    for (int i = 0; i < file->n; i++) {
        char prefix[GOLDEN_NAME_BYTES];
        (void)snprintf(prefix, sizeof prefix, "%s", file->record[i].name);
        char *last = strrchr(prefix, '/');
        if (last == NULL || strcmp(last, "/attr") != 0) {
            continue;
        }
        last[1] = '\0';
        for (size_t k = 0; k < sizeof families / sizeof families[0]; k++) {
            if (strncmp(prefix, families[k].prefix, strlen(families[k].prefix)) == 0) {
                DL_RETURN_IF_ERROR(check_case(device, file, &families[k], prefix, score));
            }
        }
    }
    return DL_OK;
}
