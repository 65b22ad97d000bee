#include "conformance.h"

#include "kernels/common/blocks.h"

static const struct row {
    const char *name;
    dl_shape x;
    int64_t group;
    int flags;
} rows[] = {
    {"images", {4, {6, 5, 7, 16}}, 0, DLC_ROWS},
    {"odd channels", {4, {3, 4, 4, 19}}, 0, DLC_ROWS},
    {"one channel", {4, {4, 3, 3, 1}}, 0, 0},
    {"48 channels, 100 cells", {4, {2, 10, 10, 48}}, 0, 0},
    {"vectors", {2, {61, 10}}, 0, 0},
    {"sequences", {3, {4, 9, 32}}, 0, 0},
    {"one sample", {4, {1, 8, 8, 16}}, 0, 0},
    {"groups of 2", {4, {6, 4, 4, 16}}, 2, 0},
    {"groups of 4, the last of 3", {4, {11, 3, 5, 24}}, 4, 0},
};

/* More rows than a GPU sums by one row of blocks. */
static const struct row many_rows = {"many rows, groups of 2", {4, {3, 72, 60, 8}}, 2, 0};

static dlc_case *add(dlc_list *list, dl_op_kind kind, const struct row *g, int flags) {
    dlc_case *test = dlc_add(list, kind, g->name, flags | DLC_KINKS, DLC_UNIFORM);
    test->desc.attr.u.norm = (dl_norm_attr){.group = g->group, .epsilon = 1e-3, .momentum = 0.9};
    return test;
}

static void forward(dlc_list *list, const struct row *g, bool residual, dl_activation activation) {
    const int64_t n = g->x.dim[0], channels = g->x.dim[g->x.n_dims - 1];
    const int64_t groups = g->group > 0 ? (n + g->group - 1) / g->group : 1;
    const bool plain = !residual && activation == DL_ACT_NONE;
    dlc_case *test = add(list, DL_OP_BATCH_NORM_FORWARD, g, plain ? g->flags : g->flags | DLC_FORWARD_ONLY);
    test->desc.attr.activation = activation;
    dlc_slot(test, "x", DL_F32, g->x);
    dlc_slot(test, "stat", DL_F32, DL_SHAPE(groups, 5, channels));
    if (residual) {
        dlc_slot(test, "residual", DL_F32, g->x);
    }
    dlc_slot(test, "y", DL_F32, g->x);
}

static void sums(dlc_list *list, const struct row *g, int64_t n) {
    const int64_t channels = g->x.dim[g->x.n_dims - 1];
    dlc_case *test = add(list, DL_OP_BATCH_NORM_SUMS, g, 0);
    dl_shape x = g->x;
    x.dim[0] = n;
    dlc_slot(test, "x", DL_F32, x);
    dlc_slot(test, "sums", DL_F64,
             DL_SHAPE(g->group > 0 ? (n + g->group - 1) / g->group : 1, 2 * channels + 1));
}

static void small(dlc_list *list, const struct row *g, int64_t groups) {
    const int64_t channels = g->x.dim[g->x.n_dims - 1];
    const dl_shape all_sums = DL_SHAPE(groups, 2 * channels + 1), vector = DL_SHAPE(channels);
    dlc_case *test = add(list, DL_OP_BATCH_NORM_STATISTICS, g, 0);
    dlc_slot(test, "sums", DL_F64, all_sums);
    dlc_slot(test, "gamma", DL_F32, vector);
    dlc_slot(test, "beta", DL_F32, vector);
    dlc_slot(test, "stat", DL_F32, DL_SHAPE(groups, 5, channels));
    test = add(list, DL_OP_BATCH_NORM_MOMENTS, g, 0);
    dlc_slot(test, "sums", DL_F64, all_sums);
    dlc_slot(test, "moments", DL_F64, DL_SHAPE(2 * channels + 1));
}

static void moving(dlc_list *list, int64_t channels) {
    static const struct row g = {.name = "moving"};
    dlc_case *test = add(list, DL_OP_BATCH_NORM_MOVING, &g, 0);
    test->fill = DLC_PROBABILITY; /* a variance is not negative */
    dlc_slot(test, "moving_mean", DL_F32, DL_SHAPE(channels));
    dlc_slot(test, "moving_variance", DL_F32, DL_SHAPE(channels));
    dlc_slot(test, "gamma", DL_F32, DL_SHAPE(channels));
    dlc_slot(test, "beta", DL_F32, DL_SHAPE(channels));
    dlc_slot(test, "stat", DL_F32, DL_SHAPE(1, 5, channels));
    for (int forbidden = 0; forbidden < 2; forbidden++) {
        test = add(list, DL_OP_BATCH_NORM_COMMIT, &g, forbidden ? DLC_FORBIDDEN : 0);
        dlc_slot(test, "moments", DL_F64, DL_SHAPE(2 * channels + 1));
        dlc_slot(test, "moving_mean", DL_F32, DL_SHAPE(channels));
        dlc_slot(test, "moving_variance", DL_F32, DL_SHAPE(channels));
        dlc_slot(test, "control", DL_I32, DL_SHAPE(DL_N_CONTROLS));
    }
}

void dlc_cases_batch_norm(dlc_list *list) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int64_t n = rows[i].x.dim[0];
        forward(list, &rows[i], false, DL_ACT_NONE);
        forward(list, &rows[i], true, DL_ACT_NONE);
        forward(list, &rows[i], false, DL_ACT_RELU);
        forward(list, &rows[i], true, DL_ACT_RELU);
        sums(list, &rows[i], n);
        small(list, &rows[i], rows[i].group > 0 ? (n + rows[i].group - 1) / rows[i].group : 1);
    }
    sums(list, &rows[0], 0);
    sums(list, &many_rows, many_rows.x.dim[0]);
    moving(list, 19);
    moving(list, 1);
}
