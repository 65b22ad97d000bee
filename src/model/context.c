/* What the output at a position of a sequence depends on. */
#include "model/model.h"

/* Does an operation treat every position by itself? Only values whose first dimension counts positions come
 * here: a model with views (flatten, reshape) is judged before. Batch normalization does in evaluation, where
 * its statistics are moving averages. */
static bool is_local(dl_op_kind kind) {
    switch (kind) {
    case DL_OP_BATCH_NORM_MOVING:
    case DL_OP_BATCH_NORM_FORWARD:
    case DL_OP_EMBEDDING_FORWARD:
    case DL_OP_DENSE_FORWARD:
    case DL_OP_ACTIVATION_FORWARD:
    case DL_OP_SOFTMAX_FORWARD:
    case DL_OP_DROPOUT_FORWARD:
    case DL_OP_ADD:
    case DL_OP_CONCATENATE_FORWARD:
        return true;
    default:
        return false;
    }
}

static bool has_views(const dl_model *model) {
    for (int v = 0; v < model->n_values; v++) {
        if (model->value[v].kind == DL_VALUE_VIEW) {
            return true;
        }
    }
    return false;
}

dl_context dl_model_context(const dl_model *model) {
    enum { LSTM_STATE = 2 }; /* slot h0 of lstm_forward */
    dl_context context = DL_CONTEXT_CARRIED;
    if (model->value[model->output.value].shape.n_dims < 2 || has_views(model)) {
        return DL_CONTEXT_WINDOW;
    }
    for (int i = 0; i < model->n_ops; i++) {
        const dl_model_op *op = &model->op[i];
        const bool of_layer = op->layer >= 0; /* losses and metrics belong to none */
        if (!of_layer || op->when == DL_WHEN_TRAINING || is_local(op->kind)) {
            continue;
        }
        if (op->kind != DL_OP_LSTM_FORWARD) {
            return DL_CONTEXT_WINDOW;
        }
        if (op->slot[LSTM_STATE] < 0) {
            context = DL_CONTEXT_BEFORE;
        }
    }
    return context;
}
