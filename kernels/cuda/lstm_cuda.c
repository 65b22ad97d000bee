/* The recurrence of an LSTM, position by position: a cuBLASLt product with the recurrent weights for all
 * samples, then a kernel for gates and cells.
 *
 * For layers that stay in their parts (kernels/ops/lstm_info.c): where sums must be reproducible they run in
 * pieces, which cuDNN's one sum over all samples cannot. Whole layers are cuDNN's (rnn_cuda.c). */
#include "kernels/cuda/filters.h"
#include "kernels/cuda/matmul.h"

#include "base/mem.h"
#include "kernels/cuda/kernels.h"
#include "kernels/ops/sizes.h"

/* Slots of the three kinds. */
enum { Z, W, H0, C0, Y, HN, CN, GATES, CELLS };
enum { BACK_GATES, BACK_CELLS, BACK_W, BACK_C0, BACK_DY, BACK_DZ };
enum { SUM_Y, SUM_H0, SUM_DZ, SUM_DW };

typedef struct lstm_op {
    dl_op base;
    dl_lstm_sizes sizes;
    dl_matmul *matmul;  /* with the outputs, or gradients, of another position; of all positions for W_hh */
    dl_matmul *initial; /* with h0; NULL without */
    /* the workspace: sums of a product (before, for W_hh: outputs one position earlier), cells' gradients,
     * then the products' own */
    size_t sums_bytes, cells_bytes;
} lstm_op;

static const lstm_op *self_of(const dl_op *op) {
    return (const lstm_op *)(const void *)op;
}

static float *sums_of(const lstm_op *self, void *const *slots) {
    return slots[dl_op_info_of(self->base.desc.kind)->n_slots];
}

static char *products_of(const lstm_op *self, void *const *slots) {
    return (char *)(void *)sums_of(self, slots) + self->sums_bytes + self->cells_bytes;
}

/* --- forward --- */

/* The sums that h before position t brings; *sums is NULL for zeros. */
static dl_status multiply_before(const lstm_op *self, void *const *slots, int64_t t, float **sums,
                                 cudaStream_t stream) {
    const float *y = slots[Y];
    *sums = t > 0 || self->initial != NULL ? sums_of(self, slots) : NULL;
    if (*sums == NULL) {
        return DL_OK;
    }
    const dl_matmul_call call = {.left = t > 0 ? (const void *)(y + (t - 1) * self->sizes.h) : slots[H0],
                                 .right = slots[W],
                                 .out = *sums,
                                 .workspace = products_of(self, slots)};
    return dl_matmul_run(t > 0 ? self->matmul : self->initial, &call, stream);
}

static dl_status run_forward(const dl_op *op, void *const *slots, dl_stream *stream) {
    const lstm_op *self = self_of(op);
    const cudaStream_t handle = dl_cuda_handle(stream);
    dl_lstm_forward_step step = {.n_positions = self->sizes.t,
                                 .h = self->sizes.h,
                                 .z = slots[Z],
                                 .c0 = slots[C0],
                                 .y = slots[Y],
                                 .hn = slots[HN],
                                 .cn = slots[CN],
                                 .gates = slots[GATES],
                                 .cells = slots[CELLS]};
    for (step.t = 0; step.t < self->sizes.t; step.t++) {
        float *sums = NULL;
        DL_RETURN_IF_ERROR(multiply_before(self, slots, step.t, &sums, handle));
        step.sums = sums;
        DL_RETURN_IF_ERROR(DL_CUDA(dl_launch_lstm_forward(self->sizes.n, &step, handle)));
    }
    return DL_OK;
}

/* --- backward --- */

static dl_status run_backward(const dl_op *op, void *const *slots, dl_stream *stream) {
    const lstm_op *self = self_of(op);
    const cudaStream_t handle = dl_cuda_handle(stream);
    float *sums = sums_of(self, slots), *dz = slots[BACK_DZ];
    dl_lstm_backward_step step = {.n_positions = self->sizes.t,
                                  .h = self->sizes.h,
                                  .gates = slots[BACK_GATES],
                                  .cells = slots[BACK_CELLS],
                                  .c0 = slots[BACK_C0],
                                  .dy = slots[BACK_DY],
                                  .sums = sums,
                                  .dz = dz,
                                  .dc = sums + self->sums_bytes / sizeof(float)};
    for (step.t = self->sizes.t - 1; step.t >= 0; step.t--) {
        if (step.t + 1 < self->sizes.t) {
            const dl_matmul_call call = {.left = dz + (step.t + 1) * 4 * self->sizes.h,
                                         .right = slots[BACK_W],
                                         .out = sums,
                                         .workspace = products_of(self, slots)};
            DL_RETURN_IF_ERROR(dl_matmul_run(self->matmul, &call, handle));
        }
        DL_RETURN_IF_ERROR(DL_CUDA(dl_launch_lstm_backward(self->sizes.n, &step, handle)));
    }
    return DL_OK;
}

static dl_status run_weights(const dl_op *op, void *const *slots, dl_stream *stream) {
    const lstm_op *self = self_of(op);
    const cudaStream_t handle = dl_cuda_handle(stream);
    float *before = sums_of(self, slots);
    DL_RETURN_IF_ERROR(DL_CUDA(dl_launch_lstm_before(self->sizes.n, self->sizes.t, self->sizes.h,
                                                     slots[SUM_Y], slots[SUM_H0], before, handle)));
    const dl_matmul_call call = {
        .left = slots[SUM_DZ], .right = before, .out = slots[SUM_DW], .workspace = products_of(self, slots)};
    return dl_matmul_run(self->matmul, &call, handle);
}

/* --- preparing --- */

static void destroy(dl_op *op) {
    lstm_op *self = (lstm_op *)(void *)op;
    dl_matmul_destroy(&self->matmul);
    dl_matmul_destroy(&self->initial);
    dl_free(&self);
}

static const dl_op_functions forward_functions = {.run = run_forward, .destroy = destroy};
static const dl_op_functions backward_functions = {.run = run_backward, .destroy = destroy};
static const dl_op_functions weights_functions = {.run = run_weights, .destroy = destroy};

static const dl_op_functions *functions_of(dl_op_kind kind) {
    return kind == DL_OP_LSTM_FORWARD         ? &forward_functions
           : kind == DL_OP_LSTM_BACKWARD_DATA ? &backward_functions
                                              : &weights_functions;
}

/* Room for sums and for the cells' gradients, in whole aligned blocks. */
static void lay_out(lstm_op *op) {
    const dl_lstm_sizes *s = &op->sizes;
    const bool forward = op->base.desc.kind == DL_OP_LSTM_FORWARD,
               backward = op->base.desc.kind == DL_OP_LSTM_BACKWARD_DATA;
    const int64_t units = s->n * s->h, sums = forward ? 4 * units : backward ? units : units * s->t;
    op->sums_bytes = dl_round_up((size_t)sums * sizeof(float), DL_WORKSPACE_ALIGN);
    op->cells_bytes = backward ? dl_round_up((size_t)units * sizeof(float), DL_WORKSPACE_ALIGN) : 0;
    size_t products = dl_matmul_workspace(op->matmul);
    if (op->initial != NULL && dl_matmul_workspace(op->initial) > products) {
        products = dl_matmul_workspace(op->initial);
    }
    op->base.workspace_bytes = op->sums_bytes + op->cells_bytes + products;
}

/* The rows of a product are samples, which all run through the same sums; but cuBLASLt may choose another
 * algorithm for another number of them. */
static dl_status fill(dl_device *device, const dl_op_desc *desc, lstm_op *op) {
    dl_cuda_op_init(&op->base, device, desc, functions_of(desc->kind), "cublaslt");
    op->base.batch_invariant = false;
    op->sizes = dl_lstm_sizes_of(desc);
    const dl_matmul_shape shape = dl_lstm_shape_of(desc, false);
    DL_RETURN_IF_ERROR(dl_matmul_create(device, &shape, DL_MATMUL_PLAIN, &op->matmul));
    if (desc->kind == DL_OP_LSTM_FORWARD && desc->slot[H0].present) {
        const dl_matmul_shape initial = dl_lstm_shape_of(desc, true);
        DL_RETURN_IF_ERROR(dl_matmul_create(device, &initial, DL_MATMUL_PLAIN, &op->initial));
    }
    lay_out(op);
    return DL_OK;
}

static dl_status prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    lstm_op *op = NULL;
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

/* All in float32: gates and cells are sums over positions. */
static bool takes(const dl_op_desc *desc) {
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        if (desc->slot[i].present && desc->slot[i].dtype != DL_F32) {
            return false;
        }
    }
    return true;
}

const dl_cuda_kind dl_cuda_kinds_lstm[] = {
    {.kind = DL_OP_LSTM_FORWARD, .takes = takes, .prepare = prepare},
    {.kind = DL_OP_LSTM_BACKWARD_DATA, .takes = takes, .prepare = prepare},
    {.kind = DL_OP_LSTM_BACKWARD_WEIGHTS, .takes = takes, .prepare = prepare},
    {.run = NULL},
};
