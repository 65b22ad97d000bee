/* The end of a step: clipping, learning rates of layers, averages, and a step that must change nothing. */
#include "program_kit.h"

enum { SAMPLES = 6 };

static const char layers[] = "- dense: {units: 9, activation: tanh, name: first, learning_rate_factor: 0.5}\n"
                             "- dense: {units: 40, activation: tanh, name: second}\n"
                             "- dense: {units: 20, activation: tanh, name: third, learning_rate_factor: 4}\n"
                             "- dense: {units: 5, name: last, learning_rate_factor: 4}\n";

/* A runnable plan with plain gradient descent; program 0 trains, 1 evaluates. */
typedef struct ready {
    kit k;
    kit_batch batch;
    float *before; /* the parameters it began with */
} ready;

static size_t arena_bytes(const ready *r) {
    return (size_t)r->k.model->table.trainable_elements * sizeof(float);
}

static float *averages(const ready *r) {
    return (float *)(void *)((char *)r->k.plan->memory[DL_STORE_STATE] + DL_EMA_OFFSET);
}

static void open_ready(ready *r, double clip_norm, double ema_decay) {
    const kit_options options = {.backend = "cpu",
                                 .batch_size = SAMPLES,
                                 .sgd = true,
                                 .clip_norm = clip_norm,
                                 .ema_decay = ema_decay,
                                 .runnable = true};
    kit_open(&r->k);
    kit_model(&r->k, DL_SHAPE(11), layers);
    kit_plan(&r->k, &options);
    (void)kit_add(&r->k, DL_PROGRAM_TRAIN, SAMPLES);
    (void)kit_add(&r->k, DL_PROGRAM_EVALUATE, SAMPLES);
    KIT_OK(dl_plan_finish(r->k.plan));
    kit_init_parameters(&r->k);
    kit_batch_create(&r->batch, r->k.model, SAMPLES, 0.25);
    KIT_OK(dl_alloc(arena_bytes(r), 1, &r->before));
    memcpy(r->before, kit_arena(&r->k, DL_STORE_PARAMETER), arena_bytes(r));
}

static void close_ready(ready *r) {
    dl_free(&r->before);
    kit_batch_free(&r->batch);
    kit_close(&r->k);
}

static const double *norm_of(const ready *r) {
    const dl_program *program = r->k.plan->program[0];
    assert_true(program->norm >= 0);
    return dl_slot_address(r->k.plan, program, program->norm);
}

static double gradient_norm(const ready *r) {
    const float *g = kit_arena(&r->k, DL_STORE_GRADIENT);
    double sum = 0;
    for (int64_t i = 0; i < r->k.model->table.trainable_elements; i++) {
        sum += (double)g[i] * (double)g[i];
    }
    return sqrt(sum);
}

/* Every element moved by rate x factor x clip x gradient, buckets of several layers and gaps included. */
static void check_step(const ready *r, double clip) {
    const float *w = kit_arena(&r->k, DL_STORE_PARAMETER), *g = kit_arena(&r->k, DL_STORE_GRADIENT);
    for (int p = 0; p < r->k.model->table.n; p++) {
        const dl_parameter *parameter = &r->k.model->table.parameter[p];
        const double factor = strcmp(parameter->layer, "first") == 0    ? 0.5
                              : strcmp(parameter->layer, "second") == 0 ? 1
                                                                        : 4;
        assert_true(parameter->rate_factor == factor);
        for (int64_t i = parameter->offset; i < parameter->offset + parameter->n_elements; i++) {
            const double expected = (double)r->before[i] - 0.25 * factor * clip * (double)g[i];
            assert_true(fabs((double)w[i] - expected) < 1e-6);
        }
    }
}

static void layers_have_their_rates(void **state) {
    (void)state;
    ready r;
    open_ready(&r, 0, 0);
    assert_true(r.k.model->table.n_buckets > 1);
    kit_run(&r.k, 0, &r.batch);
    assert_true(gradient_norm(&r) > 0.1);
    check_step(&r, 1);
    assert_int_equal(r.k.plan->program[0]->norm, -1);
    close_ready(&r);
}

static void the_gradient_is_clipped(void **state) {
    (void)state;
    static const double limits[] = {0.03, 1e6};
    for (int i = 0; i < 2; i++) {
        ready r;
        open_ready(&r, limits[i], 0);
        kit_run(&r.k, 0, &r.batch);
        const double norm = gradient_norm(&r);
        const double factor = i == 0 ? 0.03 / (norm + 1e-6) : 1;
        assert_true(fabs(norm_of(&r)[DL_NORM_VALUE] / norm - 1) < 1e-12);
        assert_true(fabs(norm_of(&r)[DL_NORM_FACTOR] / factor - 1) < 1e-12);
        check_step(&r, factor);
        close_ready(&r);
    }
}

/* A short batch: the sum of its gradients is scaled by the whole batch, the norm is of their mean. */
static void the_norm_is_of_the_mean(void **state) {
    (void)state;
    ready r;
    open_ready(&r, 0.03, 0);
    r.batch.step.weight = 2;
    kit_run(&r.k, 0, &r.batch);
    const double norm = gradient_norm(&r) * SAMPLES / 2;
    assert_true(fabs(norm_of(&r)[DL_NORM_VALUE] / norm - 1) < 1e-12);
    check_step(&r, 0.03 / (norm + 1e-6) * SAMPLES / 2);
    close_ready(&r);
}

static void averages_follow_and_are_evaluated(void **state) {
    (void)state;
    ready r;
    open_ready(&r, 0, 0.75);
    const int64_t n = r.k.model->table.trainable_elements;
    double *expected = NULL;
    KIT_OK(dl_alloc((size_t)n, sizeof *expected, &expected));
    for (int step = 1; step <= 4; step++) {
        r.batch.step.step = r.batch.step.t = step;
        kit_run(&r.k, 0, &r.batch);
        const float *w = kit_arena(&r.k, DL_STORE_PARAMETER);
        for (int64_t i = 0; i < n; i++) {
            expected[i] = step == 1 ? (double)w[i] : 0.75 * expected[i] + 0.25 * (double)w[i];
            assert_true(fabs((double)averages(&r)[i] - expected[i]) < 1e-6);
        }
    }
    int refresh = -1;
    KIT_OK(dl_plan_add(r.k.plan, DL_PROGRAM_REFRESH, 0, &refresh));
    KIT_OK(dl_execute(r.k.plan, refresh, NULL));
    kit_run(&r.k, 1, &r.batch);
    const double averaged = kit_loss(&r.k, 1);
    memcpy(kit_arena(&r.k, DL_STORE_PARAMETER), averages(&r), arena_bytes(&r));
    KIT_OK(dl_execute(r.k.plan, refresh, NULL));
    r.batch.step.learning_rate = 0;
    kit_run(&r.k, 0, &r.batch); /* the loss of a training step with the averages as parameters */
    assert_true(fabs(kit_loss(&r.k, 0) - averaged) < 1e-5 * averaged);
    dl_free(&expected);
    close_ready(&r);
}

/* A NaN is found on the way to the norm; parameters and averages stay. */
static void a_bad_step_changes_nothing(void **state) {
    (void)state;
    for (int clips = 0; clips < 2; clips++) {
        ready r;
        open_ready(&r, clips ? 0.03 : 0, 0.75);
        memset(averages(&r), 0, arena_bytes(&r));
        ((float *)r.batch.x)[5] = NAN;
        kit_run(&r.k, 0, &r.batch);
        const dl_program *program = r.k.plan->program[0];
        const int32_t *control = dl_slot_address(r.k.plan, program, program->control);
        assert_int_equal(control[DL_CONTROL_NONFINITE], 1);
        assert_memory_equal(kit_arena(&r.k, DL_STORE_PARAMETER), r.before, arena_bytes(&r));
        for (int64_t i = 0; i < r.k.model->table.trainable_elements; i++) {
            assert_true(averages(&r)[i] == 0);
        }
        close_ready(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_have_their_rates),    cmocka_unit_test(the_gradient_is_clipped),
        cmocka_unit_test(the_norm_is_of_the_mean),    cmocka_unit_test(averages_follow_and_are_evaluated),
        cmocka_unit_test(a_bad_step_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
