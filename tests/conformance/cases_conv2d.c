#include "conformance.h"

#include "kernels/ops/sizes.h"

/* image n h w c; filters k of r x s; stride; padding top bottom left right; groups */
static const struct row {
    const char *name;
    int64_t n, h, w, c, k, r, s, stride[2], padding[4], groups;
    bool bias;
    dl_activation activation;
    int flags;
} rows[] = {
    {"3x3 16 to 24 relu", 5, 9, 9, 16, 24, 3, 3, {1, 1}, {0}, 1, true, DL_ACT_RELU, DLC_ROWS},
    {"3x3 same, blocked sizes", 4, 8, 8, 32, 32, 3, 3, {1, 1}, {1, 1, 1, 1}, 1, true, DL_ACT_NONE, DLC_ROWS},
    {"3x3 one channel", 3, 12, 12, 1, 32, 3, 3, {1, 1}, {0}, 1, true, DL_ACT_RELU, DLC_ROWS},
    {"3x3 deep", 1, 8, 8, 128, 128, 3, 3, {1, 1}, {1, 1, 1, 1}, 1, true, DL_ACT_RELU, 0},
    {"one sample", 1, 7, 7, 3, 4, 3, 3, {1, 1}, {0}, 1, true, DL_ACT_NONE, 0},
    {"one channel in and out", 2, 5, 5, 1, 1, 3, 3, {1, 1}, {0}, 1, false, DL_ACT_NONE, 0},
    {"primes", 3, 13, 11, 7, 5, 3, 5, {2, 3}, {1, 2, 3, 1}, 1, true, DL_ACT_NONE, 0},
    {"stride above kernel", 2, 11, 10, 3, 8, 2, 1, {3, 4}, {0}, 1, true, DL_ACT_NONE, 0},
    {"1x1", 2, 6, 5, 17, 19, 1, 1, {1, 1}, {0}, 1, true, DL_ACT_TANH, 0},
    {"1x1, blocked sizes", 3, 7, 5, 32, 48, 1, 1, {1, 1}, {0}, 1, false, DL_ACT_NONE, DLC_ROWS},
    {"1x1 stride 2, blocked sizes", 3, 7, 6, 16, 32, 1, 1, {2, 2}, {0}, 1, false, DL_ACT_NONE, 0},
    {"1x1 stride 2", 2, 7, 7, 8, 16, 1, 1, {2, 2}, {0}, 1, false, DL_ACT_NONE, 0},
    {"two groups", 2, 7, 7, 6, 8, 3, 3, {1, 1}, {1, 1, 1, 1}, 2, true, DL_ACT_SIGMOID, 0},
    {"depthwise", 3, 8, 8, 16, 16, 3, 3, {2, 2}, {0, 1, 0, 1}, 16, true, DL_ACT_NONE, 0},
    {"depthwise with multiplier", 2, 6, 6, 3, 9, 3, 3, {1, 1}, {0}, 3, true, DL_ACT_NONE, 0},
    {"asymmetric padding", 2, 8, 8, 4, 8, 4, 4, {2, 2}, {0, 3, 2, 1}, 1, true, DL_ACT_NONE, 0},
    {"kernel is the input", 3, 5, 4, 6, 10, 5, 4, {1, 1}, {0}, 1, true, DL_ACT_RELU, 0},
    {"padding above kernel", 1, 3, 3, 2, 2, 2, 2, {1, 1}, {3, 3, 3, 3}, 1, true, DL_ACT_NONE, 0},
    {"61 samples", 61, 6, 6, 4, 8, 3, 3, {1, 1}, {0}, 1, true, DL_ACT_RELU, 0},
    {"7x7 stride 2 as in ResNet", 2, 17, 17, 3, 16, 7, 7, {2, 2}, {3, 3, 3, 3}, 1, false, DL_ACT_NONE, 0},
};

void dlc_cases_conv2d(dlc_list *list) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *g = &rows[i];
        const int64_t p = dl_window_positions(g->h, g->r, g->stride[0], g->padding[0], g->padding[1]);
        const int64_t q = dl_window_positions(g->w, g->s, g->stride[1], g->padding[2], g->padding[3]);
        dlc_case *test = dlc_add(list, DL_OP_CONV2D_FORWARD, g->name, g->flags, DLC_UNIFORM);
        test->desc.attr.activation = g->activation;
        dl_conv_attr *conv = &test->desc.attr.u.conv;
        *conv = (dl_conv_attr){.stride = {g->stride[0], g->stride[1]}, .groups = g->groups};
        for (int k = 0; k < 4; k++) {
            conv->padding[k] = g->padding[k];
        }
        dlc_slot(test, "x", DL_F32, DL_SHAPE(g->n, g->h, g->w, g->c));
        dlc_slot(test, "w", DL_F32, DL_SHAPE(g->k, g->c / g->groups, g->r, g->s));
        if (g->bias) {
            dlc_slot(test, "b", DL_F32, DL_SHAPE(g->k));
        }
        dlc_slot(test, "y", DL_F32, DL_SHAPE(g->n, p, q, g->k));
    }
}
