/* Layers: shapes, paddings and parameters that they work out, and what they say of inputs that do not fit. */
#include "program_kit.h"

/* A model of one layer before a dense one; image inputs. */
static void one_layer(kit *k, dl_shape input, const char *layer) {
    char text[512];
    (void)snprintf(text, sizeof text, "- %s\n- flatten: {}\n- dense: {units: auto, activation: softmax}\n",
                   layer);
    (void)snprintf(kit_context, sizeof kit_context, "%s", layer);
    kit_model(k, input, text);
}

typedef struct window_case {
    const char *layer;
    dl_shape input, output;
    int64_t padding[4]; /* top, bottom, left, right */
} window_case;

/* `same` as Keras has it: ceil(size / stride) windows, the odd cell of padding last. */
static const window_case windows[] = {
    {"conv2d: {filters: 3, kernel_size: 3}", {3, {9, 7, 2}}, {3, {7, 5, 3}}, {0, 0, 0, 0}},
    {"conv2d: {filters: 3, kernel_size: 3, padding: same}", {3, {9, 7, 2}}, {3, {9, 7, 3}}, {1, 1, 1, 1}},
    {"conv2d: {filters: 3, kernel_size: 2, padding: same}", {3, {9, 7, 2}}, {3, {9, 7, 3}}, {0, 1, 0, 1}},
    {"conv2d: {filters: 3, kernel_size: [4, 3], padding: same}",
     {3, {9, 7, 2}},
     {3, {9, 7, 3}},
     {1, 2, 1, 1}},
    {"conv2d: {filters: 1, kernel_size: 3, strides: 2, padding: same}",
     {3, {8, 7, 1}},
     {3, {4, 4, 1}},
     {0, 1, 1, 1}},
    {"conv2d: {filters: 1, kernel_size: 1, strides: 3, padding: same}",
     {3, {8, 7, 1}},
     {3, {3, 3, 1}},
     {0, 0, 0, 0}},
    {"conv2d: {filters: 4, kernel_size: 3, strides: [1, 2]}", {3, {9, 7, 2}}, {3, {7, 3, 4}}, {0, 0, 0, 0}},
    {"conv2d: {filters: 4, kernel_size: 3, padding: 1}", {3, {9, 7, 2}}, {3, {9, 7, 4}}, {1, 1, 1, 1}},
    {"conv2d: {filters: 4, kernel_size: 3, padding: [2, 1]}", {3, {9, 7, 2}}, {3, {11, 7, 4}}, {2, 2, 1, 1}},
    {"conv2d: {filters: 4, kernel_size: 3, padding: [1, 0, 2, 1]}",
     {3, {9, 7, 2}},
     {3, {8, 8, 4}},
     {1, 0, 2, 1}},
    {"max_pooling2d: {pool_size: 2}", {3, {9, 7, 2}}, {3, {4, 3, 2}}, {0, 0, 0, 0}},
    {"max_pooling2d: {pool_size: 3, strides: 1}", {3, {9, 7, 2}}, {3, {7, 5, 2}}, {0, 0, 0, 0}},
    {"max_pooling2d: {pool_size: 2, padding: same}", {3, {9, 7, 2}}, {3, {5, 4, 2}}, {0, 1, 0, 1}},
    {"max_pooling2d: {pool_size: [2, 3], strides: 2}", {3, {9, 7, 2}}, {3, {4, 3, 2}}, {0, 0, 0, 0}},
};

static void windows_are_placed_as_keras_does(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        kit k;
        kit_open(&k);
        one_layer(&k, windows[i].input, windows[i].layer);
        int found = 0;
        for (int o = 0; o < k.model->n_ops; o++) {
            const dl_model_op *op = &k.model->op[o];
            const bool pooling = op->kind == DL_OP_MAX_POOLING2D_FORWARD;
            if (!pooling && op->kind != DL_OP_CONV2D_FORWARD) {
                continue;
            }
            found++;
            const int64_t *padding = pooling ? op->attr.u.pool.padding : op->attr.u.conv.padding;
            for (int side = 0; side < 4; side++) {
                if (padding[side] != windows[i].padding[side]) {
                    fail_msg("%s: padding %d is %d, not %d", windows[i].layer, side, (int)padding[side],
                             (int)windows[i].padding[side]);
                }
            }
        }
        assert_int_equal(found, 1);
        if (!dl_shape_equal(&k.model->layer[0].output_shape, &windows[i].output)) {
            char has[DL_SHAPE_TEXT_BYTES];
            fail_msg("%s: output %s", windows[i].layer, dl_shape_text(&k.model->layer[0].output_shape, has));
        }
        kit_close(&k);
    }
}

static void parameters_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *layer;
        int64_t n;
    } cases[] = {
        {"conv2d: {filters: 8, kernel_size: 3}", 8 * 4 * 9 + 8},
        {"conv2d: {filters: 8, kernel_size: [3, 5], use_bias: false}", 8 * 4 * 15},
        {"conv2d: {filters: 8, kernel_size: 3, groups: 2}", 8 * 2 * 9 + 8},
        {"max_pooling2d: {pool_size: 2}", 0},
        {"activation: {function: tanh}", 0},
        {"dropout: {rate: 0.5}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kit k;
        kit_open(&k);
        one_layer(&k, DL_SHAPE(10, 10, 4), cases[i].layer);
        assert_int_equal(k.model->layer[0].n_parameters, cases[i].n);
        kit_close(&k);
    }
}

/* A mistake names the layer and both shapes; the model is not built. */
static void shapes_that_do_not_fit_are_said(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"- conv2d: {name: early, filters: 2, kernel_size: 12}\n- flatten: {}\n- dense: {units: 5}\n",
         "early", "10"},
        {"- conv2d: {name: odd, filters: 3, kernel_size: 3, groups: 2}\n- flatten: {}\n- dense: {units: 5}\n",
         "odd", "groups"},
        {"- flatten: {}\n- max_pooling2d: {name: late, pool_size: 2}\n- dense: {units: 5}\n", "late", "400"},
        {"- flatten: {}\n- flatten: {}\n- conv2d: {name: flat, filters: 2, kernel_size: 1}\n- dense: {units: 5}\n",
         "flat", "400"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kit k;
        kit_open(&k);
        (void)snprintf(kit_context, sizeof kit_context, "%s", cases[i][0]);
        assert_int_equal(kit_try_model(&k, DL_SHAPE(10, 10, 4), cases[i][0]), DL_ERR_USAGE);
        for (int word = 1; word < 3; word++) {
            if (k.mistakes.data == NULL || strstr(k.mistakes.data, cases[i][word]) == NULL) {
                fail_msg("%s\nsays: %s", cases[i][0], k.mistakes.data == NULL ? "nothing" : k.mistakes.data);
            }
        }
        kit_close(&k);
    }
}

/* from: takes another layer's output than the one above. */
static void layers_are_joined_by_name(void **state) {
    (void)state;
    kit k;
    kit_open(&k);
    kit_model(&k, DL_SHAPE(10, 10, 4),
              "- conv2d: {name: a, filters: 2, kernel_size: 3}\n"
              "- conv2d: {name: b, filters: 6, kernel_size: 5}\n"
              "- conv2d: {name: c, filters: 3, kernel_size: 1, from: a}\n"
              "- flatten: {}\n- dense: {units: auto}\n");
    assert_int_equal(k.model->layer[2].n_inputs, 1);
    assert_int_equal(k.model->layer[2].input[0], k.model->layer[0].output);
    assert_int_equal(k.model->layer[2].n_parameters, 3 * 2 + 3);
    assert_true(dl_shape_equal(&k.model->layer[2].output_shape, &DL_SHAPE(8, 8, 3)));
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_placed_as_keras_does),
        cmocka_unit_test(parameters_are_counted),
        cmocka_unit_test(shapes_that_do_not_fit_are_said),
        cmocka_unit_test(layers_are_joined_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
