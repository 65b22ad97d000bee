/* The kinds that are fused here, one behind the other: on ref a program has the same bits with and without
 * the fusion. */
#include "kernels/ops/sizes.h"
#include "kernels/ref/ref.h"

enum { X, W_IH, W_HH, B, H0, C0, Y, HN, CN, RESERVE, FORWARD_WORKSPACE };
enum { BACK_X, BACK_W_IH, BACK_W_HH, BACK_H0, BACK_C0, BACK_Y, BACK_DY, BACK_RESERVE };
enum { DX = BACK_RESERVE + 1, DW_IH, DW_HH, DB, BACKWARD_WORKSPACE };

static dl_tensor_desc tensor(bool present, dl_shape shape) {
    return (dl_tensor_desc){.present = present, .dtype = DL_F32, .shape = shape};
}

/* The tensors that the parts have between and around them. */
typedef struct tensors {
    dl_tensor_desc x, z, y, w_ih, w_hh, b;
} tensors;

static tensors tensors_of(const dl_lstm_layer_sizes *s) {
    return (tensors){.x = tensor(true, DL_SHAPE(s->n, s->t, s->inputs)),
                     .z = tensor(true, DL_SHAPE(s->n, s->t, 4 * s->h)),
                     .y = tensor(true, DL_SHAPE(s->n, s->t, s->h)),
                     .w_ih = tensor(true, DL_SHAPE(4 * s->h, s->inputs)),
                     .w_hh = tensor(true, DL_SHAPE(4 * s->h, s->h)),
                     .b = tensor(true, DL_SHAPE(4 * s->h))};
}

/* What lies N floats behind P: nothing, where there is nothing (no samples, so no workspace). */
static float *behind(float *p, int64_t n) {
    return p != NULL ? p + n : NULL;
}

void dl_lstm_layer_forward_ref(const dl_op *op, void *const *slots) {
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(&op->desc);
    const tensors t = tensors_of(&s);
    float *gates = slots[slots[RESERVE] != NULL ? RESERVE : FORWARD_WORKSPACE];
    float *cells = behind(gates, s.n * s.t * 4 * s.h);
    const dl_op dense = {.desc = {.kind = DL_OP_DENSE_FORWARD, .slot = {t.x, t.w_ih, t.b, t.z}}};
    const dl_op lstm = {.desc = {.kind = DL_OP_LSTM_FORWARD, .slot = {[0] = t.z, [1] = t.w_hh, [4] = t.y}}};
    void *const product[] = {slots[X], slots[W_IH], slots[B], gates};
    void *const recurrence[] = {gates,     slots[W_HH], slots[H0], slots[C0], slots[Y],
                                slots[HN], slots[CN],   gates,     cells};
    dl_dense_forward_ref(&dense, product);
    dl_lstm_forward_ref(&lstm, recurrence);
}

static void weights_gradients(const tensors *t, void *const *slots, float *dz) {
    const dl_op lstm = {
        .desc = {.kind = DL_OP_LSTM_BACKWARD_WEIGHTS, .slot = {[0] = t->y, [2] = t->z, [3] = t->w_hh}}};
    const dl_op dense = {.desc = {.kind = DL_OP_DENSE_BACKWARD_WEIGHTS, .slot = {t->x, t->z, t->w_ih, t->b}}};
    void *const recurrent[] = {slots[BACK_Y], slots[BACK_H0], dz, slots[DW_HH]};
    void *const inputs[] = {slots[BACK_X], dz, slots[DW_IH], slots[DB]};
    dl_lstm_backward_weights_ref(&lstm, recurrent);
    dl_dense_backward_weights_ref(&dense, inputs);
}

void dl_lstm_layer_backward_ref(const dl_op *op, void *const *slots) {
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(&op->desc);
    const tensors t = tensors_of(&s);
    float *gates = slots[BACK_RESERVE], *cells = behind(gates, s.n * s.t * 4 * s.h);
    float *dz = slots[BACKWARD_WORKSPACE], *dc = behind(dz, s.n * s.t * 4 * s.h);
    const dl_op lstm = {
        .desc = {.kind = DL_OP_LSTM_BACKWARD_DATA, .slot = {[2] = t.w_hh, [4] = t.y, [5] = t.z}}};
    const dl_op dense = {.desc = {.kind = DL_OP_DENSE_BACKWARD_DATA, .slot = {t.z, t.w_ih, t.x}}};
    void *const recurrence[] = {gates, cells, slots[BACK_W_HH], slots[BACK_C0], slots[BACK_DY], dz, dc};
    dl_lstm_backward_data_ref(&lstm, recurrence);
    if (slots[DX] != NULL) {
        void *const product[] = {dz, slots[BACK_W_IH], slots[DX]};
        dl_dense_backward_data_ref(&dense, product);
    }
    if (slots[DB] != NULL) {
        weights_gradients(&t, slots, dz);
    }
}

/* Forward: gates and cells that nobody keeps; backward: dz, and the cells' gradient of one position. */
size_t dl_lstm_layer_ref_workspace(const dl_op_desc *desc) {
    const dl_lstm_layer_sizes s = dl_lstm_layer_sizes_of(desc);
    const bool keeps = desc->kind == DL_OP_LSTM_LAYER_FORWARD && desc->slot[RESERVE].present;
    const int64_t n_floats = desc->kind == DL_OP_LSTM_LAYER_BACKWARD ? s.n * s.t * 4 * s.h + s.h
                             : keeps                                 ? 0
                                                                     : s.n * s.t * 5 * s.h;
    return (size_t)n_floats * sizeof(float);
}
