#include "conformance.h"

static const struct row {
    const char *name;
    int64_t n, inputs, outputs;
    bool bias;
    dl_activation activation;
    int flags;
} rows[] = {
    {"576 to 64 relu", 16, 576, 64, true, DL_ACT_RELU, DLC_ROWS},
    {"64 to 10", 8, 64, 10, true, DL_ACT_NONE, DLC_ROWS},
    {"primes", 7, 31, 13, true, DL_ACT_TANH, DLC_ROWS},
    {"one sample", 1, 40, 30, true, DL_ACT_NONE, 0},
    {"one input", 5, 1, 9, true, DL_ACT_NONE, 0},
    {"one output", 5, 17, 1, false, DL_ACT_NONE, 0},
    {"one by one", 1, 1, 1, true, DL_ACT_SIGMOID, 0},
    {"no bias", 13, 19, 23, false, DL_ACT_NONE, 0},
    {"61 samples", 61, 100, 50, true, DL_ACT_RELU, 0},
    {"last panel of 3", 9, 67, 35, true, DL_ACT_NONE, DLC_ROWS},
    {"several blocks of each", 163, 170, 833, true, DL_ACT_NONE, 0},
    {"several blocks, whole vectors", 165, 176, 320, false, DL_ACT_NONE, DLC_ROWS},
};

/* A row for each position: x [n, ..., inputs]. */
static void sequences(dlc_list *list, const char *name, int flags, dl_shape x, int64_t outputs,
                      dl_activation activation) {
    dlc_case *test = dlc_add(list, DL_OP_DENSE_FORWARD, name, flags, DLC_UNIFORM);
    dl_shape y = x;
    y.dim[y.n_dims - 1] = outputs;
    test->desc.attr.activation = activation;
    dlc_slot(test, "x", DL_F32, x);
    dlc_slot(test, "w", DL_F32, DL_SHAPE(outputs, x.dim[x.n_dims - 1]));
    dlc_slot(test, "b", DL_F32, DL_SHAPE(outputs));
    dlc_slot(test, "y", DL_F32, y);
}

void dlc_cases_dense(dlc_list *list) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *g = &rows[i];
        dlc_case *test = dlc_add(list, DL_OP_DENSE_FORWARD, g->name, g->flags, DLC_UNIFORM);
        test->desc.attr.activation = g->activation;
        dlc_slot(test, "x", DL_F32, DL_SHAPE(g->n, g->inputs));
        dlc_slot(test, "w", DL_F32, DL_SHAPE(g->outputs, g->inputs));
        if (g->bias) {
            dlc_slot(test, "b", DL_F32, DL_SHAPE(g->outputs));
        }
        dlc_slot(test, "y", DL_F32, DL_SHAPE(g->n, g->outputs));
    }
    sequences(list, "5 positions, relu", DLC_ROWS, DL_SHAPE(6, 5, 24), 40, DL_ACT_RELU);
    sequences(list, "one position", 0, DL_SHAPE(3, 1, 7), 5, DL_ACT_NONE);
    sequences(list, "3 by 2 positions", 0, DL_SHAPE(4, 3, 2, 11), 13, DL_ACT_NONE);
}
