/* Activations, softmax, dropout. */
#include "conformance.h"

#include "base/rng.h"
#include "kernels/common/blocks.h"

static void activation(dlc_list *list, dl_activation which, const char *name, int flags, dlc_fill fill,
                       dl_shape shape) {
    dlc_case *test = dlc_add(list, DL_OP_ACTIVATION_FORWARD, name, flags, fill);
    test->desc.attr.activation = which;
    dlc_slot(test, "x", DL_F32, shape);
    dlc_slot(test, "y", DL_F32, shape);
}

static void softmax(dlc_list *list, const char *name, int flags, dlc_fill fill, dl_shape rows) {
    dlc_case *test = dlc_add(list, DL_OP_SOFTMAX_FORWARD, name, flags, fill);
    dlc_slot(test, "x", DL_F32, rows);
    dlc_slot(test, "y", DL_F32, rows);
}

static void dropout(dlc_list *list, const char *name, int flags, double rate, bool training, dl_shape shape) {
    dlc_case *test = dlc_add(list, DL_OP_DROPOUT_FORWARD, name, flags, DLC_UNIFORM);
    test->desc.attr.training = training;
    test->desc.attr.u.dropout = (dl_dropout_attr){.rate = rate, .seed = 5, .purpose = DL_RNG_DROPOUT + 2};
    dlc_slot(test, "x", DL_F32, shape);
    dlc_slot(test, "ids", DL_I64, DL_SHAPE(shape.dim[0]));
    dlc_slot(test, "step", DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
    dlc_slot(test, "y", DL_F32, shape);
}

void dlc_cases_activation(dlc_list *list) {
    activation(list, DL_ACT_RELU, "relu", DLC_ROWS, DLC_AWAY, DL_SHAPE(5, 6, 7, 8));
    activation(list, DL_ACT_RELU, "relu of ties and negatives", DLC_KINKS, DLC_TIES, DL_SHAPE(3, 37));
    activation(list, DL_ACT_TANH, "tanh", DLC_ROWS, DLC_UNIFORM, DL_SHAPE(4, 3, 5, 16));
    activation(list, DL_ACT_TANH, "tanh far out", DLC_KINKS, DLC_LARGE, DL_SHAPE(7, 100));
    activation(list, DL_ACT_SIGMOID, "sigmoid", DLC_ROWS, DLC_UNIFORM, DL_SHAPE(61, 13));
    activation(list, DL_ACT_SIGMOID, "sigmoid far out", DLC_KINKS, DLC_LARGE, DL_SHAPE(7, 100));
    activation(list, DL_ACT_TANH, "tanh of one element", 0, DLC_UNIFORM, DL_SHAPE(1, 1));
    activation(list, DL_ACT_RELU, "relu, NaN goes through", DLC_KINKS, DLC_NAN_LAST, DL_SHAPE(2, 19));
    softmax(list, "10 classes", DLC_ROWS, DLC_UNIFORM, DL_SHAPE(9, 10));
    softmax(list, "large values", DLC_KINKS, DLC_LARGE, DL_SHAPE(7, 37));
    softmax(list, "one class", 0, DLC_UNIFORM, DL_SHAPE(3, 1));
    softmax(list, "1000 classes, one sample", 0, DLC_UNIFORM, DL_SHAPE(1, 1000));
    softmax(list, "several rows a sample", DLC_ROWS, DLC_UNIFORM, DL_SHAPE(5, 3, 2, 7));
    dropout(list, "half", DLC_ROWS, 0.5, true, DL_SHAPE(6, 5, 5, 3));
    dropout(list, "a tenth, 61 samples", 0, 0.1, true, DL_SHAPE(61, 17));
    dropout(list, "rate 0", 0, 0, true, DL_SHAPE(2, 9));
    dropout(list, "one element", 0, 0.3, true, DL_SHAPE(5, 1));
    dropout(list, "evaluation", 0, 0.5, false, DL_SHAPE(4, 21));
}
