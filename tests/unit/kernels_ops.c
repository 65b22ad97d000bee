/* Operation descriptions, their checks, and the generic part of the backend table. */
#include "base/rng.h"
#include "kernels/backend.h"
#include "kernels/common/blocks.h"
#include "kernels/common/dropout.h"
#include "kernels/ops/sizes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dl_tensor_desc floats(dl_shape shape) {
    return (dl_tensor_desc){.present = true, .dtype = DL_F32, .shape = shape};
}

static dl_op_desc conv_desc(void) {
    dl_op_desc desc = {.kind = DL_OP_CONV2D_FORWARD};
    desc.attr.u.conv = (dl_conv_attr){.stride = {2, 1}, .padding = {1, 0, 0, 2}, .groups = 2};
    desc.slot[0] = floats(DL_SHAPE(3, 8, 6, 4));
    desc.slot[1] = floats(DL_SHAPE(6, 2, 3, 2));
    desc.slot[2] = floats(DL_SHAPE(6));
    desc.slot[3] = floats(DL_SHAPE(3, 4, 7, 6));
    return desc;
}

/* Tables agree with themselves: what other layers rely on for every kind. */
static void every_kind_is_whole(void **state) {
    (void)state;
    for (int kind = 0; kind < DL_N_OP_KINDS; kind++) {
        const dl_op_info *info = dl_op_info_of((dl_op_kind)kind);
        assert_non_null(info);
        assert_true(info->n_slots > 0 && info->n_slots <= DL_OP_MAX_SLOTS);
        assert_true(info->doc != NULL && strlen(info->doc) > 0 && info->check != NULL);
        for (int other = 0; other < kind; other++) {
            assert_string_not_equal(info->name, dl_op_info_of((dl_op_kind)other)->name);
        }
        for (int i = 0; i < info->n_slots; i++) {
            assert_int_equal(dl_op_slot(info, info->slots[i].name), i);
            const int source = info->slots[i].in_place_of;
            assert_true(source == -1 ||
                        (info->slots[i].role == DL_SLOT_OUT && info->slots[source].role == DL_SLOT_IN));
        }
        assert_int_equal(dl_op_slot(info, "no such slot"), -1);
    }
}

/* Each gradient kind has a slot "dNAME" for each forward slot it claims, and its other inputs can be found.
 */
static void gradient_kinds_fit(void **state) {
    (void)state;
    for (int kind = 0; kind < DL_N_OP_KINDS; kind++) {
        const dl_op_info *info = dl_op_info_of((dl_op_kind)kind);
        for (int k = 0; k < info->n_gradients; k++) {
            const dl_op_info *gradient = dl_op_info_of(info->gradients[k].kind);
            for (int j = 0; j < 2 && info->gradients[k].of[j] != NULL; j++) {
                char name[32] = "d";
                (void)strncat(name, info->gradients[k].of[j], sizeof name - 2);
                const int out = dl_op_slot(gradient, name);
                assert_true(out >= 0 && gradient->slots[out].role == DL_SLOT_OUT);
                assert_true(dl_op_slot(info, info->gradients[k].of[j]) >= 0);
            }
            for (int i = 0; i < gradient->n_slots; i++) {
                const char *name = gradient->slots[i].name;
                assert_true(dl_op_slot(info, name) >= 0 || strcmp(name, "scale") == 0 || /* of the loss */
                            (name[0] == 'd' && dl_op_slot(info, name + 1) >= 0));
            }
        }
    }
}

static void samples_change_batched_slots_only(void **state) {
    (void)state;
    const dl_op_desc desc = conv_desc(), other = dl_op_with_samples(&desc, 11);
    assert_int_equal(dl_op_samples(&desc), 3);
    assert_int_equal(dl_op_samples(&other), 11);
    assert_int_equal(other.slot[0].shape.dim[0], 11);
    assert_int_equal(other.slot[3].shape.dim[0], 11);
    assert_int_equal(other.slot[1].shape.dim[0], 6);
    assert_int_equal(other.slot[2].shape.dim[0], 6);
    assert_int_equal(dl_op_check(&other), DL_OK);
    const dl_op_desc fill = {.kind = DL_OP_FILL_ZERO, .slot = {floats(DL_SHAPE(4))}};
    assert_int_equal(dl_op_samples(&fill), -1);
}

static void sizes_and_flops(void **state) {
    (void)state;
    const dl_op_desc desc = conv_desc();
    const dl_conv2d_sizes z = dl_conv2d_sizes_of(&desc);
    assert_true(z.n == 3 && z.h == 8 && z.w == 6 && z.c == 4 && z.k == 6 && z.p == 4 && z.q == 7);
    assert_true(z.r == 3 && z.s == 2 && z.groups == 2 && z.c_group == 2 && z.k_group == 3);
    assert_float_equal(dl_op_info_of(desc.kind)->flops(&desc), 2.0 * 3 * 4 * 7 * 6 * 2 * 3 * 2, 0);
    assert_int_equal((int)dl_tensor_plain_bytes(&desc.slot[0]), 3 * 8 * 6 * 4 * 4);
    assert_int_equal((int)dl_window_positions(2, 3, 1, 0, 0), 0);
    assert_int_equal((int)dl_window_positions(5, 2, 3, 0, 1), 2);
}

static void expect_error(const dl_op_desc *desc, const char *words) {
    assert_int_equal(dl_op_check(desc), DL_ERR_INTERNAL);
    assert_non_null(strstr(dl_error_last()->message, words));
}

static void wrong_descs_are_named(void **state) {
    (void)state;
    static const dl_layout layout = {.name = "blocked"};
    dl_op_desc desc = conv_desc();
    assert_int_equal(dl_op_check(&desc), DL_OK);
    desc.slot[1].present = false;
    expect_error(&desc, "slot 'w' is missing");
    desc = conv_desc();
    desc.slot[3].shape.dim[2] = 6;
    expect_error(&desc, "slot 'y' has shape [3, 4, 6, 6]");
    desc = conv_desc();
    desc.slot[0].dtype = DL_F64;
    expect_error(&desc, "slot 'x' is float64");
    desc = conv_desc();
    desc.slot[3].shape.dim[0] = 2;
    expect_error(&desc, "slot 'y' has 2 samples, others 3");
    desc = conv_desc();
    desc.slot[2].layout = &layout;
    expect_error(&desc, "slot 'b' is plain, not blocked");
    desc = conv_desc();
    desc.attr.u.conv.groups = 4;
    expect_error(&desc, "do not divide");
    desc = conv_desc();
    desc.attr.activation = DL_N_ACTIVATIONS;
    expect_error(&desc, "unknown activation");
    desc = (dl_op_desc){.kind = DL_OP_ADD, .attr = {.activation = DL_ACT_RELU}};
    desc.slot[0] = desc.slot[1] = desc.slot[2] = floats(DL_SHAPE(2, 2));
    expect_error(&desc, "add: fuses no activation");
    desc = (dl_op_desc){.kind = DL_N_OP_KINDS};
    expect_error(&desc, "does not exist");
}

static void optional_slots_depend_on_attributes(void **state) {
    (void)state;
    dl_op_desc pool = {.kind = DL_OP_MAX_POOLING2D_BACKWARD};
    pool.attr.u.pool = (dl_pool_attr){.window = {2, 2}, .stride = {2, 2}};
    pool.slot[0] = floats(DL_SHAPE(1, 2, 2, 3));
    pool.slot[1] = (dl_tensor_desc){.present = true, .dtype = DL_U8, .shape = pool.slot[0].shape};
    pool.slot[3] = floats(DL_SHAPE(1, 4, 4, 3));
    assert_int_equal(dl_op_check(&pool), DL_OK);
    pool.attr.activation = DL_ACT_RELU;
    expect_error(&pool, "slot 'y' is given if and only if relu is fused");
    pool.attr.activation = DL_ACT_NONE;
    pool.attr.u.pool.padding[0] = 2;
    expect_error(&pool, "padding");
    dl_op_desc dropout = {.kind = DL_OP_DROPOUT_FORWARD,
                          .attr = {.training = true, .u.dropout = {.rate = 0.5}}};
    dropout.slot[0] = dropout.slot[3] = floats(DL_SHAPE(2, 4));
    expect_error(&dropout, "training needs");
    dropout.attr.training = false;
    assert_int_equal(dl_op_check(&dropout), DL_OK);
    dropout.attr.u.dropout.rate = 1;
    expect_error(&dropout, "rate");
}

static void backends_are_found(void **state) {
    (void)state;
    assert_null(dl_backend_find("no such backend"));
    for (const dl_backend *const *backend = dl_backends(); *backend != NULL; backend++) {
        assert_ptr_equal(dl_backend_find((*backend)->name), *backend);
        assert_true((*backend)->fallback == NULL || dl_backend_find((*backend)->fallback) != NULL);
    }
    assert_true(dl_backend_find("ref:strict")->strict);
    assert_false(dl_backend_find("ref")->strict);
}

/* A backend that takes one kind only, to see the others delegated. */
static bool only_add(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    return desc->kind == DL_OP_ADD;
}

static dl_status never_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)device;
    (void)desc;
    (void)forward;
    *out = NULL;
    DL_RETURN_ERROR(DL_ERR_INTERNAL, "the picky backend was asked");
}

static void what_a_backend_does_not_take_is_delegated(void **state) {
    (void)state;
    dl_backend picky = *dl_backend_find("ref");
    picky.name = "picky";
    picky.fallback = "ref";
    picky.takes = only_add;
    picky.prepare = never_prepare;
    dl_device *device = NULL;
    const dl_device_options options = {.n_threads = 1};
    assert_int_equal(dl_device_open(&picky, &options, &device), DL_OK);
    dl_op_desc add = {.kind = DL_OP_ADD};
    add.slot[0] = add.slot[1] = add.slot[2] = floats(DL_SHAPE(2, 2));
    dl_op *op = NULL;
    assert_int_equal(dl_op_prepare(device, &add, NULL, &op), DL_ERR_INTERNAL);
    static const dl_layout foreign = {.name = "picky's own", .n_bytes = 4096};
    dl_op_desc conv = conv_desc();
    conv.slot[0].layout = &foreign;
    assert_int_equal(dl_op_prepare(device, &conv, NULL, &op), DL_OK);
    assert_ptr_equal(op->device, device->fallback);
    assert_null(op->layout[0]);
    assert_int_equal((int)dl_op_slot_bytes(op, 0), (int)dl_tensor_plain_bytes(&conv.slot[0]));
    assert_int_equal(dl_device_n_algorithms(device, &conv), 1);
    dl_op_destroy(&op);
    assert_null(op);
    dl_device_close(&device);
    assert_null(device);
}

/* The shares of kept elements, and that neither steps, samples nor elements repeat each other's masks. */
static void dropout_masks_are_independent(void **state) {
    (void)state;
    enum { N = 4000 };
    const dl_dropout_attr attr = {.rate = 0.25, .seed = 9, .purpose = DL_RNG_DROPOUT};
    const dl_dropout mask = dl_dropout_of(&attr);
    float ones[N], a[N], b[N], c[N];
    for (int i = 0; i < N; i++) {
        ones[i] = 1;
    }
    dl_dropout_run(&mask, 1, 5, 0, N, ones, a);
    dl_dropout_run(&mask, 2, 5, 0, N, ones, b);
    dl_dropout_run(&mask, 1, 6, 0, N, ones, c);
    int kept = 0, both_steps = 0, both_samples = 0;
    for (int i = 0; i < N; i++) {
        assert_true(a[i] == 0 || fabsf(a[i] - 4.0f / 3) < 1e-6f);
        kept += a[i] != 0;
        both_steps += a[i] != 0 && b[i] != 0;
        both_samples += a[i] != 0 && c[i] != 0;
    }
    assert_in_range(kept, (int)(0.72 * N), (int)(0.78 * N));
    assert_in_range(both_steps, (int)(0.52 * N), (int)(0.61 * N));
    assert_in_range(both_samples, (int)(0.52 * N), (int)(0.61 * N));
}

/* Labels above the classes make the loss NaN, which stops the step; labels below 0 mean none; neither indexes
 * memory. */
static void labels_outside_are_not_followed(void **state) {
    (void)state;
    for (const dl_backend *const *backend = dl_backends(); *backend != NULL; backend++) {
        dl_device *device = NULL;
        const dl_device_options options = {.n_threads = 1};
        assert_int_equal(dl_device_open(*backend, &options, &device), DL_OK);
        dl_op_desc desc = {.kind = DL_OP_SOFTMAX_CROSS_ENTROPY, .attr = {.u.loss = {.scale = 1}}};
        desc.slot[0] = desc.slot[3] = floats(DL_SHAPE(3, 2));
        desc.slot[1] = (dl_tensor_desc){.present = true, .dtype = DL_I32, .shape = DL_SHAPE(3)};
        desc.slot[2] = floats(DL_SHAPE(3));
        dl_op *op = NULL;
        assert_int_equal(dl_op_prepare(device, &desc, NULL, &op), DL_OK);
        assert_int_equal((int)op->workspace_bytes, 0);
        float x[6] = {0}, loss[3] = {7, 7, 7}, dx[6] = {7, 7, 7, 7, 7, 7};
        int32_t labels[3] = {1, 1 << 30, -1};
        void *slots[] = {x, labels, loss, dx, NULL, NULL};
        assert_int_equal(op->functions->run(op, slots, NULL), DL_OK);
        assert_true(fabsf(loss[0] - 0.6931472f) < 1e-6f);
        assert_true(isnan(loss[1]) && isnan(dx[2]) && isnan(dx[3]));
        assert_true(loss[2] == 0 && dx[4] == 0 && dx[5] == 0);
        dl_op_destroy(&op);
        dl_device_close(&device);
    }
}

/* By hand: of equal scores the first stands before the others, rows without a label and rows with NaN count
 * nothing. */
static void accuracy_ranks_ties_and_masks(void **state) {
    (void)state;
    static const float x[7][4] = {{1, 3, 3, 2}, {1, 3, 3, 2}, {1, 3, 3, 2},  {1, 3, 3, 2},
                                  {0, 0, 0, 0}, {9, 1, 2, 3}, {1, NAN, 0, 0}};
    static const int32_t labels[7] = {1, 2, 3, 0, 3, -1, 0};
    /* how many stand before the label: 0 1 2 3 3, none, never */
    static const float expected[4][7] = {
        {1, 0, 0, 0, 0, 0, 0}, {1, 1, 0, 0, 0, 0, 0}, {1, 1, 1, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 0, 0}};
    for (const dl_backend *const *backend = dl_backends(); *backend != NULL; backend++) {
        dl_device *device = NULL;
        const dl_device_options options = {.n_threads = 1};
        assert_int_equal(dl_device_open(*backend, &options, &device), DL_OK);
        for (int k = 1; k <= 4; k++) {
            dl_op_desc desc = {.kind = DL_OP_ACCURACY, .attr = {.u.accuracy.k = k}};
            desc.slot[0] = floats(DL_SHAPE(7, 4));
            desc.slot[1] = (dl_tensor_desc){.present = true, .dtype = DL_I32, .shape = DL_SHAPE(7)};
            desc.slot[2] = floats(DL_SHAPE(7));
            dl_op *op = NULL;
            float correct[7] = {0}, scores[7][4];
            int32_t asked[7];
            memcpy(scores, x, sizeof x);
            memcpy(asked, labels, sizeof labels);
            void *slots[] = {scores, asked, correct, NULL};
            assert_int_equal(dl_op_prepare(device, &desc, NULL, &op), DL_OK);
            assert_int_equal(op->functions->run(op, slots, NULL), DL_OK);
            for (int n = 0; n < 7; n++) {
                assert_true(correct[n] == expected[k - 1][n]);
            }
            dl_op_destroy(&op);
        }
        dl_device_close(&device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_whole),
        cmocka_unit_test(gradient_kinds_fit),
        cmocka_unit_test(samples_change_batched_slots_only),
        cmocka_unit_test(sizes_and_flops),
        cmocka_unit_test(wrong_descs_are_named),
        cmocka_unit_test(optional_slots_depend_on_attributes),
        cmocka_unit_test(backends_are_found),
        cmocka_unit_test(what_a_backend_does_not_take_is_delegated),
        cmocka_unit_test(dropout_masks_are_independent),
        cmocka_unit_test(labels_outside_are_not_followed),
        cmocka_unit_test(accuracy_ranks_ties_and_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
