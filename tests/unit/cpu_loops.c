/* The cpu backend's own loops, in every instruction set this machine has, against ref: bit for bit where both
 * do the same additions, closely elsewhere. */
#include "cpu_kit.h"

#include "kernels/cpu/cpu.h"

static const char *const isas[] = {"base", "avx2", "avx512"};
enum { N_ISAS = 3 };

/* A device with these loops; NULL when the machine has not got them. */
static dl_device *open_with(const char *isa, int n_threads) {
    const dl_cpu_loops *loops = dl_cpu_loops_named(isa);
    dl_device *device = loops != NULL ? kit_open("cpu", n_threads) : NULL;
    if (device != NULL) {
        dl_cpu_device_of(device)->loops = loops;
    }
    return device;
}

/* Both backends on the same input; ours must be done by a loop. */
static void run_both(dl_device *device, const dl_op_desc *desc, kit_tensors *ours, kit_tensors *theirs) {
    dl_device *ref = kit_open("ref", 1);
    const dl_op_desc plain = kit_plain(desc);
    dl_op *op = NULL;
    KIT_OK(dl_op_prepare(device, desc, NULL, &op));
    assert_non_null(strstr(op->implementation, "loop:"));
    assert_true(op->batch_invariant);
    kit_run_op(device, op, ours);
    kit_run(ref, &plain, theirs);
    dl_op_destroy(&op);
    dl_device_close(&ref);
}

static void assert_equal_slot(const dl_op_desc *desc, const kit_tensors *a, const kit_tensors *b, int slot) {
    if (memcmp(a->slot[slot], b->slot[slot], dl_tensor_plain_bytes(&desc->slot[slot])) != 0) {
        fail_msg("%s: slot %s has other bits than ref", dl_op_info_of(desc->kind)->name,
                 dl_op_info_of(desc->kind)->slots[slot].name);
    }
}

static void assert_close_slot(const dl_op_desc *desc, const kit_tensors *a, const kit_tensors *b, int slot,
                              double tolerance) {
    const double d = kit_difference(a->slot[slot], b->slot[slot], dl_shape_elements(&desc->slot[slot].shape));
    if (!(d <= tolerance)) {
        fail_msg("%s: slot %s differs by %.3g", dl_op_info_of(desc->kind)->name,
                 dl_op_info_of(desc->kind)->slots[slot].name, d);
    }
}

/* Windows with ties, NaN, padding, gaps; channels that do and do not fill the lanes. */
static void pooling(dl_device *device, int64_t n, int64_t h, int64_t c, int64_t window, int64_t stride,
                    int64_t padding, bool blocked) {
    dl_op_desc forward = kit_pool_desc(n, h, c, window, stride, padding, false, false);
    kit_ask(device, &forward, blocked, NULL);
    kit_tensors ours = kit_tensors_create(&forward, 3), theirs = kit_tensors_create(&forward, 3);
    float *x[2] = {ours.slot[0], theirs.slot[0]};
    for (int64_t i = 0; i < n * h * h * c; i++) {
        x[0][i] = i % 97 == 0 ? NAN : roundf(x[0][i] * 4); /* many ties */
        x[1][i] = x[0][i];
    }
    run_both(device, &forward, &ours, &theirs);
    assert_equal_slot(&forward, &ours, &theirs, 1);
    if (!blocked) {
        assert_equal_slot(&forward, &ours, &theirs, 2);
    }
    for (int relu = 0; relu < 2; relu++) {
        dl_op_desc backward = kit_pool_desc(n, h, c, window, stride, padding, true, relu == 1);
        kit_ask(device, &backward, blocked, NULL);
        kit_tensors a = kit_tensors_create(&backward, 4), b = kit_tensors_create(&backward, 4);
        memcpy(a.slot[1], ours.slot[2], dl_tensor_plain_bytes(&backward.slot[1]));
        memcpy(b.slot[1], theirs.slot[2], dl_tensor_plain_bytes(&backward.slot[1]));
        run_both(device, &backward, &a, &b);
        assert_close_slot(&backward, &a, &b, 3, 1e-6);
        kit_tensors_free(&backward, &a);
        kit_tensors_free(&backward, &b);
    }
    kit_tensors_free(&forward, &ours);
    kit_tensors_free(&forward, &theirs);
}

static void pooling_is_right(void **state) {
    (void)state;
    static const int64_t cases[][6] = {{3, 26, 32, 2, 2, 0}, {2, 11, 16, 2, 2, 0}, {2, 7, 17, 3, 2, 1},
                                       {1, 9, 1, 3, 3, 0},   {2, 10, 48, 3, 2, 1}, {2, 13, 20, 2, 3, 0},
                                       {1, 5, 16, 5, 1, 2},  {2, 12, 16, 4, 4, 0}, {1, 33, 3, 16, 16, 0}};
    for (int isa = 0; isa < N_ISAS; isa++) {
        dl_device *device = open_with(isas[isa], 1 + isa % 2);
        for (size_t i = 0; device != NULL && i < sizeof cases / sizeof cases[0]; i++) {
            const int64_t *z = cases[i];
            pooling(device, z[0], z[1], z[2], z[3], z[4], z[5], false);
            pooling(device, z[0], z[1], z[2], z[3], z[4], z[5], true);
        }
        dl_device_close(&device);
    }
}

static void dropout_has_the_masks_of_ref(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 3, 4, 63, 64, 65, 200, 9216};
    for (int i = 0; i < N_ISAS * 8 * 2; i++) {
        dl_device *device = open_with(isas[i % N_ISAS], 1 + i % 2);
        if (device == NULL) {
            continue;
        }
        const dl_tensor_desc x = kit_tensor(DL_F32, DL_SHAPE(5, sizes[i / N_ISAS % 8]));
        dl_op_desc desc = {.kind = i < N_ISAS * 8 ? DL_OP_DROPOUT_FORWARD : DL_OP_DROPOUT_BACKWARD};
        desc.slot[0] = desc.slot[3] = x;
        desc.slot[1] = kit_tensor(DL_I64, DL_SHAPE(5));
        desc.slot[2] = kit_tensor(DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
        desc.attr.training = true;
        desc.attr.u.dropout = (dl_dropout_attr){.rate = 0.3, .seed = 0x123456789ABCULL, .purpose = 65537};
        kit_tensors ours = kit_tensors_create(&desc, 1), theirs = kit_tensors_create(&desc, 1);
        for (int64_t k = 0; k < 5; k++) { /* the last id makes the counter carry into its upper word */
            ((int64_t *)ours.slot[1])[k] = ((int64_t *)theirs.slot[1])[k] =
                k == 4 ? (int64_t)1 << 41 : 1000 * k;
        }
        ((dl_step_block *)ours.slot[2])->step = ((dl_step_block *)theirs.slot[2])->step = 77;
        run_both(device, &desc, &ours, &theirs);
        assert_equal_slot(&desc, &ours, &theirs, 3);
        kit_tensors_free(&desc, &ours);
        kit_tensors_free(&desc, &theirs);
        dl_device_close(&device);
    }
}

static void fill_blocks(const kit_tensors *tensors, int step_slot) {
    dl_step_block *step = tensors->slot[step_slot];
    *step = (dl_step_block){.step = 3, .t = 3, .weight = 100, .learning_rate = 0.01};
    ((double *)tensors->slot[step_slot + 1])[DL_TOTAL_WEIGHT] = 100;
}

/* Several steps, then one that the control word forbids. */
static void updates(dl_device *device, const dl_op_desc *desc, int step_slot) {
    kit_tensors ours = kit_tensors_create(desc, 9), theirs = kit_tensors_create(desc, 9);
    const int64_t n = dl_shape_elements(&desc->slot[0].shape);
    fill_blocks(&ours, step_slot);
    fill_blocks(&theirs, step_slot);
    const int square = desc->kind == DL_OP_ADAM_UPDATE ? 3 : desc->kind == DL_OP_RMSPROP_UPDATE ? 2 : -1;
    for (int64_t i = 0; square >= 0 && i < n; i++) { /* second moments are not negative */
        ((float *)ours.slot[square])[i] = ((float *)theirs.slot[square])[i] =
            fabsf(((float *)ours.slot[square])[i]);
    }
    for (int repeat = 0; repeat < 3; repeat++) {
        if (repeat == 2) {
            ((int32_t *)ours.slot[step_slot + 2])[DL_CONTROL_NONFINITE] = 1;
            ((int32_t *)theirs.slot[step_slot + 2])[DL_CONTROL_NONFINITE] = 1;
        }
        run_both(device, desc, &ours, &theirs);
        for (int i = 0; i < step_slot; i++) {
            if (desc->slot[i].present) {
                assert_equal_slot(desc, &ours, &theirs, i);
            }
        }
    }
    kit_tensors_free(desc, &ours);
    kit_tensors_free(desc, &theirs);
}

static void updates_have_the_bits_of_ref(void **state) {
    (void)state;
    for (int i = 0; i < N_ISAS * 2; i++) {
        dl_device *device = open_with(isas[i % N_ISAS], 1 + i / N_ISAS);
        if (device == NULL) {
            continue;
        }
        const dl_tensor_desc w = kit_tensor(DL_F32, DL_SHAPE(20001));
        const dl_tensor_desc blocks[] = {kit_tensor(DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block))),
                                         kit_tensor(DL_F64, DL_SHAPE(DL_N_TOTALS)),
                                         kit_tensor(DL_I32, DL_SHAPE(DL_N_CONTROLS))};
        dl_op_desc adam = {.kind = DL_OP_ADAM_UPDATE, .slot = {w, w, w, w, blocks[0], blocks[1], blocks[2]}};
        adam.attr.u.adam = (dl_adam_attr){
            .capacity = 128, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-7, .weight_decay = 0.01};
        updates(device, &adam, 4);
        dl_op_desc sgd = {.kind = DL_OP_SGD_UPDATE, .slot = {w, w, {0}, blocks[0], blocks[1], blocks[2]}};
        sgd.attr.u.sgd = (dl_sgd_attr){.capacity = 128, .weight_decay = 0.01};
        updates(device, &sgd, 3);
        sgd.slot[2] = w;
        sgd.attr.u.sgd.momentum = 0.9;
        updates(device, &sgd, 3);
        sgd.attr.u.sgd.nesterov = true;
        updates(device, &sgd, 3);
        dl_op_desc rmsprop = {.kind = DL_OP_RMSPROP_UPDATE,
                              .slot = {w, w, w, {0}, {0}, blocks[0], blocks[1], blocks[2]}};
        rmsprop.attr.u.rmsprop =
            (dl_rmsprop_attr){.capacity = 128, .rho = 0.9, .epsilon = 1e-7, .weight_decay = 0.01};
        updates(device, &rmsprop, 5);
        rmsprop.slot[4] = w;
        rmsprop.attr.u.rmsprop.momentum = 0.9;
        updates(device, &rmsprop, 5);
        rmsprop.slot[3] = w;
        rmsprop.attr.u.rmsprop.centered = true;
        updates(device, &rmsprop, 5);
        dl_device_close(&device);
    }
}

static void tree_sums_have_the_bits_of_ref(void **state) {
    (void)state;
    for (int i = 0; i < N_ISAS * 5; i++) {
        dl_device *device = open_with(isas[i % N_ISAS], 1);
        if (device == NULL) {
            continue;
        }
        const int64_t n_pieces = (int64_t)1 << (i / N_ISAS);
        dl_op_desc desc = {.kind = DL_OP_TREE_SUM};
        desc.slot[0] = kit_tensor(DL_F32, DL_SHAPE(n_pieces, 37));
        desc.slot[1] = kit_tensor(DL_F32, DL_SHAPE(37));
        kit_tensors ours = kit_tensors_create(&desc, 6), theirs = kit_tensors_create(&desc, 6);
        run_both(device, &desc, &ours, &theirs);
        assert_equal_slot(&desc, &ours, &theirs, 1);
        kit_tensors_free(&desc, &ours);
        kit_tensors_free(&desc, &theirs);
        dl_device_close(&device);
    }
}

/* Wherever the one bad number is, it is found; without it the word stays. */
static void nonfinite_is_found(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < N_ISAS; i++) {
        dl_device *device = open_with(isas[i], 1);
        if (device == NULL) {
            continue;
        }
        dl_op_desc desc = {.kind = DL_OP_CHECK_FINITE};
        desc.slot[0] = kit_tensor(DL_F32, DL_SHAPE(131));
        desc.slot[1] = kit_tensor(DL_I32, DL_SHAPE(DL_N_CONTROLS));
        kit_tensors tensors = kit_tensors_create(&desc, 6);
        float *x = tensors.slot[0];
        int32_t *control = tensors.slot[1];
        x[5] = 3e38F;
        kit_run(device, &desc, &tensors);
        assert_int_equal(control[DL_CONTROL_NONFINITE], 0);
        for (int k = 0; k < 131; k++) {
            const float kept = x[k];
            x[k] = bad[k % 3];
            control[DL_CONTROL_NONFINITE] = 0;
            kit_run(device, &desc, &tensors);
            assert_int_equal(control[DL_CONTROL_NONFINITE], 1);
            x[k] = kept;
        }
        kit_tensors_free(&desc, &tensors);
        dl_device_close(&device);
    }
}

/* Rows of all lengths, values far apart; labels outside the classes give NaN as in ref. */
static void softmax_and_loss_are_close(void **state) {
    (void)state;
    static const int64_t classes[] = {1, 2, 10, 17, 1000};
    for (int i = 0; i < N_ISAS * 5; i++) {
        dl_device *device = open_with(isas[i % N_ISAS], 1);
        if (device == NULL) {
            continue;
        }
        const int64_t k = classes[i / N_ISAS];
        dl_op_desc desc = {.kind = DL_OP_SOFTMAX_CROSS_ENTROPY};
        desc.slot[0] = desc.slot[3] = desc.slot[4] = kit_tensor(DL_F32, DL_SHAPE(6, k));
        desc.slot[1] = kit_tensor(DL_I32, DL_SHAPE(6));
        desc.slot[2] = kit_tensor(DL_F32, DL_SHAPE(6));
        desc.attr.u.loss.scale = 1.0 / 6;
        kit_tensors ours = kit_tensors_create(&desc, 8), theirs = kit_tensors_create(&desc, 8);
        for (int64_t at = 0; at < 6 * k; at++) {
            const float value = ((float *)ours.slot[0])[at] * (at < 2 * k ? 1.0F : 60.0F);
            ((float *)ours.slot[0])[at] = ((float *)theirs.slot[0])[at] = value;
        }
        for (int32_t n = 0; n < 6; n++) {
            ((int32_t *)ours.slot[1])[n] = ((int32_t *)theirs.slot[1])[n] = n % (int32_t)k;
        }
        run_both(device, &desc, &ours, &theirs);
        for (int slot = 2; slot < 5; slot++) {
            assert_close_slot(&desc, &ours, &theirs, slot, 1e-6);
        }
        ((int32_t *)ours.slot[1])[2] = (int32_t)k;
        kit_run(device, &desc, &ours);
        assert_true(isnan(((float *)ours.slot[2])[2]) && isnan(((float *)ours.slot[3])[2 * k]));
        kit_tensors_free(&desc, &ours);
        kit_tensors_free(&desc, &theirs);
        dl_device_close(&device);
    }
}

/* A sum of many terms that are alike: in single precision it would always be rounded the same way. */
static void probabilities_of_many_classes_sum_to_one(void **state) {
    (void)state;
    enum { CLASSES = 200000 };
    for (int i = 0; i < N_ISAS; i++) {
        dl_device *device = open_with(isas[i], 1);
        if (device == NULL) {
            continue;
        }
        dl_op_desc desc = {.kind = DL_OP_SOFTMAX_FORWARD};
        desc.slot[0] = desc.slot[1] = kit_tensor(DL_F32, DL_SHAPE(2, CLASSES));
        kit_tensors tensors = kit_tensors_create(&desc, 8);
        for (int64_t at = 0; at < 2 * CLASSES; at++) {
            ((float *)tensors.slot[0])[at] *= 0.01F;
        }
        kit_run(device, &desc, &tensors);
        double sum = 0.0;
        for (int64_t at = CLASSES; at < 2 * CLASSES; at++) {
            sum += (double)((float *)tensors.slot[1])[at];
        }
        if (fabs(sum - 1.0) > 1e-6) {
            fail_msg("%s: %d probabilities sum to 1 + %.3g", isas[i], CLASSES, sum - 1.0);
        }
        kit_tensors_free(&desc, &tensors);
        dl_device_close(&device);
    }
}

static void activations_are_close(void **state) {
    (void)state;
    for (int i = 0; i < N_ISAS * 3; i++) {
        dl_device *device = open_with(isas[i % N_ISAS], 2);
        if (device == NULL) {
            continue;
        }
        dl_op_desc desc = {.kind = DL_OP_ACTIVATION_FORWARD};
        desc.attr.activation = (dl_activation)(DL_ACT_RELU + i / N_ISAS);
        desc.slot[0] = desc.slot[1] = kit_tensor(DL_F32, DL_SHAPE(3, 20001));
        kit_tensors ours = kit_tensors_create(&desc, 8), theirs = kit_tensors_create(&desc, 8);
        for (int64_t k = 0; k < 3 * 20001; k++) { /* from 1e-6 to 100, both signs */
            const float x = ((float *)ours.slot[0])[k] * powf(10, (float)(k % 9) - 6);
            ((float *)ours.slot[0])[k] = ((float *)theirs.slot[0])[k] = x;
        }
        run_both(device, &desc, &ours, &theirs);
        for (int64_t k = 0; k < 3 * 20001; k++) {
            const double a = (double)((float *)ours.slot[1])[k], b = (double)((float *)theirs.slot[1])[k];
            assert_true(fabs(a - b) <= 1e-6 * fabs(b) + 1e-37);
        }
        kit_tensors_free(&desc, &ours);
        kit_tensors_free(&desc, &theirs);
        dl_device_close(&device);
    }
}

static void normalize_is_close(void **state) {
    (void)state;
    for (int i = 0; i < N_ISAS * 4; i++) {
        dl_device *device = open_with(isas[i % N_ISAS], 2);
        if (device == NULL) {
            continue;
        }
        const int64_t channels = i / N_ISAS % 2 == 0 ? 1 : 3;
        dl_op_desc desc = {.kind = DL_OP_NORMALIZE_IMAGES};
        desc.slot[0] = kit_tensor(i < N_ISAS * 2 ? DL_U8 : DL_F32, DL_SHAPE(9, 31, 29, channels));
        desc.slot[1] = kit_tensor(DL_F32, DL_SHAPE(9, 31, 29, channels));
        desc.attr.u.normalize = (dl_normalize_attr){
            .scale = 1 / 255.0, .n_values = (int)channels, .mean = {0.1, 0.4, 0.5}, .std = {0.3, 0.2, 1}};
        kit_tensors ours = kit_tensors_create(&desc, 8), theirs = kit_tensors_create(&desc, 8);
        for (int64_t k = 0; desc.slot[0].dtype == DL_U8 && k < 9 * 31 * 29 * channels; k++) {
            ((uint8_t *)ours.slot[0])[k] = ((uint8_t *)theirs.slot[0])[k] = (uint8_t)(k * 37 % 256);
        }
        run_both(device, &desc, &ours, &theirs);
        assert_close_slot(&desc, &ours, &theirs, 1, 1e-6);
        kit_tensors_free(&desc, &ours);
        kit_tensors_free(&desc, &theirs);
        dl_device_close(&device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_is_right),
        cmocka_unit_test(dropout_has_the_masks_of_ref),
        cmocka_unit_test(updates_have_the_bits_of_ref),
        cmocka_unit_test(tree_sums_have_the_bits_of_ref),
        cmocka_unit_test(nonfinite_is_found),
        cmocka_unit_test(softmax_and_loss_are_close),
        cmocka_unit_test(probabilities_of_many_classes_sum_to_one),
        cmocka_unit_test(activations_are_close),
        cmocka_unit_test(normalize_is_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
