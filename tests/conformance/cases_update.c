/* Optimizers and state. */
#include "conformance.h"

#include "kernels/common/blocks.h"

static void add_blocks(dlc_case *test) {
    dlc_slot(test, "step", DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
    dlc_slot(test, "totals", DL_F64, DL_SHAPE(DL_N_TOTALS));
    dlc_slot(test, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
}

/* The update with a clipped gradient and a learning rate of its own. */
static void clip(dlc_case *test) {
    dlc_slot(test, "norm", DL_F64, DL_SHAPE(DL_N_NORMS));
    test->desc.attr.rate_factor = 0.1;
}

static dlc_case *sgd(dlc_list *list, const char *name, int flags, int64_t n, dl_sgd_attr attr) {
    dlc_case *test = dlc_add(list, DL_OP_SGD_UPDATE, name, flags, DLC_UNIFORM);
    test->desc.attr.u.sgd = attr;
    dlc_slot(test, "w", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "g", DL_F32, DL_SHAPE(n));
    if (attr.momentum != 0) {
        dlc_slot(test, "v", DL_F32, DL_SHAPE(n));
    }
    add_blocks(test);
    return test;
}

static dlc_case *adam(dlc_list *list, const char *name, int flags, int64_t n, dl_adam_attr attr) {
    dlc_case *test = dlc_add(list, DL_OP_ADAM_UPDATE, name, flags, DLC_UNIFORM);
    test->desc.attr.u.adam = attr;
    dlc_slot(test, "w", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "g", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "m", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "v", DL_F32, DL_SHAPE(n));
    add_blocks(test);
    return test;
}

static dlc_case *rmsprop(dlc_list *list, const char *name, int flags, int64_t n, dl_rmsprop_attr attr) {
    dlc_case *test = dlc_add(list, DL_OP_RMSPROP_UPDATE, name, flags, DLC_UNIFORM);
    test->desc.attr.u.rmsprop = attr;
    dlc_slot(test, "w", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "g", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "s", DL_F32, DL_SHAPE(n));
    if (attr.centered) {
        dlc_slot(test, "m", DL_F32, DL_SHAPE(n));
    }
    if (attr.momentum != 0) {
        dlc_slot(test, "v", DL_F32, DL_SHAPE(n));
    }
    add_blocks(test);
    return test;
}

static dlc_case *commit(dlc_list *list, const char *name, int flags, int64_t n, bool accumulate) {
    dlc_case *test = dlc_add(list, DL_OP_COMMIT, name, flags, DLC_UNIFORM);
    test->desc.attr.accumulate = accumulate;
    dlc_slot(test, "state", DL_F64, DL_SHAPE(n));
    dlc_slot(test, "value", DL_F64, DL_SHAPE(n));
    dlc_slot(test, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
    return test;
}

static void rmsprops(dlc_list *list) {
    const dl_rmsprop_attr usual = {.capacity = 16, .rho = 0.9, .epsilon = 1e-7};
    dl_rmsprop_attr heavy = usual, centered = usual;
    heavy.momentum = 0.9;
    heavy.weight_decay = 1e-2;
    centered.centered = true;
    rmsprop(list, "usual", 0, 1003, usual);
    rmsprop(list, "momentum and decay", 0, 517, heavy);
    rmsprop(list, "centered", 0, 66, centered);
    heavy.centered = true;
    clip(rmsprop(list, "centered, momentum, clipped", 0, 33, heavy));
    rmsprop(list, "one element", 0, 1, usual);
    rmsprop(list, "nothing", 0, 0, usual);
    rmsprop(list, "forbidden", DLC_FORBIDDEN, 67, heavy);
}

static dlc_case *average(dlc_list *list, const char *name, int flags, int64_t n, double decay) {
    dlc_case *test = dlc_add(list, DL_OP_COMMIT, name, flags, DLC_UNIFORM);
    test->desc.attr.u.commit.decay = decay;
    dlc_slot(test, "state", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "value", DL_F32, DL_SHAPE(n));
    dlc_slot(test, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
    dlc_slot(test, "step", DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
    return test;
}

static void begin_control(dlc_list *list, const char *name, int flags) {
    dlc_case *test = dlc_add(list, DL_OP_BEGIN_CONTROL, name, flags, DLC_UNIFORM);
    dlc_slot(test, "step", DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
    dlc_slot(test, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
}

static void loss_scales(dlc_list *list) {
    dlc_case *weight = dlc_add(list, DL_OP_SCALE_WEIGHT, "totals", 0, DLC_PROBABILITY);
    dlc_slot(weight, "totals", DL_F64, DL_SHAPE(DL_N_TOTALS));
    dlc_slot(weight, "scale", DL_F64, DL_SHAPE(DL_N_SCALES));
    dlc_slot(weight, "scaled", DL_F64, DL_SHAPE(DL_N_TOTALS));
    for (int forbidden = 0; forbidden < 2; forbidden++) {
        dlc_case *next = dlc_add(list, DL_OP_COMMIT_LOSS_SCALE, forbidden ? "forbidden" : "a good step",
                                 forbidden ? DLC_FORBIDDEN : 0, DLC_PROBABILITY);
        dlc_slot(next, "scale", DL_F64, DL_SHAPE(DL_N_SCALES));
        dlc_slot(next, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
    }
}

void dlc_cases_update(dlc_list *list) {
    begin_control(list, "after a good step", 0);
    begin_control(list, "after one that failed", DLC_FAILED);
    loss_scales(list);
    const dl_sgd_attr plain = {.capacity = 16}, heavy = {16, 0.9, 1e-2, false},
                      nesterov = {16, 0.9, 1e-2, true};
    const dl_adam_attr usual = {16, 0.9, 0.999, 1e-7, 0}, decay = {16, 0.8, 0.99, 1e-3, 1e-2};
    sgd(list, "plain", 0, 1003, plain);
    sgd(list, "momentum and decay", 0, 517, heavy);
    sgd(list, "nesterov", 0, 33, nesterov);
    clip(sgd(list, "clipped", 0, 129, plain));
    clip(sgd(list, "clipped, nesterov", 0, 65, nesterov));
    sgd(list, "one element", 0, 1, nesterov);
    sgd(list, "nothing", 0, 0, plain);
    sgd(list, "forbidden", DLC_FORBIDDEN, 67, heavy);
    adam(list, "usual", 0, 1003, usual);
    adam(list, "decay", 0, 65, decay);
    clip(adam(list, "clipped", 0, 130, decay));
    adam(list, "one element", 0, 1, usual);
    adam(list, "nothing", 0, 0, usual);
    adam(list, "forbidden", DLC_FORBIDDEN, 67, usual);
    rmsprops(list);
    commit(list, "written", 0, 5, false);
    commit(list, "added", 0, 1, true);
    commit(list, "forbidden", DLC_FORBIDDEN, 5, false);
    (void)average(list, "moving mean", 0, 1003, 0.99);
    (void)average(list, "moving mean of nothing", 0, 0, 0.5);
    (void)average(list, "moving mean, forbidden", DLC_FORBIDDEN, 67, 0.9);
    dlc_case *floats = commit(list, "floats", 0, 5, false);
    dlc_slot(floats, "state", DL_F32, DL_SHAPE(5));
    dlc_slot(floats, "value", DL_F32, DL_SHAPE(5));
}
