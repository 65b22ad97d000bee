#include "conformance.h"

#include "kernels/ops/sizes.h"

static const struct row {
    const char *name;
    int64_t n, h, w, c, window[2], stride[2], padding[4];
    dlc_fill fill;
    int flags;
} rows[] = {
    {"2x2", 5, 8, 8, 16, {2, 2}, {2, 2}, {0}, DLC_DISTINCT, DLC_ROWS},
    {"2x2 odd image", 3, 13, 11, 7, {2, 2}, {2, 2}, {0}, DLC_DISTINCT, 0},
    {"3x3 stride 2 overlapping", 2, 9, 9, 5, {3, 3}, {2, 2}, {1, 1, 1, 1}, DLC_DISTINCT, DLC_ROWS},
    {"same padding, odd cell last", 2, 5, 6, 3, {2, 3}, {2, 2}, {0, 1, 0, 1}, DLC_DISTINCT, 0},
    {"negative values beside padding", 2, 6, 6, 4, {3, 3}, {1, 1}, {2, 2, 2, 2}, DLC_TIES, DLC_KINKS},
    {"ties, the first wins", 3, 7, 7, 16, {3, 2}, {2, 1}, {0}, DLC_TIES, DLC_KINKS},
    {"stride above window", 2, 11, 10, 3, {2, 2}, {3, 4}, {0}, DLC_DISTINCT, 0},
    {"window is the image", 2, 5, 7, 3, {5, 7}, {1, 1}, {0}, DLC_DISTINCT, 0},
    {"window of 400 cells", 2, 21, 20, 2, {20, 20}, {1, 1}, {0}, DLC_DISTINCT, 0},
    {"one sample, one channel", 1, 4, 4, 1, {2, 2}, {2, 2}, {0}, DLC_DISTINCT, 0},
    {"1x1", 2, 3, 3, 4, {1, 1}, {1, 1}, {0}, DLC_DISTINCT, 0},
    {"61 samples", 61, 4, 4, 3, {2, 2}, {2, 2}, {0}, DLC_DISTINCT, 0},
};

static void add(dlc_list *list, dl_op_kind kind, const struct row *g, bool index, const char *name,
                int flags) {
    const int64_t p = dl_window_positions(g->h, g->window[0], g->stride[0], g->padding[0], g->padding[1]);
    const int64_t q = dl_window_positions(g->w, g->window[1], g->stride[1], g->padding[2], g->padding[3]);
    dlc_case *test = dlc_add(list, kind, name, flags, g->fill);
    dl_pool_attr *pool = &test->desc.attr.u.pool;
    for (int i = 0; i < 2; i++) {
        pool->window[i] = g->window[i];
        pool->stride[i] = g->stride[i];
    }
    for (int i = 0; i < 4; i++) {
        pool->padding[i] = g->padding[i];
    }
    dlc_slot(test, "x", DL_F32, DL_SHAPE(g->n, g->h, g->w, g->c));
    dlc_slot(test, "y", DL_F32, DL_SHAPE(g->n, p, q, g->c));
    if (index) {
        dlc_slot(test, "index", DL_U8, DL_SHAPE(g->n, p, q, g->c));
    }
}

void dlc_cases_pooling(dlc_list *list) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        add(list, DL_OP_MAX_POOLING2D_FORWARD, &rows[i], true, rows[i].name, rows[i].flags);
        add(list, DL_OP_AVERAGE_POOLING2D_FORWARD, &rows[i], false, rows[i].name, rows[i].flags & ~DLC_KINKS);
    }
    add(list, DL_OP_MAX_POOLING2D_FORWARD, &rows[0], false, "evaluation, no index", DLC_FORWARD_ONLY);
}
