/* Gradients of batch normalization as a whole: x, gamma and beta act on y through the statistics too, so that
 * no single kind's gradient is a slope. L = sum of u y, with y by ref: sums, statistics, forward. */
#include "conformance.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

static const double allowed = 1e-3, step = 0x1p-7;
enum { N = 6, H = 3, W = 4, C = 19, GROUP = 4, GROUPS = 2, VALUES = N * H * W * C };
enum { X, GAMMA, BETA, N_INPUTS };

/* What the operations pass on. */
typedef struct network {
    float x[VALUES], gamma[C], beta[C], y[VALUES], dy[VALUES], dx[VALUES], dgamma[C], dbeta[C];
    float stat[GROUPS * 5 * C];
    double sums[GROUPS * (2 * C + 1)], dstat[GROUPS * 2 * C];
    int64_t group, groups;
    dl_activation activation;
} network;

static void fill(uint64_t purpose, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) {
        out[i] = (float)(2.0 * dl_rng_uniform(3, DL_RNG_TEST, purpose, (uint64_t)i) - 1.0);
    }
}

static dl_tensor_desc tensor(dl_dtype dtype, dl_shape shape) {
    return (dl_tensor_desc){.present = true, .dtype = dtype, .shape = shape};
}

/* Takes memory of the device for every slot and the workspace, and brings the slots' values there. */
static dl_status bring(const dl_op *op, void *const *host, void **memory) {
    dl_device *device = op->device;
    const int n = dl_op_info_of(op->desc.kind)->n_slots;
    for (int i = 0; i <= n; i++) {
        const size_t n_bytes = i < n ? dl_op_slot_bytes(op, i) : op->workspace_bytes;
        if (n_bytes > 0) {
            DL_RETURN_IF_ERROR(device->backend->memory_create(device, n_bytes, &memory[i]));
        }
        if (i < n && host[i] != NULL) {
            DL_RETURN_IF_ERROR(device->backend->upload(device, memory[i], host[i], n_bytes, NULL));
        }
    }
    return DL_OK;
}

/* Runs an operation on values of the host. */
static dl_status run_there(const dl_op *op, void *const *host) {
    dl_device *device = op->device;
    const int n = dl_op_info_of(op->desc.kind)->n_slots;
    void *memory[DL_OP_MAX_SLOTS + 1] = {0};
    dl_status status = bring(op, host, memory);
    if (status == DL_OK) {
        status = op->functions->run(op, memory, NULL);
    }
    for (int i = 0; i <= n; i++) {
        const size_t n_bytes = i < n ? dl_op_slot_bytes(op, i) : op->workspace_bytes;
        if (i < n && host[i] != NULL && status == DL_OK) {
            status = device->backend->download(device, host[i], memory[i], n_bytes, NULL);
        }
        if (memory[i] != NULL) {
            device->backend->memory_destroy(device, memory[i], n_bytes);
        }
    }
    return status;
}

/* Runs one kind; slots are matched by name. */
static dl_status run(dl_device *device, network *net, dl_op_kind kind, dl_activation activation) {
    const dl_shape image = DL_SHAPE(N, H, W, C), vector = DL_SHAPE(C);
    const struct {
        const char *name;
        dl_tensor_desc tensor;
        void *memory;
    } known[] = {
        {"x", tensor(DL_F32, image), net->x},
        {"y", tensor(DL_F32, image), net->y},
        {"dy", tensor(DL_F32, image), net->dy},
        {"dx", tensor(DL_F32, image), net->dx},
        {"gamma", tensor(DL_F32, vector), net->gamma},
        {"beta", tensor(DL_F32, vector), net->beta},
        {"dgamma", tensor(DL_F32, vector), net->dgamma},
        {"dbeta", tensor(DL_F32, vector), net->dbeta},
        {"stat", tensor(DL_F32, DL_SHAPE(net->groups, 5, C)), net->stat},
        {"sums", tensor(DL_F64, DL_SHAPE(net->groups, 2 * C + 1)), net->sums},
        {"dstat", tensor(DL_F64, DL_SHAPE(net->groups, 2, C)), net->dstat},
    };
    dl_op_desc desc = {.kind = kind, .attr = {.activation = activation}};
    desc.attr.u.norm = (dl_norm_attr){.group = net->group, .epsilon = 1e-3};
    void *slots[DL_OP_MAX_SLOTS + 1] = {0};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const int slot = dl_op_slot(dl_op_info_of(kind), known[i].name);
        if (slot >= 0) {
            desc.slot[slot] = known[i].tensor;
            slots[slot] = known[i].memory;
        }
    }
    dl_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_op_prepare(device, &desc, NULL, &op));
    const dl_status status = run_there(op, slots);
    dl_op_destroy(&op);
    return status;
}

static dl_status loss(dl_device *ref, network *net, double *out) {
    DL_RETURN_IF_ERROR(run(ref, net, DL_OP_BATCH_NORM_SUMS, DL_ACT_NONE));
    DL_RETURN_IF_ERROR(run(ref, net, DL_OP_BATCH_NORM_STATISTICS, DL_ACT_NONE));
    DL_RETURN_IF_ERROR(run(ref, net, DL_OP_BATCH_NORM_FORWARD, net->activation));
    *out = 0;
    for (int64_t i = 0; i < VALUES; i++) {
        *out += (double)net->dy[i] * (double)net->y[i];
    }
    return DL_OK;
}

static double direction_of(int64_t i) {
    return dl_rng_uniform(9, DL_RNG_TEST, 78, (uint64_t)i) < 0.5 ? -1 : 1;
}

/* The slope of L along a direction of one input against the gradient's component. */
static dl_status check_input(dlc_suite *suite, network *net, int input, const char *label) {
    float *const values[] = {net->x, net->gamma, net->beta}, *const gradients[] = {net->dx, net->dgamma,
                                                                                   net->dbeta};
    static const char *const names[] = {"x", "gamma", "beta"};
    const int64_t n = input == X ? VALUES : C;
    float kept[VALUES];
    double at[2], along = 0, norm = 0;
    memcpy(kept, values[input], (size_t)n * sizeof(float));
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < n; i++) {
            values[input][i] = (float)((double)kept[i] + (side == 0 ? step : -step) * direction_of(i));
        }
        DL_RETURN_IF_ERROR(loss(suite->ref, net, &at[side]));
    }
    memcpy(values[input], kept, (size_t)n * sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        along += direction_of(i) * (double)gradients[input][i];
        norm += (double)gradients[input][i] * (double)gradients[input][i];
    }
    const double slope = (at[0] - at[1]) / (2 * step);
    const double error = fabs(slope - along) / fmax(fmax(sqrt(norm), fabs(slope)), 1e-30);
    if (error <= allowed) {
        dlc_pass(suite);
    } else {
        dlc_fail(suite, label, "gradient of '%s' differs from the slope by %.3g of its norm", names[input],
                 error);
    }
    return DL_OK;
}

static dl_status check(dlc_suite *suite, network *net, int64_t group, dl_activation activation,
                       const char *label) {
    double ignored = 0;
    net->group = group;
    net->groups = group > 0 ? GROUPS : 1;
    net->activation = activation;
    fill(1, VALUES, net->x);
    fill(2, C, net->gamma);
    fill(3, VALUES, net->dy);
    for (int64_t i = 0; i < C; i++) { /* far from relu's kink, on either side */
        net->beta[i] = activation == DL_ACT_RELU ? (i % 2 == 0 ? 9.0F : -9.0F) : 0.5F;
    }
    DL_RETURN_IF_ERROR(loss(suite->ref, net, &ignored));
    DL_RETURN_IF_ERROR(run(suite->device, net, DL_OP_BATCH_NORM_BACKWARD_SUMS, activation));
    DL_RETURN_IF_ERROR(run(suite->device, net, DL_OP_BATCH_NORM_BACKWARD_DATA, activation));
    DL_RETURN_IF_ERROR(run(suite->device, net, DL_OP_BATCH_NORM_BACKWARD_WEIGHTS, DL_ACT_NONE));
    for (int input = 0; input < N_INPUTS; input++) {
        DL_RETURN_IF_ERROR(check_input(suite, net, input, label));
    }
    return DL_OK;
}

void dlc_check_batch_norm(dlc_suite *suite) {
    network *net = NULL;
    dl_status status = dl_alloc(1, sizeof *net, &net);
    status = status == DL_OK ? check(suite, net, 0, DL_ACT_NONE, "batch norm") : status;
    status = status == DL_OK ? check(suite, net, GROUP, DL_ACT_NONE, "batch norm in groups") : status;
    status = status == DL_OK ? check(suite, net, 0, DL_ACT_RELU, "batch norm with relu") : status;
    if (status != DL_OK) {
        dlc_fail(suite, "batch norm", "%s", dl_error_last()->message);
    }
    dl_free(&net);
    suite->gradient_checks[DL_OP_BATCH_NORM_BACKWARD_SUMS]++;
    suite->gradient_checks[DL_OP_BATCH_NORM_BACKWARD_DATA]++;
    suite->gradient_checks[DL_OP_BATCH_NORM_BACKWARD_WEIGHTS]++;
}
