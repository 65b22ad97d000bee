/* Programs on 16-bit floats: what is narrow and what stays float32, the numbers against those of float32, the
 * same bits under ref:strict, and loss scales. */
#include "program_kit.h"

#include "kernels/common/half.h"
#include "kernels/common/loss_scale.h"

enum { SAMPLES = 8 };

static const char images[] = "- conv2d: {filters: 4, kernel_size: 3, padding: same, name: stem}\n"
                             "- batch_normalization: {}\n"
                             "- activation: {function: relu, name: block}\n"
                             "- conv2d: {filters: 4, kernel_size: 3, padding: same}\n"
                             "- batch_normalization: {name: norm}\n"
                             "- add: {from: [norm, block]}\n"
                             "- max_pooling2d: {}\n"
                             "- dropout: {rate: 0.2}\n"
                             "- flatten: {}\n"
                             "- dense: {units: 12, activation: tanh}\n"
                             "- dense: {units: 5, activation: softmax}\n";
static const char sequences[] = "- embedding: {input_dim: 5, output_dim: 6}\n"
                                "- lstm: {units: 7, return_sequences: true, stateful: true}\n"
                                "- lstm: {units: 6, return_sequences: true, stateful: true}\n"
                                "- dense: {units: 5, activation: softmax}\n";

/* A plan that can be run, with one batch: program 0 trains, program 1 evaluates. */
typedef struct ready {
    kit k;
    kit_batch batch;
} ready;

static void open_ready(ready *r, const char *layers, const kit_options *options) {
    kit_options o = *options;
    o.batch_size = SAMPLES;
    o.runnable = true;
    kit_open(&r->k);
    r->k.tokens = layers == sequences;
    kit_model(&r->k, r->k.tokens ? DL_SHAPE(6) : DL_SHAPE(6, 6, 2), layers);
    kit_plan(&r->k, &o);
    (void)kit_add(&r->k, DL_PROGRAM_TRAIN, SAMPLES);
    (void)kit_add(&r->k, DL_PROGRAM_EVALUATE, SAMPLES);
    KIT_OK(dl_plan_finish(r->k.plan));
    kit_init_parameters(&r->k);
    kit_batch_create(&r->batch, r->k.model, SAMPLES, 0.01);
}

static void close_ready(ready *r) {
    kit_batch_free(&r->batch);
    kit_close(&r->k);
}

static void train(ready *r, int n_steps) {
    for (int step = 1; step <= n_steps; step++) {
        r->batch.step.step = r->batch.step.t = step;
        kit_run(&r->k, 0, &r->batch);
    }
}

static size_t arena_bytes(const ready *r) {
    return (size_t)r->k.model->table.trainable_elements * sizeof(float);
}

/* ||a - b|| / ||b|| over the arena of gradients. */
static double gradient_difference(const ready *a, const ready *b) {
    const float *x = kit_arena(&a->k, DL_STORE_GRADIENT), *y = kit_arena(&b->k, DL_STORE_GRADIENT);
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < a->k.model->table.trainable_elements; i++) {
        difference += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        norm += (double)y[i] * (double)y[i];
    }
    return sqrt(difference / norm);
}

/* --- the list --- */

/* Every slot of an instruction has the type that the kind's description allows it, all 16-bit ones the same.
 */
static void check_types(const dl_program *program, dl_dtype half) {
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->type != DL_DO_OPERATION) {
            for (int s = 0; s < DL_OP_MAX_SLOTS && instruction->type == DL_DO_ALL_REDUCE; s++) {
                assert_true(instruction->slot[s] < 0 ||
                            !dl_dtype_is_half(program->slot[instruction->slot[s]].tensor.dtype));
            }
            continue;
        }
        const dl_op_info *info = dl_op_info_of(instruction->kind);
        int n_half = 0, n_wide = 0;
        for (int s = 0; s < info->n_slots; s++) {
            if (instruction->slot[s] >= 0) {
                const dl_dtype dtype = program->slot[instruction->slot[s]].tensor.dtype;
                n_half += dl_dtype_is_half(dtype);
                n_wide += info->slots[s].half && dtype == DL_F32;
                assert_true(!dl_dtype_is_half(dtype) || (info->slots[s].half && dtype == half));
            }
        }
        const bool converts = instruction->kind == DL_OP_CAST || instruction->kind == DL_OP_PACK;
        assert_true(converts || n_half == 0 || n_wide == 0);
    }
}

static void the_list_has_the_types_that_kinds_allow(void **state) {
    (void)state;
    static const char *const models[] = {images, sequences};
    for (int m = 0; m < 2; m++) {
        for (int pieces = 0; pieces < 2; pieces++) {
            ready r;
            open_ready(&r, models[m],
                       &(kit_options){.half = DL_BF16, .reproducible = pieces == 1, .clip_norm = 1});
            for (int p = 0; p < r.k.plan->n_programs; p++) {
                check_types(r.k.plan->program[p], DL_BF16);
            }
            close_ready(&r);
        }
    }
}

/* Activations take half of their memory, and weights have copies of half their size. */
static void memory_is_smaller(void **state) {
    (void)state;
    ready wide, narrow;
    open_ready(&wide, images, &(kit_options){.backend = "ref"});
    open_ready(&narrow, images, &(kit_options){.backend = "ref", .half = DL_BF16});
    size_t before[DL_N_STORAGES], after[DL_N_STORAGES];
    dl_plan_memory(wide.k.plan, before);
    dl_plan_memory(narrow.k.plan, after);
    assert_true((double)after[DL_STORE_ACTIVATION] < 0.62 * (double)before[DL_STORE_ACTIVATION]);
    assert_true(before[DL_STORE_COPY] == 0 && after[DL_STORE_COPY] > 0);
    assert_int_equal(after[DL_STORE_GRADIENT], before[DL_STORE_GRADIENT]);
    assert_int_equal(after[DL_STORE_PARAMETER], before[DL_STORE_PARAMETER]);
    close_ready(&wide);
    close_ready(&narrow);
}

/* Ranks that share layers exchange float32. */
static void ranks_add_float32(void **state) {
    (void)state;
    const kit_options options = {.batch_size = 6, .tensor = 2, .half = DL_BF16};
    kit k;
    kit_open(&k);
    kit_model(
        &k, DL_SHAPE(6, 6, 2),
        "- flatten: {}\n- dense: {units: 16, activation: relu}\n- dense: {units: 8}\n- dense: {units: 5}\n");
    kit_plan(&k, &options);
    const int train_program = kit_add(&k, DL_PROGRAM_TRAIN, 6);
    KIT_OK(dl_plan_seal(k.plan));
    const dl_program *program = k.plan->program[train_program];
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        n += program->instruction[i].type == DL_DO_ALL_REDUCE &&
             program->instruction[i].axis == DL_AXIS_TENSOR;
    }
    assert_true(n > 0);
    check_types(program, DL_BF16);
    kit_close(&k);
}

/* --- the numbers --- */

/* Gradients of one step are those of float32 within some units of roundoff. */
static void gradients_are_those_of_float32(void **state) {
    (void)state;
    static const char *const models[] = {images, sequences}, *const backends[] = {"ref", "cpu"};
    for (int m = 0; m < 2; m++) {
        for (int b = 0; b < 2; b++) {
            ready wide, bf16, f16;
            open_ready(&wide, models[m], &(kit_options){.backend = backends[b]});
            open_ready(&bf16, models[m], &(kit_options){.backend = backends[b], .half = DL_BF16});
            open_ready(&f16, models[m], &(kit_options){.backend = backends[b], .half = DL_F16});
            train(&wide, 1);
            train(&bf16, 1);
            train(&f16, 1);
            const double of_bf16 = gradient_difference(&bf16, &wide),
                         of_f16 = gradient_difference(&f16, &wide);
            (void)snprintf(kit_context, sizeof kit_context, "%s %d: bfloat16 %g, float16 %g", backends[b], m,
                           of_bf16, of_f16);
            if (!(of_bf16 > 1e-5 && of_bf16 < 0.05 && of_f16 > 1e-6 && of_f16 < 0.006)) {
                fail_msg("%s", kit_context);
            }
            assert_true(fabs(kit_loss(&bf16.k, 0) - kit_loss(&wide.k, 0)) < 0.02 * kit_loss(&wide.k, 0));
            close_ready(&wide);
            close_ready(&bf16);
            close_ready(&f16);
        }
    }
}

static void strict_gives_the_same_bits(void **state) {
    (void)state;
    static const char *const models[] = {images, sequences};
    for (int m = 0; m < 2; m++) {
        ready ref, strict;
        const kit_options options = {.half = DL_F16, .loss_scale = 1024, .clip_norm = 0.5, .ema_decay = 0.9};
        kit_options fenced = options;
        fenced.backend = "ref:strict";
        open_ready(&ref, models[m], &options);
        open_ready(&strict, models[m], &fenced);
        train(&ref, 3);
        train(&strict, 3);
        assert_memory_equal(kit_arena(&ref.k, DL_STORE_PARAMETER), kit_arena(&strict.k, DL_STORE_PARAMETER),
                            arena_bytes(&ref));
        kit_run(&ref.k, 1, &ref.batch);
        kit_run(&strict.k, 1, &strict.batch);
        assert_true(kit_loss(&ref.k, 1) == kit_loss(&strict.k, 1));
        close_ready(&ref);
        close_ready(&strict);
    }
}

/* --- loss scales --- */

static double *scale_of(const ready *r) {
    return (double *)(void *)((char *)r->k.plan->memory[DL_STORE_STATE] + dl_loss_scale_offset(r->k.plan));
}

static void the_scale_follows_the_steps(void **state) {
    (void)state;
    int32_t good[DL_N_CONTROLS] = {0}, bad[DL_N_CONTROLS] = {[DL_CONTROL_NONFINITE] = 1},
            failed[DL_N_CONTROLS] = {[DL_CONTROL_NONFINITE] = 1, [DL_CONTROL_BAD_DATA] = 1};
    double scale[DL_N_SCALES] = {[DL_SCALE_VALUE] = 65536};
    dl_next_loss_scale(scale, bad);
    assert_true(scale[DL_SCALE_VALUE] == 32768);
    for (int i = 0; i < 1999; i++) {
        dl_next_loss_scale(scale, good);
    }
    assert_true(scale[DL_SCALE_VALUE] == 32768);
    dl_next_loss_scale(scale, failed);
    assert_true(scale[DL_SCALE_VALUE] == 32768 && scale[DL_SCALE_GOOD_STEPS] == 1999);
    dl_next_loss_scale(scale, good);
    assert_true(scale[DL_SCALE_VALUE] == 65536 && scale[DL_SCALE_GOOD_STEPS] == 0);
    dl_next_loss_scale(scale, good);
    dl_next_loss_scale(scale, bad);
    assert_true(scale[DL_SCALE_GOOD_STEPS] == 0);
    for (int i = 0; i < 40; i++) {
        dl_next_loss_scale(scale, bad);
    }
    assert_true(scale[DL_SCALE_VALUE] == DL_LOSS_SCALE_LEAST);
    scale[DL_SCALE_VALUE] = DL_LOSS_SCALE_MOST;
    scale[DL_SCALE_GOOD_STEPS] = 1999;
    dl_next_loss_scale(scale, good);
    assert_true(scale[DL_SCALE_VALUE] == DL_LOSS_SCALE_MOST);
}

/* In float32, where nothing underflows, a scale of a power of two changes no bit: not of the update, not of
 * the norm, whatever the loss. */
static void a_power_of_two_changes_no_bit(void **state) {
    (void)state;
    static const char *const losses[] = {"softmax_cross_entropy", "mean_squared_error"};
    for (int l = 0; l < 4; l++) {
        kit_options options = {.clip_norm = 0.01, .unfused = l >= 2};
        ready plain = {0}, scaled = {0};
        for (int s = 0; s < 2; s++) {
            ready *r = s == 0 ? &plain : &scaled;
            options.loss_scale = s == 0 ? 0 : 4096;
            kit_options o = options;
            o.batch_size = SAMPLES;
            o.runnable = true;
            kit_open(&r->k);
            r->k.loss = losses[l % 2];
            static const char *const none[] = {NULL};
            r->k.metrics = l % 2 == 1 ? none : NULL;
            kit_model(&r->k, DL_SHAPE(6, 6, 2),
                      "- flatten: {}\n- dense: {units: 7, activation: tanh}\n- dense: {units: 5}\n");
            kit_plan(&r->k, &o);
            (void)kit_add(&r->k, DL_PROGRAM_TRAIN, SAMPLES);
            KIT_OK(dl_plan_finish(r->k.plan));
            kit_init_parameters(&r->k);
            kit_batch_create(&r->batch, r->k.model, SAMPLES, 0.01);
            train(r, 3);
        }
        assert_memory_equal(kit_arena(&plain.k, DL_STORE_PARAMETER), kit_arena(&scaled.k, DL_STORE_PARAMETER),
                            arena_bytes(&plain));
        assert_true(scale_of(&scaled)[DL_SCALE_VALUE] == 4096 && scale_of(&scaled)[DL_SCALE_GOOD_STEPS] == 3);
        close_ready(&plain);
        close_ready(&scaled);
    }
}

/* A scale that overflows: the step changes nothing but the scale. */
static void an_overflow_changes_the_scale_alone(void **state) {
    (void)state;
    ready r, untouched;
    const kit_options options = {.half = DL_F16, .loss_scale = 1e30, .ema_decay = 0.9};
    open_ready(&r, images, &options);
    open_ready(&untouched, images, &options);
    train(&r, 1);
    const dl_storage kept[] = {DL_STORE_PARAMETER, DL_STORE_OPTIMIZER, DL_STORE_STATISTICS, DL_STORE_COPY};
    for (size_t s = 0; s < sizeof kept / sizeof *kept; s++) {
        assert_memory_equal(r.k.plan->memory[kept[s]], untouched.k.plan->memory[kept[s]],
                            r.k.plan->bytes[kept[s]]);
    }
    assert_memory_equal(r.k.plan->memory[DL_STORE_STATE], untouched.k.plan->memory[DL_STORE_STATE],
                        dl_loss_scale_offset(r.k.plan));
    assert_true(scale_of(&r)[DL_SCALE_VALUE] == 5e29);
    assert_true(isfinite(kit_loss(&r.k, 0)));
    close_ready(&r);
    close_ready(&untouched);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_has_the_types_that_kinds_allow),
        cmocka_unit_test(memory_is_smaller),
        cmocka_unit_test(ranks_add_float32),
        cmocka_unit_test(gradients_are_those_of_float32),
        cmocka_unit_test(strict_gives_the_same_bits),
        cmocka_unit_test(the_scale_follows_the_steps),
        cmocka_unit_test(a_power_of_two_changes_no_bit),
        cmocka_unit_test(an_overflow_changes_the_scale_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
