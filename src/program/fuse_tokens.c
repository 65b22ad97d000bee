/* Fusion of an embedding with the dense layer that alone reads its rows (the projection of an LSTM's inputs):
 * the layer is then computed once for each distinct token instead of once for each position, and so are its
 * gradients. The same sums by linearity. */
#include "program/compile.h"

enum { EMBED_X = 0, EMBED_W = 1, EMBED_Y = 2, EMBED_BACK_DY = 1, EMBED_BACK_DW = 2 };
enum { DENSE_X = 0, DENSE_W = 1, DENSE_B = 2, DENSE_Y = 3 };
enum { DATA_DX = 2, WEIGHTS_X = 0, WEIGHTS_DY = 1, WEIGHTS_DW = 2, WEIGHTS_DB = 3 };

/* Fewer tokens in a step's batch of all ranks have not enough in common to pay for finding it. */
enum { LEAST_TOKENS = 256 };

/* What becomes one instruction forwards and one backwards; the last three are NULL where nothing is trained.
 */
typedef struct token_layer {
    dl_instruction *embedding, *dense, *weights, *data, *table;
} token_layer;

/* By the global batch: where sums run in pieces, every number of ranks must come to the same program. */
static bool has_enough_tokens(const dl_compile *c, int x) {
    const int64_t each = dl_shape_stride(&c->program->slot[x].tensor.shape, 1);
    return c->program->global_samples * each >= LEAST_TOKENS;
}

/* False when somebody else uses the embedded rows or their gradient (an exchange over the tensor axis too),
 * or when only one of the two layers is trained. */
static bool find_layer(dl_program *program, dl_instruction *dense, token_layer *out) {
    const int rows = dense->slot[DENSE_X];
    *out = (token_layer){.dense = dense,
                         .embedding = dl_fuse_user(program, DL_OP_EMBEDDING_FORWARD, EMBED_Y, rows),
                         .weights = dl_fuse_user(program, DL_OP_DENSE_BACKWARD_WEIGHTS, WEIGHTS_X, rows)};
    if (dense->kind != DL_OP_DENSE_FORWARD || dense->attr.activation != DL_ACT_NONE ||
        out->embedding == NULL) {
        return false;
    }
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *back = &program->instruction[i];
        if (back->type == DL_DO_OPERATION && back->kind == DL_OP_DENSE_BACKWARD_DATA &&
            back->forward == dense - program->instruction) {
            out->data = back;
        }
    }
    if (out->weights == NULL || out->data == NULL) {
        return out->weights == NULL && out->data == NULL && dl_fuse_count_uses(program, rows) == 2;
    }
    const int gradient = out->data->slot[DATA_DX];
    out->table = dl_fuse_user(program, DL_OP_EMBEDDING_BACKWARD_WEIGHTS, EMBED_BACK_DY, gradient);
    return out->table != NULL && dl_fuse_count_uses(program, rows) == 3 &&
           dl_fuse_count_uses(program, gradient) == 2;
}

static dl_instruction fused_forward(const token_layer *l) {
    dl_instruction fused = *l->dense;
    const int slots[] = {l->embedding->slot[EMBED_X], l->embedding->slot[EMBED_W], l->dense->slot[DENSE_W],
                         l->dense->slot[DENSE_B], l->dense->slot[DENSE_Y]};
    dl_fuse_set_slots(&fused, DL_OP_EMBEDDING_DENSE_FORWARD, slots, 5);
    return fused;
}

static dl_instruction fused_backward(const token_layer *l) {
    dl_instruction fused = *l->weights;
    const int slots[] = {l->embedding->slot[EMBED_X],   l->embedding->slot[EMBED_W],
                         l->dense->slot[DENSE_W],       l->weights->slot[WEIGHTS_DY],
                         l->table->slot[EMBED_BACK_DW], l->weights->slot[WEIGHTS_DW],
                         l->weights->slot[WEIGHTS_DB]};
    dl_fuse_set_slots(&fused, DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS, slots, 7);
    return fused;
}

void dl_fuse_tokens(dl_compile *c, dl_instruction *dense) {
    token_layer layer;
    if (c->plan->options.as_gpu || !find_layer(c->program, dense, &layer) ||
        !has_enough_tokens(c, layer.embedding->slot[EMBED_X])) {
        return;
    }
    const dl_instruction forward = fused_forward(&layer);
    const bool trains = layer.weights != NULL;
    const dl_instruction backward = trains ? fused_backward(&layer) : forward;
    if (!dl_fuse_device_itself_takes(c, &forward) || !dl_fuse_device_itself_takes(c, &backward)) {
        return;
    }
    *layer.dense = forward;
    layer.embedding->type = DL_DO_NOTHING;
    if (trains) {
        *layer.weights = backward;
        layer.data->type = layer.table->type = DL_DO_NOTHING;
    }
}
