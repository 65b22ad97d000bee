/* The cross-check of two backends: how errors are measured, and what it finds. */
#include "program_kit.h"

#include "program/crosscheck_parts.h"

static dl_tensor_desc floats(int64_t n, int64_t k) {
    return (dl_tensor_desc){.present = true, .dtype = DL_F32, .shape = DL_SHAPE(n, k)};
}

static dl_op_desc dense_desc(int64_t inputs) {
    dl_op_desc desc = {.kind = DL_OP_DENSE_FORWARD};
    desc.slot[0] = floats(1, inputs);
    desc.slot[1] = floats(2, inputs);
    desc.slot[3] = floats(1, 2);
    return desc;
}

static dl_comparison compare(const dl_op_desc *desc, int slot, const float *got, const float *expected,
                             const float *scale) {
    dl_comparison out;
    KIT_OK(dl_compare_slot(desc, slot, got, expected, scale, 0, &out));
    return out;
}

/* Where terms cancel, an error is small against them and large against the sum. */
static void sums_are_judged_by_their_terms(void **state) {
    (void)state;
    const dl_op_desc desc = dense_desc(99);
    const float expected[2] = {1.0F, 1.0F}, got[2] = {1.0001F, 1.0F}, terms[2] = {1000.0F, 1000.0F};
    dl_comparison c = compare(&desc, 3, got, expected, terms);
    assert_int_equal(c.terms, 100); /* 99 products and the bias */
    assert_float_equal(c.bound, 8 * 0x1p-24 * 10, 1e-9);
    assert_false(c.departs);
    assert_float_equal(c.error, 1e-7, 1e-9);
    KIT_OK(dl_compare_slot(&desc, 3, got, expected, terms, 0x1p-11, &c)); /* as with tf32 */
    assert_float_equal(c.bound, 8 * 0x1p-11 * 10, 1e-9);
    const float own[2] = {1.0F, 1.0F};
    c = compare(&desc, 3, got, expected, own);
    assert_true(c.departs && c.element == 0);
}

/* Of an element without terms the tensor's mean counts: a fast algorithm may leave its tile's roundings
 * there. */
static void no_element_is_judged_by_nothing(void **state) {
    (void)state;
    const dl_op_desc desc = dense_desc(99);
    const float expected[2] = {0.0F, 1.0F}, got[2] = {1e-7F, 1.0F}, terms[2] = {0.0F, 2.0F};
    dl_comparison c = compare(&desc, 3, got, expected, terms);
    assert_false(c.departs);
    assert_float_equal(c.error, 1e-7, 1e-9);
    const float none[2] = {0.0F, 0.0F}, nothing[2] = {0.0F, 0.0F};
    c = compare(&desc, 3, got, nothing, none);
    assert_true(c.departs && isinf(c.error));
}

static void moved_values_are_equal(void **state) {
    (void)state;
    dl_op_desc desc = {.kind = DL_OP_COPY};
    desc.slot[0] = desc.slot[1] = floats(1, 2);
    const float expected[2] = {1.0F, NAN}, same[2] = {1.0F, NAN}, next[2] = {nextafterf(1.0F, 2.0F), NAN},
                number[2] = {1.0F, 3.0F};
    assert_false(compare(&desc, 1, same, expected, NULL).departs);
    assert_true(compare(&desc, 1, next, expected, NULL).departs);
    dl_comparison c = compare(&desc, 1, number, expected, NULL);
    assert_true(c.departs && c.element == 1);
    desc.slot[0].dtype = desc.slot[1].dtype = DL_I32;
    const int32_t a[2] = {1, 2}, b[2] = {1, 3};
    KIT_OK(dl_compare_slot(&desc, 1, a, b, NULL, 0, &c));
    assert_true(c.departs && c.element == 1 && c.bound == 0);
}

/* Types of 16 bits: u is 2^-8 and 2^-11, values are read right. */
static void short_floats_are_read(void **state) {
    (void)state;
    dl_op_desc desc = {.kind = DL_OP_ADD};
    const uint16_t values[2][3] = {{0x3F80, 0xC020, 0x0001},
                                   {0x3C00, 0xC100, 0x0001}}; /* 1, -2.5, the least */
    const uint16_t others[2] = {0x4000, 0x4000};              /* 2 in both */
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 3; i++) {
            desc.slot[i] = floats(1, 3);
            desc.slot[i].dtype = half ? DL_F16 : DL_BF16;
        }
        dl_comparison c;
        KIT_OK(dl_compare_slot(&desc, 2, values[half], values[half], values[half], 0, &c));
        assert_true(fabs(c.bound - 8 * (half ? 0x1p-11 : 0x1p-8) * sqrt(2.0)) < 1e-9);
        uint16_t wrong[3] = {values[half][0], others[half], values[half][2]};
        KIT_OK(dl_compare_slot(&desc, 2, wrong, values[half], NULL, 0, &c));
        assert_int_equal(c.element, 1);
        assert_true(c.expected == -2.5 && c.got == 2.0);
        dl_make_positive(&desc, 0, wrong);
        assert_int_equal(wrong[1], others[half]);
    }
}

/* What a formula subtracts becomes negative, so that it is added. */
static void subtracted_values_are_negated(void **state) {
    (void)state;
    dl_op_desc desc = {.kind = DL_OP_BATCH_NORM_BACKWARD_DATA};
    desc.slot[0] = desc.slot[1] = desc.slot[4] = floats(3, 2);
    desc.slot[2] = (dl_tensor_desc){.present = true, .dtype = DL_F32, .shape = DL_SHAPE(1, 5, 2)};
    desc.slot[3] = (dl_tensor_desc){.present = true, .dtype = DL_F64, .shape = DL_SHAPE(1, 2, 2)};
    float stat[10];
    double dstat[4] = {-1, 2, -3, 4};
    for (int i = 0; i < 10; i++) {
        stat[i] = i % 2 == 0 ? -1.0F : 1.0F;
    }
    dl_make_positive(&desc, 2, stat);
    dl_make_positive(&desc, 3, dstat);
    for (int i = 0; i < 10; i++) {
        assert_true(stat[i] == (i < 2 ? -1.0F : 1.0F)); /* the means */
    }
    for (int i = 0; i < 4; i++) {
        assert_true(dstat[i] == -(double)(i + 1));
    }
}

/* The positive run would write where the true one has saved: such kinds are judged by their results. */
static void kinds_that_save_are_judged_by_results(void **state) {
    (void)state;
    int n = 0;
    for (int kind = 0; kind < DL_N_OP_KINDS; kind++) {
        const dl_op_info *info = dl_op_info_of((dl_op_kind)kind);
        for (int s = 0; s < info->n_slots && info->rounding != NULL; s++) {
            assert_false(info->rounding->of_terms && info->slots[s].saved &&
                         info->slots[s].role == DL_SLOT_OUT);
            n++;
        }
        assert_true(info->flops == NULL || info->rounding != NULL); /* who counts FLOPs rounds */
    }
    assert_true(n > 50);
}

static const char layers[] = "- conv2d: {filters: 6, kernel_size: 3, activation: tanh}\n"
                             "- batch_normalization: {activation: relu}\n"
                             "- max_pooling2d: {}\n"
                             "- conv2d: {filters: 4, kernel_size: 2, padding: same, activation: sigmoid}\n"
                             "- flatten: {}\n"
                             "- dropout: {rate: 0.5}\n"
                             "- dense: {units: 12, activation: relu}\n"
                             "- dense: {units: 5}\n";

/* Makes the weights of each filter of the first layer add up to zero: what all inputs have in common cancels.
 */
static void centre_filters(kit *k) {
    const dl_parameter *weight = dl_parameter_find(&k->model->table, "/conv2d/weight");
    const int64_t size = dl_shape_stride(&weight->shape, 1);
    float *values = kit_arena(k, DL_STORE_PARAMETER) + weight->offset;
    for (int64_t filter = 0; filter < weight->shape.dim[0]; filter++) {
        double sum = 0;
        for (int64_t i = 0; i < size; i++) {
            sum += (double)values[filter * size + i];
        }
        for (int64_t i = 0; i < size; i++) {
            values[filter * size + i] -= (float)(sum / (double)size);
        }
    }
    int refresh = -1;
    KIT_OK(dl_plan_add(k->plan, DL_PROGRAM_REFRESH, 0, &refresh));
    KIT_OK(dl_execute(k->plan, refresh, NULL));
}

/* `offset` is added to all inputs: it is large where sums of large terms are to become small. */
static dl_crosscheck *check_steps(kit *k, int program, dl_device *other, dl_perturbation perturbation,
                                  float offset) {
    kit_batch batch;
    dl_crosscheck *c = NULL;
    kit_init_parameters(k);
    if (offset > 0) {
        centre_filters(k);
    }
    kit_batch_create(&batch, k->model, 6, 0.01);
    for (int64_t i = 0; i < 6 * dl_shape_elements(&k->model->value[0].shape); i++) {
        ((float *)batch.x)[i] += offset;
    }
    KIT_OK(dl_crosscheck_create(k->plan, program, other, perturbation, &c));
    for (int step = 1; step <= 2; step++) {
        batch.step.step = batch.step.t = step;
        batch.host.step = &batch.step;
        KIT_OK(dl_crosscheck_step(c, &batch.host));
    }
    kit_batch_free(&batch);
    return c;
}

/* Every operation but packs is compared and agrees; every weight that is off is found. */
static void weights_are_found(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        kit k;
        kit_open(&k);
        kit_model(&k, DL_SHAPE(9, 9, 2), layers);
        const kit_options options = {.backend = way % 2 == 0 ? "cpu" : "ref",
                                     .batch_size = 6,
                                     .reproducible = way >= 2,
                                     .runnable = true};
        kit_plan(&k, &options);
        const int program = kit_add(&k, DL_PROGRAM_TRAIN, 6);
        KIT_OK(dl_plan_finish(k.plan));
        dl_device *other = NULL;
        KIT_OK(dl_device_open(dl_backend_find(way % 2 == 0 ? "ref" : "cpu"),
                              &(dl_device_options){.n_threads = 1}, &other));
        dl_crosscheck *c = check_steps(&k, program, other, (dl_perturbation){.parameter = -1}, 1000.0F);
        const dl_program *p = k.plan->program[program];
        assert_int_equal(c->first, -1);
        dl_crosscheck_destroy(&c);
        c = check_steps(&k, program, other, (dl_perturbation){.parameter = -1}, 0.0F);
        assert_int_equal(c->first, -1);
        for (int i = 0; i < p->n_instructions; i++) {
            const bool operation = p->instruction[i].type == DL_DO_OPERATION;
            assert_true(c->comparison[i].compared == (operation && p->instruction[i].kind != DL_OP_PACK));
        }
        dl_crosscheck_destroy(&c);
        for (int row = 0; row < k.model->table.n; row++) {
            const dl_parameter *parameter = &k.model->table.parameter[row];
            if (parameter->statistic || parameter->init == DL_INIT_ZERO) {
                continue; /* zero stays zero */
            }
            c = check_steps(&k, program, other, (dl_perturbation){row, 1e-2}, 0.0F);
            assert_true(c->first >= 0);
            assert_int_equal(p->instruction[c->first].layer, parameter->layer_index);
            assert_int_equal(c->first_step, 1);
            dl_crosscheck_destroy(&c);
        }
        dl_device_close(&other);
        kit_close(&k);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_judged_by_their_terms),
        cmocka_unit_test(no_element_is_judged_by_nothing),
        cmocka_unit_test(moved_values_are_equal),
        cmocka_unit_test(short_floats_are_read),
        cmocka_unit_test(subtracted_values_are_negated),
        cmocka_unit_test(kinds_that_save_are_judged_by_results),
        cmocka_unit_test(weights_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
