/* Fusion of an LSTM's product with its inputs and its recurrence, and of their gradients, for devices whose
 * library computes the whole layer in one call. Not where sums run in pieces: the layer's gradients are one
 * sum over all samples. */
#include "program/compile.h"

enum { DENSE_X = 0, DENSE_W = 1, DENSE_B = 2, DENSE_Y = 3 };
enum { DATA_DY = 0, DATA_DX = 2, WEIGHTS_DY = 1, WEIGHTS_DW = 2, WEIGHTS_DB = 3 };
enum { LSTM_Z, LSTM_W, LSTM_H0, LSTM_C0, LSTM_Y, LSTM_HN, LSTM_CN, LSTM_GATES, LSTM_CELLS };
enum { BACK_GATES = 0, BACK_DY = 4, BACK_DZ = 5, RECURRENT_DZ = 2, RECURRENT_DW = 3 };
enum { LAYER_RESERVE = 9 };

/* What becomes one instruction forwards and one backwards. */
typedef struct lstm_layer {
    dl_instruction *product, *lstm; /* z and the recurrence over it */
    dl_instruction *back;           /* the recurrence's way back; NULL: nothing below or in here is trained */
    dl_instruction *data, *weights, *recurrent; /* from dz: dx; dw_ih and db; dw_hh. NULL where not wanted */
} lstm_layer;

/* False when somebody else uses what lies between the parts (an exchange over the tensor axis, say). */
static bool find_backward(dl_program *program, lstm_layer *l) {
    const int gates = l->lstm->slot[LSTM_GATES], cells = l->lstm->slot[LSTM_CELLS];
    l->back = dl_fuse_user(program, DL_OP_LSTM_BACKWARD_DATA, BACK_GATES, gates);
    const int n_users = l->back != NULL ? 2 : 1;
    if (dl_fuse_count_uses(program, cells) != n_users ||
        (gates >= 0 && dl_fuse_count_uses(program, gates) != n_users)) {
        return false;
    }
    if (l->back == NULL) {
        return true;
    }
    const int dz = l->back->slot[BACK_DZ];
    l->data = dl_fuse_user(program, DL_OP_DENSE_BACKWARD_DATA, DATA_DY, dz);
    l->weights = dl_fuse_user(program, DL_OP_DENSE_BACKWARD_WEIGHTS, WEIGHTS_DY, dz);
    l->recurrent = dl_fuse_user(program, DL_OP_LSTM_BACKWARD_WEIGHTS, RECURRENT_DZ, dz);
    const int n_readers = (l->data != NULL) + (l->weights != NULL) + (l->recurrent != NULL);
    return (l->weights != NULL) == (l->recurrent != NULL) && dl_fuse_count_uses(program, dz) == 1 + n_readers;
}

static bool find_layer(dl_program *program, dl_instruction *lstm, lstm_layer *out) {
    const int z = lstm->slot[LSTM_Z];
    *out = (lstm_layer){.lstm = lstm, .product = dl_fuse_user(program, DL_OP_DENSE_FORWARD, DENSE_Y, z)};
    return out->product != NULL && out->product->attr.activation == DL_ACT_NONE &&
           out->product->slot[DENSE_B] >= 0 && dl_fuse_count_uses(program, z) == 2 &&
           find_backward(program, out);
}

static dl_instruction fused_forward(const lstm_layer *l) {
    dl_instruction fused = *l->lstm;
    const int *lstm = l->lstm->slot, *product = l->product->slot;
    const int slots[] = {product[DENSE_X], product[DENSE_W], lstm[LSTM_W],  product[DENSE_B], lstm[LSTM_H0],
                         lstm[LSTM_C0],    lstm[LSTM_Y],     lstm[LSTM_HN], lstm[LSTM_CN],    -1};
    dl_fuse_set_slots(&fused, DL_OP_LSTM_LAYER_FORWARD, slots, 10);
    return fused;
}

static int slot_of(const dl_instruction *instruction, int i) {
    return instruction != NULL ? instruction->slot[i] : -1;
}

/* It takes the place of the recurrence's way back, where all that it reads is there. */
static dl_instruction fused_backward(const lstm_layer *l, int reserve) {
    dl_instruction fused = *l->back;
    const int *lstm = l->lstm->slot, *product = l->product->slot;
    const int slots[] = {product[DENSE_X],
                         product[DENSE_W],
                         lstm[LSTM_W],
                         lstm[LSTM_H0],
                         lstm[LSTM_C0],
                         lstm[LSTM_Y],
                         l->back->slot[BACK_DY],
                         reserve,
                         slot_of(l->data, DATA_DX),
                         slot_of(l->weights, WEIGHTS_DW),
                         slot_of(l->recurrent, RECURRENT_DW),
                         slot_of(l->weights, WEIGHTS_DB)};
    dl_fuse_set_slots(&fused, DL_OP_LSTM_LAYER_BACKWARD, slots, 12);
    return fused;
}

/* Room for what is kept for the way back: five numbers for each unit (kernels/ops/lstm_layer_info.c), or
 * what the device wants when it is asked. */
static dl_status add_reserve(dl_compile *c, const lstm_layer *l, int *slot) {
    dl_shape shape = c->program->slot[l->lstm->slot[LSTM_Y]].tensor.shape;
    shape.dim[2] *= 5;
    return dl_add_slot(c->program, "reserve", l->lstm->layer, l->lstm->micro, DL_STORE_ACTIVATION, DL_F32,
                       &shape, slot);
}

static void replace(const lstm_layer *l, const dl_instruction *forward, const dl_instruction *backward) {
    dl_instruction *const parts[] = {l->product, l->data, l->weights, l->recurrent};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i] != NULL) {
            parts[i]->type = DL_DO_NOTHING;
        }
    }
    *l->lstm = *forward;
    if (l->back != NULL) {
        *l->back = *backward;
    }
}

dl_status dl_fuse_lstm(dl_compile *c, dl_instruction *lstm) {
    lstm_layer layer;
    if (c->plan->options.reproducible || !find_layer(c->program, lstm, &layer)) {
        return DL_OK;
    }
    dl_instruction forward = fused_forward(&layer), backward = forward;
    if (!dl_fuse_device_itself_takes(c, &forward)) {
        return DL_OK;
    }
    if (layer.back != NULL) {
        DL_RETURN_IF_ERROR(add_reserve(c, &layer, &forward.slot[LAYER_RESERVE]));
        backward = fused_backward(&layer, forward.slot[LAYER_RESERVE]);
    }
    if (layer.back == NULL ||
        (dl_fuse_device_itself_takes(c, &forward) && dl_fuse_device_itself_takes(c, &backward))) {
        replace(&layer, &forward, &backward);
    }
    return DL_OK;
}
