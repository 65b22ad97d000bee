/* A small convolutional network, forwards and backwards, operation by operation. */
#include "golden.h"

#include "base/mem.h"

#include <string.h>

static const double allowed = 3e-6;
static const char *const prefix = "network/";

enum { N = 6, CLASSES = 10, FLAT = 54 };

/* All values on the host; the names are the slots' and the layers'. */
typedef struct network {
    int32_t labels[N];
    float y1[N * 10 * 10 * 4], pooled[N * 5 * 5 * 4], y2[N * FLAT], logits[N * CLASSES], loss[N];
    float dlogits[N * CLASSES], dflat[N * FLAT], d2[N * FLAT], dpooled[N * 5 * 5 * 4], d1[N * 10 * 10 * 4];
    float dw1[36], db1[4], dw2[216], db2[6], dw3[CLASSES * FLAT], db3[CLASSES];
} network;

/* A run of one operation: slot names and arrays, ended by NULL. */
typedef struct binding {
    const char *slot;
    dl_shape shape;
    float *values;
} binding;

static dl_status run(golden_op *op, dl_op_kind kind, const dl_op_attr *attr, const binding *bindings,
                     dl_device *device) {
    golden_begin(op, device, kind);
    op->desc.attr = *attr;
    for (int i = 0; bindings[i].slot != NULL; i++) {
        golden_bind(op, bindings[i].slot, DL_F32, bindings[i].shape, bindings[i].values);
    }
    DL_RETURN_IF_ERROR(golden_run(op, NULL));
    return DL_OK;
}

static dl_status run_and_end(dl_op_kind kind, const dl_op_attr *attr, const binding *bindings,
                             dl_device *device) {
    golden_op op;
    DL_RETURN_IF_ERROR(run(&op, kind, attr, bindings, device));
    golden_end(&op);
    return DL_OK;
}

static float *of(const golden_file *file, const char *name) {
    return golden_find(file, prefix, name)->values;
}

static const dl_op_attr plain = {0}, relu = {.activation = DL_ACT_RELU};
static const dl_op_attr conv = {.u.conv = {.stride = {1, 1}, .groups = 1}};
static const dl_op_attr conv_relu = {.activation = DL_ACT_RELU, .u.conv = {.stride = {1, 1}, .groups = 1}};

#define X_SHAPE DL_SHAPE(N, 12, 12, 1)
#define Y1_SHAPE DL_SHAPE(N, 10, 10, 4)
#define POOLED_SHAPE DL_SHAPE(N, 5, 5, 4)
#define Y2_SHAPE DL_SHAPE(N, 3, 3, 6)
#define FLAT_SHAPE DL_SHAPE(N, FLAT)
#define LOGITS_SHAPE DL_SHAPE(N, CLASSES)
#define W1_SHAPE DL_SHAPE(4, 1, 3, 3)
#define W2_SHAPE DL_SHAPE(6, 4, 3, 3)
#define W3_SHAPE DL_SHAPE(CLASSES, FLAT)

/* `pool` stays open: its index is read on the way back. */
static dl_status forward(dl_device *device, const golden_file *file, network *n, golden_op *pool) {
    const binding c1[] = {{"x", X_SHAPE, of(file, "x")},
                          {"w", W1_SHAPE, of(file, "w1")},
                          {"b", DL_SHAPE(4), of(file, "b1")},
                          {"y", Y1_SHAPE, n->y1},
                          {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_CONV2D_FORWARD, &conv_relu, c1, device));
    const dl_op_attr pool_attr = {.u.pool = {.window = {2, 2}, .stride = {2, 2}}};
    golden_begin(pool, device, DL_OP_MAX_POOLING2D_FORWARD);
    pool->desc.attr = pool_attr;
    golden_bind(pool, "x", DL_F32, Y1_SHAPE, n->y1);
    golden_bind(pool, "y", DL_F32, POOLED_SHAPE, n->pooled);
    golden_bind(pool, "index", DL_U8, POOLED_SHAPE, NULL);
    DL_RETURN_IF_ERROR(golden_run(pool, NULL));
    const binding c2[] = {{"x", POOLED_SHAPE, n->pooled},
                          {"w", W2_SHAPE, of(file, "w2")},
                          {"b", DL_SHAPE(6), of(file, "b2")},
                          {"y", Y2_SHAPE, n->y2},
                          {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_CONV2D_FORWARD, &conv_relu, c2, device));
    const binding dense[] = {{"x", FLAT_SHAPE, n->y2},
                             {"w", W3_SHAPE, of(file, "w3")},
                             {"b", DL_SHAPE(CLASSES), of(file, "b3")},
                             {"y", LOGITS_SHAPE, n->logits},
                             {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_DENSE_FORWARD, &plain, dense, device));
    return DL_OK;
}

static dl_status loss(dl_device *device, network *n) {
    golden_op op;
    golden_begin(&op, device, DL_OP_SOFTMAX_CROSS_ENTROPY);
    op.desc.attr.u.loss.scale = 1.0 / N;
    golden_bind(&op, "x", DL_F32, LOGITS_SHAPE, n->logits);
    golden_bind(&op, "labels", DL_I32, DL_SHAPE(N), n->labels);
    golden_bind(&op, "loss", DL_F32, DL_SHAPE(N), n->loss);
    golden_bind(&op, "dx", DL_F32, LOGITS_SHAPE, n->dlogits);
    DL_RETURN_IF_ERROR(golden_run(&op, NULL));
    golden_end(&op);
    return DL_OK;
}

static dl_status backward_top(dl_device *device, const golden_file *file, network *n) {
    const binding weights3[] = {{"x", FLAT_SHAPE, n->y2},
                                {"dy", LOGITS_SHAPE, n->dlogits},
                                {"dw", W3_SHAPE, n->dw3},
                                {"db", DL_SHAPE(CLASSES), n->db3},
                                {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_DENSE_BACKWARD_WEIGHTS, &plain, weights3, device));
    const binding data3[] = {
        {"dy", LOGITS_SHAPE, n->dlogits}, {"w", W3_SHAPE, of(file, "w3")}, {"dx", FLAT_SHAPE, n->dflat}, {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_DENSE_BACKWARD_DATA, &plain, data3, device));
    const binding relu2[] = {
        {"y", FLAT_SHAPE, n->y2}, {"dy", FLAT_SHAPE, n->dflat}, {"dx", FLAT_SHAPE, n->d2}, {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_ACTIVATION_BACKWARD, &relu, relu2, device));
    return DL_OK;
}

static dl_status backward_bottom(dl_device *device, const golden_file *file, network *n,
                                 const golden_op *pool) {
    const binding weights2[] = {{"x", POOLED_SHAPE, n->pooled},
                                {"dy", Y2_SHAPE, n->d2},
                                {"dw", W2_SHAPE, n->dw2},
                                {"db", DL_SHAPE(6), n->db2},
                                {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_CONV2D_BACKWARD_WEIGHTS, &conv, weights2, device));
    const binding data2[] = {
        {"dy", Y2_SHAPE, n->d2}, {"w", W2_SHAPE, of(file, "w2")}, {"dx", POOLED_SHAPE, n->dpooled}, {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_CONV2D_BACKWARD_DATA, &conv, data2, device));
    golden_op unpool; /* with relu's backward pass fused: pooled values above zero passed it */
    golden_begin(&unpool, device, DL_OP_MAX_POOLING2D_BACKWARD);
    unpool.desc.attr = pool->desc.attr;
    unpool.desc.attr.activation = DL_ACT_RELU;
    golden_bind(&unpool, "dy", DL_F32, POOLED_SHAPE, n->dpooled);
    golden_bind(&unpool, "y", DL_F32, POOLED_SHAPE, n->pooled);
    golden_bind(&unpool, "dx", DL_F32, Y1_SHAPE, n->d1);
    DL_RETURN_IF_ERROR(golden_run(&unpool, pool));
    golden_end(&unpool);
    const binding weights1[] = {{"x", X_SHAPE, of(file, "x")},
                                {"dy", Y1_SHAPE, n->d1},
                                {"dw", W1_SHAPE, n->dw1},
                                {"db", DL_SHAPE(4), n->db1},
                                {0}};
    DL_RETURN_IF_ERROR(run_and_end(DL_OP_CONV2D_BACKWARD_WEIGHTS, &conv, weights1, device));
    return DL_OK;
}

dl_status golden_check_network(dl_device *device, const golden_file *file, golden_score *score) {
    network *n = NULL;
    golden_op pool;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *n, &n));
    for (int i = 0; i < N; i++) {
        n->labels[i] = (int32_t)of(file, "labels")[i];
    }
    DL_RETURN_IF_ERROR(forward(device, file, n, &pool));
    DL_RETURN_IF_ERROR(loss(device, n));
    DL_RETURN_IF_ERROR(backward_top(device, file, n));
    DL_RETURN_IF_ERROR(backward_bottom(device, file, n, &pool));
    golden_end(&pool);
    const struct {
        const char *name;
        const float *values;
    } results[] = {{"loss", n->loss}, {"dw1", n->dw1}, {"db1", n->db1}, {"dw2", n->dw2},
                   {"db2", n->db2},   {"dw3", n->dw3}, {"db3", n->db3}};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        golden_compare(score, file, prefix, results[i].name, results[i].values, allowed);
    }
    dl_free(&n);
    return DL_OK;
}
