/* What the plugin calls of cuDNN's graph API: descriptors that keep what they are given, two engines for
 * every graph (the second is said to be nondeterministic), and plans that compute convolutions and pointwise
 * operations one element at a time. Wants every descriptor finalized before it is used, a workspace, and
 * aligned addresses. */
#include "emulator.h"
#include "numbers.h"

#include <cudnn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_ATTRIBUTES = 12, MAX_VALUE_BYTES = 64, N_ENGINES = 2, WORKSPACE_BYTES = 320, MAX_TENSORS = 8 };

typedef struct attribute {
    cudnnBackendAttributeName_t name;
    int64_t n;
    char value[MAX_VALUE_BYTES];
} attribute;

typedef struct descriptor {
    cudnnBackendDescriptorType_t type;
    bool finalized;
    int n;
    attribute attribute[MAX_ATTRIBUTES];
    const struct descriptor *graph; /* of an engine's configuration */
    int64_t engine;
} descriptor;

/* --- descriptors --- */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
    descriptor *d = calloc(1, sizeof *d);
    if (d != NULL) {
        d->type = type;
    }
    *out = d;
    return d == NULL ? CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d) {
    free(d);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d) {
    ((descriptor *)d)->finalized = true;
    return CUDNN_STATUS_SUCCESS;
}

static size_t bytes_of(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
        return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    default:
        return 4; /* enumerations, float */
    }
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n, const void *values) {
    descriptor *d = to;
    const size_t n_bytes = bytes_of(type) * (size_t)n;
    if (d->finalized || d->n == MAX_ATTRIBUTES || n_bytes > MAX_VALUE_BYTES) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    for (int64_t i = 0; i < n && type == CUDNN_TYPE_BACKEND_DESCRIPTOR; i++) {
        if (!((descriptor *const *)values)[i]->finalized) {
            return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
        }
    }
    d->attribute[d->n].name = name;
    d->attribute[d->n].n = n;
    memcpy(d->attribute[d->n++].value, values, n_bytes);
    return CUDNN_STATUS_SUCCESS;
}

static const attribute *find(const descriptor *d, cudnnBackendAttributeName_t name) {
    for (int i = 0; i < d->n; i++) {
        if (d->attribute[i].name == name) {
            return &d->attribute[i];
        }
    }
    return NULL;
}

static const void *value(const descriptor *d, cudnnBackendAttributeName_t name) {
    const attribute *found = find(d, name);
    if (found == NULL) {
        abort(); /* the library would have refused to finalize */
    }
    return found->value;
}

static const descriptor *other(const descriptor *d, cudnnBackendAttributeName_t name) {
    return *(descriptor *const *)value(d, name);
}

/* --- heuristics, engines, plans --- */

static void offer(const descriptor *heuristics, int64_t n_wanted, int64_t *n, void *out) {
    descriptor *const *config = out;
    *n = n_wanted < N_ENGINES ? n_wanted : N_ENGINES;
    for (int64_t i = 0; i < *n; i++) {
        config[i]->graph = other(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
        config[i]->engine = i;
        config[i]->finalized = true;
    }
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const from, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n_wanted, int64_t *n,
                                       void *out) {
    const descriptor *d = from;
    (void)type;
    if (!d->finalized) {
        return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
    }
    *n = 1;
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
        offer(d, n_wanted, n, out);
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        (*(descriptor *const *)out)->engine = d->engine;
        (*(descriptor *const *)out)->finalized = true;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        *(int64_t *)out = d->engine;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        *n = d->engine;
        *(cudnnBackendNumericalNote_t *)out = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)out = WORKSPACE_BYTES;
        return CUDNN_STATUS_SUCCESS;
    default:
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
}

/* --- running --- */

/* A tensor as numbers, [n, c, h, w] without gaps. */
typedef struct tensor {
    int64_t uid, dim[4], stride[4];
    dl_dtype dtype;
    double *numbers;
} tensor;

typedef struct run {
    const descriptor *pack;
    int n;
    tensor tensor[MAX_TENSORS];
    bool misaligned;
} run;

static int64_t place(const tensor *t, const int64_t at[4]) {
    return ((at[0] * t->dim[1] + at[1]) * t->dim[2] + at[2]) * t->dim[3] + at[3];
}

static void *address_of(const run *r, int64_t uid) {
    const attribute *uids = find(r->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    for (int64_t i = 0; i < uids->n; i++) {
        if (((const int64_t *)(const void *)uids->value)[i] == uid) {
            return ((void *const *)value(r->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS))[i];
        }
    }
    return NULL;
}

static void move(const tensor *t, void *memory, bool store) {
    int64_t at[4], from = 0;
    for (at[0] = 0; at[0] < t->dim[0]; at[0]++) {
        for (at[1] = 0; at[1] < t->dim[1]; at[1]++) {
            for (at[2] = 0; at[2] < t->dim[2]; at[2]++) {
                for (at[3] = 0; at[3] < t->dim[3]; at[3]++, from++) {
                    const int64_t i = at[0] * t->stride[0] + at[1] * t->stride[1] + at[2] * t->stride[2] +
                                      at[3] * t->stride[3];
                    if (store) {
                        set_number(memory, i, t->dtype, t->numbers[from]);
                    } else {
                        t->numbers[from] = number_at(memory, i, t->dtype);
                    }
                }
            }
        }
    }
}

/* The tensor of a descriptor: of memory when it is first met, then what was computed. */
static tensor *open_tensor(run *r, const descriptor *d, bool read) {
    const int64_t uid = *(const int64_t *)value(d, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    for (int i = 0; i < r->n; i++) {
        if (r->tensor[i].uid == uid) {
            return &r->tensor[i];
        }
    }
    tensor *t = &r->tensor[r->n++];
    t->uid = uid;
    t->dtype = dtype_of(*(const cudnnDataType_t *)value(d, CUDNN_ATTR_TENSOR_DATA_TYPE));
    memcpy(t->dim, value(d, CUDNN_ATTR_TENSOR_DIMENSIONS), sizeof t->dim);
    memcpy(t->stride, value(d, CUDNN_ATTR_TENSOR_STRIDES), sizeof t->stride);
    t->numbers = calloc((size_t)(t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]) + 1, sizeof *t->numbers);
    void *memory = address_of(r, uid);
    const int64_t alignment = *(const int64_t *)value(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    r->misaligned = r->misaligned || (uintptr_t)memory % (uintptr_t)alignment != 0;
    if (read && memory != NULL) {
        move(t, memory, false);
    }
    return t;
}

static void close_tensor(const run *r, const tensor *t) {
    void *memory = address_of(r, t->uid);
    if (memory != NULL) {
        move(t, memory, true);
    }
}

typedef struct convolution {
    tensor *x, *w, *y;
    int64_t stride[2], before[2];
    tensor *sum; /* which of them is computed */
} convolution;

static void add_window(const convolution *c, int64_t n, int64_t k, int64_t p, int64_t q) {
    const int64_t *w = c->w->dim,
                  first = k / (w[0] / (c->x->dim[1] / w[1])) * w[1]; /* channel of its group */
    double *y = &c->y->numbers[place(c->y, (int64_t[]){n, k, p, q})];
    for (int64_t i = 0; i < w[1] * w[2] * w[3]; i++) {
        const int64_t channel = i / (w[2] * w[3]), row = p * c->stride[0] - c->before[0] + i / w[3] % w[2],
                      column = q * c->stride[1] - c->before[1] + i % w[3];
        if (row < 0 || row >= c->x->dim[2] || column < 0 || column >= c->x->dim[3]) {
            continue;
        }
        double *x = &c->x->numbers[place(c->x, (int64_t[]){n, first + channel, row, column})];
        double *weight = &c->w->numbers[k * w[1] * w[2] * w[3] + i];
        if (c->sum == c->y) {
            *y += *x * *weight;
        } else if (c->sum == c->x) {
            *x += *y * *weight;
        } else {
            *weight += *x * *y;
        }
    }
}

static void convolve(run *r, const convolution *c) {
    const int64_t *y = c->y->dim, *s = c->sum->dim;
    memset(c->sum->numbers, 0, (size_t)(s[0] * s[1] * s[2] * s[3]) * sizeof *c->sum->numbers);
    for (int64_t i = 0; i < y[0] * y[1] * y[2] * y[3]; i++) {
        add_window(c, i / (y[1] * y[2] * y[3]), i / (y[2] * y[3]) % y[1], i / y[3] % y[2], i % y[3]);
    }
    close_tensor(r, c->sum);
}

#define CONVOLUTION(PASS, X, W, Y, SUM)                                                                      \
    do {                                                                                                     \
        const descriptor *with = other(op, CUDNN_ATTR_OPERATION_CONVOLUTION_##PASS##_CONV_DESC);             \
        convolution c = {open_tensor(r, other(op, CUDNN_ATTR_OPERATION_CONVOLUTION_##PASS##_##X), true),     \
                         open_tensor(r, other(op, CUDNN_ATTR_OPERATION_CONVOLUTION_##PASS##_##W), true),     \
                         open_tensor(r, other(op, CUDNN_ATTR_OPERATION_CONVOLUTION_##PASS##_##Y), true),     \
                         {0},                                                                                \
                         {0},                                                                                \
                         NULL};                                                                              \
        memcpy(c.stride, value(with, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES), sizeof c.stride);               \
        memcpy(c.before, value(with, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS), sizeof c.before);                 \
        c.sum = c.SUM;                                                                                       \
        convolve(r, &c);                                                                                     \
    } while (0)

static double pointwise(cudnnPointwiseMode_t mode, double x, double b) {
    switch (mode) {
    case CUDNN_POINTWISE_RELU_FWD:
        return x < 0.0 ? 0.0 : x;
    case CUDNN_POINTWISE_TANH_FWD:
        return tanh(x);
    case CUDNN_POINTWISE_SIGMOID_FWD:
        return 1.0 / (1.0 + exp(-x));
    default:
        return x + b;
    }
}

static void run_pointwise(run *r, const descriptor *op) {
    const descriptor *with = other(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const cudnnPointwiseMode_t mode = *(const cudnnPointwiseMode_t *)value(with, CUDNN_ATTR_POINTWISE_MODE);
    const tensor *x = open_tensor(r, other(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC), true);
    const tensor *b = mode == CUDNN_POINTWISE_ADD
                          ? open_tensor(r, other(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC), true)
                          : NULL;
    const tensor *y = open_tensor(r, other(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC), false);
    for (int64_t i = 0; i < y->dim[0] * y->dim[1] * y->dim[2] * y->dim[3]; i++) {
        const int64_t channel = i / (y->dim[2] * y->dim[3]) % y->dim[1];
        y->numbers[i] = pointwise(mode, x->numbers[i], b == NULL ? 0.0 : b->numbers[channel]);
    }
    close_tensor(r, y);
}

static void run_operation(run *r, const descriptor *op) {
    switch (op->type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        CONVOLUTION(FORWARD, X, W, Y, y);
        break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        CONVOLUTION(BWD_DATA, DX, W, DY, x);
        break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        CONVOLUTION(BWD_FILTER, X, DW, DY, w);
        break;
    default:
        run_pointwise(r, op);
    }
}

/* A plan with the addresses it was given. */
typedef struct execution {
    const descriptor *ops;
    descriptor pack;
} execution;

static void run_plan(void *context) {
    const execution *e = context;
    run r = {.pack = &e->pack};
    const attribute *ops = find(e->ops, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    emulator_memory_open();
    memset(*(void *const *)value(&e->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE), 0xff, WORKSPACE_BYTES);
    for (int64_t i = 0; i < ops->n; i++) {
        run_operation(&r, ((const descriptor *const *)(const void *)ops->value)[i]);
    }
    for (int i = 0; i < r.n; i++) {
        free(r.tensor[i].numbers);
    }
    emulator_memory_close();
    if (r.misaligned) {
        (void)fprintf(stderr, "emulator: an address is not as aligned as its descriptor says\n");
        abort();
    }
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
    if (handle == NULL || !((descriptor *)pack)->finalized ||
        *(void *const *)value(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE) == NULL) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    const execution e = {.ops = other(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->graph,
                         .pack = *(const descriptor *)pack};
    emulator_submit(*(cudaStream_t *)(void *)handle, run_plan, &e, sizeof e);
    return CUDNN_STATUS_SUCCESS;
}
