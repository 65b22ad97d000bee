/* Dense layers by cuBLASLt: bias, relu and the bias gradient in the product where it has an algorithm for
 * that, else by kernels behind it. */
#include "kernels/cuda/filters.h"
#include "kernels/cuda/matmul.h"

#include "base/mem.h"
#include "kernels/common/column_sums.h"
#include "kernels/cuda/kernels.h"
#include "kernels/ops/sizes.h"

#include <string.h>

typedef struct dense_op {
    dl_op base;
    dl_matmul *matmul;
    dl_dense_sizes sizes;
    int left, right, out, bias;        /* slots; bias or its gradient, -1: none */
    bool bias_fused, activation_fused; /* in the product */
    size_t staging_bytes; /* of the workspace: the bias in the output's 16-bit type; then the product's */
} dense_op;

static bool is_sum(const dense_op *op) {
    return op->base.desc.kind == DL_OP_DENSE_BACKWARD_WEIGHTS;
}

/* --- running --- */

/* What the product left to do. */
static cudaError_t finish(const dense_op *self, void *const *slots, void *workspace, cudaStream_t stream) {
    const dl_op_desc *desc = &self->base.desc;
    const dl_dense_sizes *z = &self->sizes;
    void *bias = self->bias >= 0 && !self->bias_fused ? slots[self->bias] : NULL;
    if (is_sum(self)) {
        return bias == NULL ? cudaSuccess
                            : dl_launch_column_sums(z->n, z->outputs, desc->slot[self->left].dtype,
                                                    slots[self->left], bias, workspace, stream);
    }
    const dl_activation activation = self->activation_fused ? DL_ACT_NONE : desc->attr.activation;
    return bias == NULL && activation == DL_ACT_NONE
               ? cudaSuccess
               : dl_launch_bias_activation(z->n, z->outputs, activation, bias, desc->slot[self->out].dtype,
                                           slots[self->out], stream);
}

static dl_status run(const dl_op *op, void *const *slots, dl_stream *stream) {
    const dense_op *self = (const dense_op *)(const void *)op;
    const cudaStream_t handle = dl_cuda_handle(stream);
    char *workspace = slots[dl_op_info_of(op->desc.kind)->n_slots];
    dl_matmul_call call = {.left = slots[self->left],
                           .right = slots[self->right],
                           .out = slots[self->out],
                           .bias = self->bias_fused ? slots[self->bias] : NULL,
                           .workspace = workspace == NULL ? NULL : workspace + self->staging_bytes};
    if (self->staging_bytes > 0) {
        call.bias = workspace;
        DL_RETURN_IF_ERROR(
            DL_CUDA(dl_launch_pack_weights(1, self->sizes.outputs, 1, slots[self->bias],
                                           op->desc.slot[self->out].dtype, workspace, handle)));
    }
    DL_RETURN_IF_ERROR(dl_matmul_run(self->matmul, &call, handle));
    return DL_CUDA(finish(self, slots, workspace, handle));
}

static void destroy(dl_op *op) {
    dense_op *self = (dense_op *)(void *)op;
    dl_matmul_destroy(&self->matmul);
    dl_free(&self);
}

static const dl_op_functions functions = {.run = run, .destroy = destroy};

/* --- preparing --- */

/* Epilogues that would do, the one that does most first. tanh and sigmoid are kernels' always. */
static int epilogues_of(const dense_op *op, dl_matmul_epilogue out[3]) {
    const bool relu = op->base.desc.attr.activation == DL_ACT_RELU && !is_sum(op);
    int n = 0;
    if (op->bias >= 0) {
        if (relu) {
            out[n++] = DL_MATMUL_BIAS_RELU;
        } else {
            out[n++] = is_sum(op) ? DL_MATMUL_BIAS_GRADIENT : DL_MATMUL_BIAS;
        }
    } else if (relu) {
        out[n++] = DL_MATMUL_RELU;
    }
    out[n++] = DL_MATMUL_PLAIN;
    return n;
}

static dl_status plan(dl_device *device, dense_op *op) {
    dl_matmul_epilogue wanted[3];
    const dl_matmul_shape shape = dl_dense_shape_of(&op->base.desc);
    const int n = epilogues_of(op, wanted);
    for (int i = 0; i < n && op->matmul == NULL; i++) {
        DL_RETURN_IF_ERROR(dl_matmul_create(device, &shape, wanted[i], &op->matmul));
        op->bias_fused = wanted[i] >= DL_MATMUL_BIAS;
        op->activation_fused = wanted[i] == DL_MATMUL_RELU || wanted[i] == DL_MATMUL_BIAS_RELU;
    }
    return DL_OK;
}

/* A fused bias has the output's type. */
static size_t staging_bytes_of(const dense_op *op) {
    const dl_dtype dtype = op->base.desc.slot[op->out].dtype;
    if (!op->bias_fused || is_sum(op) || dtype == DL_F32) {
        return 0;
    }
    return dl_round_up((size_t)op->sizes.outputs * dl_dtype_bytes(dtype), DL_WORKSPACE_ALIGN);
}

static size_t workspace_of(const dense_op *op) {
    const bool sums = is_sum(op) && op->bias >= 0 && !op->bias_fused;
    const size_t element = dl_dtype_bytes(op->base.desc.slot[op->left].dtype);
    const size_t columns = sums ? dl_sum_bytes(op->sizes.n, op->sizes.outputs, element) : 0;
    const size_t product = op->staging_bytes + dl_matmul_workspace(op->matmul);
    return product > columns ? product : columns;
}

static int slot_of(const dl_op_desc *desc, const char *name) {
    const int slot = dl_op_slot(dl_op_info_of(desc->kind), name);
    return slot >= 0 && desc->slot[slot].present ? slot : -1;
}

static dl_status fill(dl_device *device, const dl_op_desc *desc, dense_op *op) {
    dl_cuda_op_init(&op->base, device, desc, &functions, "cublaslt");
    op->sizes = dl_dense_sizes_of(desc);
    op->base.batch_invariant = false; /* the algorithm depends on the number of rows */
    switch (desc->kind) {
    case DL_OP_DENSE_FORWARD:
        op->left = slot_of(desc, "x");
        op->right = slot_of(desc, "w");
        op->out = slot_of(desc, "y");
        break;
    case DL_OP_DENSE_BACKWARD_DATA:
        op->left = slot_of(desc, "dy");
        op->right = slot_of(desc, "w");
        op->out = slot_of(desc, "dx");
        break;
    default:
        op->left = slot_of(desc, "dy");
        op->right = slot_of(desc, "x");
        op->out = slot_of(desc, "dw");
    }
    op->bias = slot_of(desc, is_sum(op) ? "db" : "b");
    DL_RETURN_IF_ERROR(plan(device, op));
    op->staging_bytes = staging_bytes_of(op);
    op->base.workspace_bytes = workspace_of(op);
    return DL_OK;
}

static dl_status prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    dense_op *op = NULL;
    if (dl_op_samples(desc) == 0) {
        return dl_cuda_prepare_empty(device, desc, out);
    }
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    const dl_status status = fill(device, desc, op);
    if (status != DL_OK) {
        destroy(&op->base);
        return status;
    }
    *out = &op->base;
    return DL_OK;
}

/* What is multiplied has one type, float32 or 16 bits; the product that type or float32; bias and the
 * gradients of weights and bias are float32. */
static bool takes(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_dtype first = desc->slot[0].dtype;
    for (int i = 0; i < info->n_slots; i++) {
        const char *name = info->slots[i].name;
        const dl_dtype dtype = desc->slot[i].dtype;
        const bool sum = strcmp(name, "b") == 0 || strcmp(name, "dw") == 0 || strcmp(name, "db") == 0,
                   out = info->slots[i].role == DL_SLOT_OUT;
        const bool fits = dtype == DL_F32 ? sum || out || first == DL_F32 : !sum && dtype == first;
        if (desc->slot[i].present && !fits) {
            return false;
        }
    }
    return first == DL_F32 || first == DL_BF16 || first == DL_F16;
}

const dl_cuda_kind dl_cuda_kinds_dense[] = {
    {.kind = DL_OP_DENSE_FORWARD, .takes = takes, .prepare = prepare},
    {.kind = DL_OP_DENSE_BACKWARD_DATA, .takes = takes, .prepare = prepare},
    {.kind = DL_OP_DENSE_BACKWARD_WEIGHTS, .takes = takes, .prepare = prepare},
    {.run = NULL},
};
