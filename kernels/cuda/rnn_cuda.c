/* A whole LSTM layer by cuDNN's RNN, one call forwards and two on the way back.
 *
 * The slot `reserve` holds cuDNN's reserve space and, behind it, the weight space: it is filled once for both
 * directions. cuDNN changes its reserve space on the way back, and our inputs stay as they are, so the way
 * back works on a copy. Carried states are float32 whatever the type of the layer. */
#include "kernels/cuda/filters.h"
#include "kernels/cuda/layouts.h"
#include "kernels/cuda/rnn.h"

#include "base/mem.h"

#include <stdio.h>

enum { X, W_IH, W_HH, B, H0, C0, Y, HN, CN, RESERVE, N_FORWARD };
enum { BACK_X, BACK_W_IH, BACK_W_HH, BACK_H0, BACK_C0, BACK_Y, BACK_DY, BACK_RESERVE };
enum { DX = BACK_RESERVE + 1, DW_IH, DW_HH, DB, N_BACKWARD };
enum { MAX_STATES = 4 };

typedef struct rnn_op {
    dl_op base;
    dl_rnn rnn;
    size_t weights_in_reserve; /* where the weight space begins in `reserve` */
    /* bytes into the workspace: cuDNN's own, weight space (that of gradients on the way back), reserve space,
     * dx that nobody wants, states in the layer's type */
    size_t work_at, weights_at, reserve_at, dx_at, state_at[MAX_STATES];
} rnn_op;

static const rnn_op *self_of(const dl_op *op) {
    return (const rnn_op *)(const void *)op;
}

static void *at(void *workspace, size_t offset) {
    return (char *)workspace + offset;
}

static int64_t state_elements(const rnn_op *self) {
    return self->rnn.shape.sizes.n * self->rnn.shape.sizes.h;
}

static bool casts_states(const rnn_op *self) {
    return self->rnn.shape.dtype != DL_F32;
}

/* Where cuDNN finds, or writes, the state of a slot; NULL: there is none. */
static void *state_of(const rnn_op *self, void *slot, void *workspace, int i) {
    return slot == NULL || !casts_states(self) ? slot : at(workspace, self->state_at[i]);
}

static dl_status bring_state(const rnn_op *self, void *slot, void *workspace, int i, void **out,
                             cudaStream_t stream) {
    *out = state_of(self, slot, workspace, i);
    return *out == slot
               ? DL_OK
               : dl_rnn_copy(state_elements(self), DL_F32, slot, self->rnn.shape.dtype, *out, stream);
}

static dl_status take_state(const rnn_op *self, const void *state, void *slot, cudaStream_t stream) {
    return state == slot
               ? DL_OK
               : dl_rnn_copy(state_elements(self), self->rnn.shape.dtype, state, DL_F32, slot, stream);
}

/* --- running --- */

static dl_status run_forward(const dl_op *op, void *const *slots, dl_stream *stream) {
    const rnn_op *self = self_of(op);
    const dl_rnn *rnn = &self->rnn;
    const cudaStream_t queue = dl_cuda_handle(stream);
    void *workspace = slots[N_FORWARD], *reserve = slots[RESERVE], *state[MAX_STATES];
    void *weights = reserve != NULL ? at(reserve, self->weights_in_reserve) : at(workspace, self->weights_at);
    const void *const plain[] = {slots[W_IH], slots[W_HH], slots[B]};
    const dl_dtype dtype[] = {op->desc.slot[W_IH].dtype, op->desc.slot[W_HH].dtype, op->desc.slot[B].dtype};
    cudnnHandle_t handle = NULL;
    DL_RETURN_IF_ERROR(dl_cuda_dnn(op->device, stream, &handle));
    DL_RETURN_IF_ERROR(dl_rnn_fill(rnn, plain, dtype, weights, queue));
    DL_RETURN_IF_ERROR(bring_state(self, slots[H0], workspace, 0, &state[0], queue));
    DL_RETURN_IF_ERROR(bring_state(self, slots[C0], workspace, 1, &state[1], queue));
    state[2] = state_of(self, slots[HN], workspace, 2);
    state[3] = state_of(self, slots[CN], workspace, 3);
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnRNNForward(
        handle, rnn->layer, reserve != NULL ? CUDNN_FWD_MODE_TRAINING : CUDNN_FWD_MODE_INFERENCE, NULL,
        rnn->x, slots[X], rnn->y, slots[Y], rnn->state, state[0], state[2], rnn->state, state[1], state[3],
        rnn->weights_bytes, weights, rnn->work_bytes, at(workspace, self->work_at), rnn->reserve_bytes,
        reserve)));
    DL_RETURN_IF_ERROR(take_state(self, state[2], slots[HN], queue));
    return take_state(self, state[3], slots[CN], queue);
}

/* cuDNN adds to the gradients, which begin at zero. */
static dl_status run_weights(const rnn_op *self, cudnnHandle_t handle, void *const *slots, const void *h0,
                             void *reserve, cudaStream_t stream) {
    const dl_rnn *rnn = &self->rnn;
    void *workspace = slots[N_BACKWARD], *gradients = at(workspace, self->weights_at);
    float *const plain[] = {slots[DW_IH], slots[DW_HH], slots[DB]};
    DL_RETURN_IF_ERROR(DL_CUDA(cudaMemsetAsync(gradients, 0, rnn->weights_bytes, stream)));
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnRNNBackwardWeights_v8(
        handle, rnn->layer, CUDNN_WGRAD_MODE_ADD, NULL, rnn->x, slots[BACK_X], rnn->state, h0, rnn->y,
        slots[BACK_Y], rnn->weights_bytes, gradients, rnn->work_bytes, at(workspace, self->work_at),
        rnn->reserve_bytes, reserve)));
    return dl_rnn_fetch(rnn, gradients, plain, stream);
}

static dl_status run_backward(const dl_op *op, void *const *slots, dl_stream *stream) {
    const rnn_op *self = self_of(op);
    const dl_rnn *rnn = &self->rnn;
    const cudaStream_t queue = dl_cuda_handle(stream);
    void *workspace = slots[N_BACKWARD], *reserve = at(workspace, self->reserve_at), *h0 = NULL, *c0 = NULL;
    void *dx = slots[DX] != NULL ? slots[DX] : at(workspace, self->dx_at);
    cudnnHandle_t handle = NULL;
    DL_RETURN_IF_ERROR(dl_cuda_dnn(op->device, stream, &handle));
    DL_RETURN_IF_ERROR(DL_CUDA(
        cudaMemcpyAsync(reserve, slots[BACK_RESERVE], rnn->reserve_bytes, cudaMemcpyDeviceToDevice, queue)));
    DL_RETURN_IF_ERROR(bring_state(self, slots[BACK_H0], workspace, 0, &h0, queue));
    DL_RETURN_IF_ERROR(bring_state(self, slots[BACK_C0], workspace, 1, &c0, queue));
    DL_RETURN_IF_ERROR(DL_CUDNN(
        cudnnRNNBackwardData_v8(handle, rnn->layer, NULL, rnn->y, slots[BACK_Y], slots[BACK_DY], rnn->x, dx,
                                rnn->state, h0, NULL, NULL, rnn->state, c0, NULL, NULL, rnn->weights_bytes,
                                at(slots[BACK_RESERVE], self->weights_in_reserve), rnn->work_bytes,
                                at(workspace, self->work_at), rnn->reserve_bytes, reserve)));
    return slots[DB] == NULL ? DL_OK : run_weights(self, handle, slots, h0, reserve, queue);
}

static void destroy(dl_op *op) {
    rnn_op *self = (rnn_op *)(void *)op;
    dl_rnn_destroy(&self->rnn);
    dl_free(&self);
}

static const dl_op_functions forward_functions = {.run = run_forward, .destroy = destroy};
static const dl_op_functions backward_functions = {.run = run_backward, .destroy = destroy};

/* --- preparing --- */

static void take(rnn_op *op, size_t n_bytes, size_t *offset) {
    *offset = op->base.workspace_bytes;
    op->base.workspace_bytes += dl_round_up(n_bytes, DL_WORKSPACE_ALIGN);
}

/* Room for state i, that of a slot, in the layer's type. */
static void take_state_room(rnn_op *op, int i, int slot) {
    const bool cast = op->base.desc.slot[slot].present && casts_states(op);
    take(op, cast ? (size_t)state_elements(op) * dl_dtype_bytes(op->rnn.shape.dtype) : 0, &op->state_at[i]);
}

static void lay_out_forward(rnn_op *op) {
    static const int slots[MAX_STATES] = {H0, C0, HN, CN};
    take(op, op->base.desc.slot[RESERVE].present ? 0 : op->rnn.weights_bytes, &op->weights_at);
    for (int i = 0; i < MAX_STATES; i++) {
        take_state_room(op, i, slots[i]);
    }
}

static void lay_out_backward(rnn_op *op) {
    const dl_op_desc *desc = &op->base.desc;
    take(op, op->rnn.reserve_bytes, &op->reserve_at);
    take(op, desc->slot[DB].present ? op->rnn.weights_bytes : 0, &op->weights_at);
    take(op, desc->slot[DX].present ? 0 : dl_tensor_plain_bytes(&desc->slot[BACK_X]), &op->dx_at);
    take_state_room(op, 0, BACK_H0);
    take_state_room(op, 1, BACK_C0);
}

static dl_rnn_shape shape_of(const dl_device *device, const dl_op_desc *desc) {
    const int reserve = desc->kind == DL_OP_LSTM_LAYER_FORWARD ? RESERVE : BACK_RESERVE;
    return (dl_rnn_shape){.sizes = dl_lstm_layer_sizes_of(desc),
                          .dtype = desc->slot[X].dtype,
                          .training = desc->slot[reserve].present,
                          .tf32 = device->tf32};
}

/* Others than the standard one are for training, whose choices are measured; what persistent kernels promise
 * of the order of sums nobody says. */
static bool has_choice(const dl_device *device, const dl_op_desc *desc) {
    return shape_of(device, desc).training && !device->deterministic && dl_op_samples(desc) > 0;
}

static bool find_algorithm(dl_device *device, const dl_op_desc *desc, int number, cudnnRNNAlgo_t *out) {
    const dl_rnn_shape shape = shape_of(device, desc);
    *out = CUDNN_RNN_ALGO_STANDARD;
    return has_choice(device, desc) ? dl_rnn_find_algorithm(device, &shape, number, out) : number == 0;
}

static int n_algorithms(dl_device *device, const dl_op_desc *desc) {
    const dl_rnn_shape shape = shape_of(device, desc);
    return has_choice(device, desc) ? dl_rnn_n_algorithms(device, &shape) : 1;
}

static const char *algorithm_name(dl_device *device, const dl_op_desc *desc, int algorithm) {
    cudnnRNNAlgo_t found;
    return find_algorithm(device, desc, algorithm, &found) ? dl_rnn_algorithm_name(found) : NULL;
}

/* The way back reads what its own algorithm has kept: that of the way there. */
static dl_status choose_algorithm(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                  cudnnRNNAlgo_t *out) {
    if (forward != NULL && forward->functions == &forward_functions) {
        *out = self_of(forward)->rnn.shape.algorithm;
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(!find_algorithm(device, desc, desc->algorithm, out), DL_ERR_INTERNAL,
                       "cuDNN has no algorithm %d for this %s", desc->algorithm,
                       dl_op_info_of(desc->kind)->name);
    return DL_OK;
}

/* cuDNN may choose other kernels for another number of samples. */
static dl_status fill(dl_device *device, const dl_op_desc *desc, const dl_op *before, rnn_op *op) {
    const bool forward = desc->kind == DL_OP_LSTM_LAYER_FORWARD;
    const int reserve = forward ? RESERVE : BACK_RESERVE;
    dl_rnn_shape shape = shape_of(device, desc);
    DL_RETURN_IF_ERROR(choose_algorithm(device, desc, before, &shape.algorithm));
    dl_cuda_op_init(&op->base, device, desc, forward ? &forward_functions : &backward_functions, "rnn");
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "cudnn_rnn:%s",
                   dl_rnn_algorithm_name(shape.algorithm));
    op->base.batch_invariant = false;
    op->base.rounds_sums = !forward && shape.dtype != DL_F32; /* a weight space has one type */
    DL_RETURN_IF_ERROR(dl_rnn_create(device, &shape, &op->rnn));
    op->weights_in_reserve = dl_round_up(op->rnn.reserve_bytes, DL_WORKSPACE_ALIGN);
    if (shape.training) {
        DL_RETURN_IF_ERROR(dl_cuda_layout_of(DL_CUDA_RESERVE, op->weights_in_reserve + op->rnn.weights_bytes,
                                             &op->base.layout[reserve]));
        op->base.desc.slot[reserve].layout = op->base.layout[reserve];
        DL_RETURN_ERROR_IF(!forward && desc->slot[reserve].layout != op->base.layout[reserve],
                           DL_ERR_INTERNAL, "%s: the reserve space is not what cuDNN wants",
                           dl_op_info_of(desc->kind)->name);
    }
    take(op, op->rnn.work_bytes, &op->work_at);
    (forward ? lay_out_forward : lay_out_backward)(op);
    return DL_OK;
}

static dl_status prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    rnn_op *op = NULL;
    if (dl_op_samples(desc) == 0) {
        return dl_cuda_prepare_empty(device, desc, out);
    }
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    const dl_status status = fill(device, desc, forward, op);
    if (status != DL_OK) {
        destroy(&op->base);
        return status;
    }
    *out = &op->base;
    return DL_OK;
}

/* Sequences and weights in one type; the rest in float32. */
static bool takes(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_lstm_layer_sizes sizes = dl_lstm_layer_sizes_of(desc);
    const dl_dtype dtype = desc->slot[X].dtype;
    for (int i = 0; i < info->n_slots; i++) {
        if (desc->slot[i].present && desc->slot[i].dtype != (info->slots[i].half ? dtype : DL_F32)) {
            return false;
        }
    }
    return dl_rnn_takes(&sizes, dtype);
}

#define DL_RNN_KIND(name)                                                                                    \
    {                                                                                                        \
        .kind = (name), .takes = takes, .prepare = prepare, .n_algorithms = n_algorithms,                    \
        .algorithm_name = algorithm_name                                                                     \
    }

const dl_cuda_kind dl_cuda_kinds_rnn[] = {
    DL_RNN_KIND(DL_OP_LSTM_LAYER_FORWARD),
    DL_RNN_KIND(DL_OP_LSTM_LAYER_BACKWARD),
    {.run = NULL},
};
