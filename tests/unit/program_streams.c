/* Programs on a device with streams: whatever order its lanes run in, as far as the list's waits leave one,
 * the numbers are those of `ref`; and a list that lacks a wait is found out by some order. */
#include "stream_kit.h"

#include "base/clock.h"

#include <limits.h>

enum { BATCH = 6, STEPS = 3, N_ORDERS = 6 };

static const char *const cnn = "  - conv2d: {filters: 4, kernel_size: 3, activation: relu}\n"
                               "  - max_pooling2d: {pool_size: 2}\n"
                               "  - flatten: {}\n"
                               "  - dropout: {rate: 0.3}\n"
                               "  - dense: {units: 5, activation: softmax}\n";
static const char *const residual = "  - conv2d: {filters: 4, kernel_size: 3, padding: same}\n"
                                    "  - batch_normalization: {}\n"
                                    "  - activation: {function: relu, name: b}\n"
                                    "  - conv2d: {filters: 4, kernel_size: 3, padding: same}\n"
                                    "  - batch_normalization: {name: d}\n"
                                    "  - add: {from: [b, d]}\n"
                                    "  - flatten: {}\n"
                                    "  - dense: {units: 5, activation: softmax}\n";

/* Every order of the three lanes. */
static const int orders[N_ORDERS][DL_N_LANES] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                                 {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

typedef struct outcome {
    float *parameters; /* after STEPS steps */
    double loss[STEPS];
    size_t n;
} outcome;

static void outcome_free(outcome *o) {
    dl_free(&o->parameters);
}

/* Samples that differ from step to step: what is left over from the step before is wrong. */
static void change_batch(kit_batch *b, const dl_model *model, int step) {
    const int64_t n = BATCH * dl_shape_elements(&model->value[0].shape);
    for (int64_t i = 0; i < n; i++) {
        ((float *)b->x)[i] = (float)kit_random(40 + (uint64_t)step, (uint64_t)i);
    }
    for (int64_t i = 0; i < BATCH; i++) {
        b->y[i] = (int32_t)((i * 7 + step * 3) % KIT_CLASSES);
        b->ids[i] = 100 * (step + 1) + i;
    }
    b->step = (dl_step_block){
        .step = step + 1, .t = step + 1, .weight = BATCH, .learning_rate = 0.1 / (double)(step + 1)};
}

/* Trains from the same start. The host looks at a step's loss only in the end, where the backend lets it. */
static void train(kit *k, int program, outcome *o) {
    kit_batch b;
    kit_batch_create(&b, k->model, BATCH, 0.1);
    kit_init_parameters(k);
    if (k->plan->bytes[DL_STORE_OPTIMIZER] > 0) {
        memset(k->plan->memory[DL_STORE_OPTIMIZER], 0, k->plan->bytes[DL_STORE_OPTIMIZER]);
    }
    for (int step = 0; step < STEPS; step++) {
        change_batch(&b, k->model, step);
        kit_run(k, program, &b);
    }
    KIT_OK(dl_device_synchronize(k->device));
    o->loss[STEPS - 1] = kit_loss(k, program);
    o->n = k->plan->bytes[DL_STORE_PARAMETER];
    dl_free(&o->parameters);
    KIT_OK(dl_alloc(o->n, 1, &o->parameters));
    memcpy(o->parameters, k->plan->memory[DL_STORE_PARAMETER], o->n);
    kit_batch_free(&b);
}

static bool same(const outcome *a, const outcome *b) {
    return memcmp(a->parameters, b->parameters, a->n) == 0 && a->loss[STEPS - 1] == b->loss[STEPS - 1];
}

/* A plan with a training program on `backend`, ready to run. */
static int make(kit *k, const char *layers, const kit_options *options, const dl_backend *backend) {
    kit_open(k);
    kit_model(k, DL_SHAPE(8, 8, 1), layers);
    kit_options o = *options;
    o.batch_size = BATCH;
    o.runnable = true;
    o.device_of = backend;
    kit_plan(k, &o);
    const int program = kit_add(k, DL_PROGRAM_TRAIN, BATCH);
    KIT_OK(dl_plan_finish(k->plan));
    return program;
}

/* What `ref` computes, one instruction after the other. */
static outcome expected(const char *layers, const kit_options *options) {
    kit k;
    outcome o = {.n = 0};
    const int program = make(&k, layers, options, NULL);
    train(&k, program, &o);
    kit_close(&k);
    return o;
}

static void set_order(int number) {
    memcpy(sim_state.order, orders[number], sizeof orders[number]);
}

static const kit_options variants[] = {
    {.clip_norm = 1},
    {.accumulate = 2},
    {.reproducible = true},
    {.sgd = true, .ema_decay = 0.9},
};
enum { N_VARIANTS = sizeof variants / sizeof variants[0] };

static void every_order_gives_the_same_numbers(void **state) {
    (void)state;
    const char *const models[] = {cnn, residual};
    for (int m = 0; m < 2; m++) {
        for (int v = 0; v < N_VARIANTS; v++) {
            kit k;
            outcome o = {.n = 0}, wanted = expected(models[m], &variants[v]);
            const int program = make(&k, models[m], &variants[v], &sim_backend);
            int64_t held = 0;
            for (int i = 0; i < N_ORDERS; i++) {
                set_order(i);
                train(&k, program, &o);
                (void)snprintf(kit_context, sizeof kit_context, "model %d, variant %d, order %d", m, v, i);
                assert_true(same(&o, &wanted));
                held += sim_state.n_waits_held;
            }
            assert_true(held > 0); /* the events did keep something back */
            outcome_free(&o);
            outcome_free(&wanted);
            kit_close(&k);
        }
    }
}

/* One rank whose communicator works in the device's streams, as nccl does. */
static int n_looks, n_left; /* looks so far; good ones before another rank fails */

static dl_status look(dl_comm *comm) {
    (void)comm;
    n_looks++;
    DL_RETURN_ERROR_IF(n_left-- == 0, DL_ERR_PEER, "rank 1 has died");
    return DL_OK;
}

static dl_status join_in_stream(dl_device *device, dl_comm **out) {
    static dl_comm_functions functions;
    (void)device;
    DL_RETURN_IF_ERROR(dl_comm_self_create(out));
    functions = *(*out)->functions;
    functions.on_device = functions.in_stream = true;
    functions.check = look;
    (*out)->functions = &functions;
    return DL_OK;
}

/* From the second run on a program goes as one piece, behind the loads of that step. */
static void a_run_as_one_piece_gives_the_same_numbers(void **state) {
    (void)state;
    const char *const models[] = {cnn, residual};
    for (int m = 0; m < 2; m++) {
        for (int v = 0; v < N_VARIANTS; v++) {
            kit_options options = variants[v];
            if (options.reproducible) {
                continue; /* which `self` sums on the host */
            }
            kit k;
            outcome o = {.n = 0}, wanted = expected(models[m], &options);
            n_left = INT_MAX;
            options.join = join_in_stream;
            options.capture = true;
            const int program = make(&k, models[m], &options, &sim_backend);
            for (int i = 0; i < N_ORDERS; i++) {
                set_order(i);
                train(&k, program, &o);
                (void)snprintf(kit_context, sizeof kit_context, "model %d, variant %d, order %d", m, v, i);
                assert_true(same(&o, &wanted));
            }
            /* of the steps, and of the program that refreshes copies for each training */
            assert_int_equal(sim_state.n_launches, N_ORDERS * STEPS - 1 + N_ORDERS - 1);
            outcome_free(&o);
            outcome_free(&wanted);
            kit_close(&k);
        }
    }
}

/* Is the list without this wait found out: by the checker, by an order that gives other numbers? */
static bool numbers_differ(kit *k, int program, const outcome *wanted) {
    outcome o = {.n = 0};
    bool differ = false;
    for (int i = 0; i < N_ORDERS && !differ; i++) {
        set_order(i);
        train(k, program, &o);
        differ = !same(&o, wanted);
    }
    outcome_free(&o);
    return differ;
}

/* Takes each wait out of the list in turn, but those for exchanges, which communicators of the host make
 * while nothing else is handed over. */
static void a_missing_wait_is_found(void **state) {
    (void)state;
    const kit_options options = {.reproducible = true, .accumulate = 3};
    kit k;
    outcome wanted = expected(cnn, &options);
    const int number = make(&k, cnn, &options, &sim_backend);
    dl_program *program = k.plan->program[number];
    int n_tried = 0, n_seen = 0;
    for (int at = 0; at < program->n_instructions; at++) {
        dl_instruction *instruction = &program->instruction[at];
        for (int w = 0; w < instruction->n_waits; w++) {
            const dl_instruction whole = *instruction;
            instruction->n_waits--;
            instruction->waits[w] = instruction->waits[instruction->n_waits];
            const bool told = dl_program_verify(program) != DL_OK;
            const bool seen = numbers_differ(&k, number, &wanted);
            (void)snprintf(kit_context, sizeof kit_context, "instruction %d without wait %d", at, w);
            assert_true(told); /* the compiler makes no wait too many */
            n_tried++;
            n_seen += seen;
            *instruction = whole;
        }
    }
    print_message("%d of %d missing waits gave other numbers\n", n_seen, n_tried);
    assert_true(n_tried > 5);
    assert_true(2 * n_seen > n_tried);
    assert_false(numbers_differ(&k, number, &wanted));
    outcome_free(&wanted);
    kit_close(&k);
}

/* Loads that are on their way hold what the batch held when the step was handed over. */
static void a_batch_may_be_used_again(void **state) {
    (void)state;
    const kit_options options = {.sgd = true};
    kit k;
    const int program = make(&k, cnn, &options, &sim_backend);
    kit_batch b;
    kit_batch_create(&b, k.model, BATCH, 0.1);
    kit_init_parameters(&k);
    kit_run(&k, program, &b);
    const int64_t n = BATCH * dl_shape_elements(&k.model->value[0].shape);
    for (int64_t i = 0; i < n; i++) {
        ((float *)b.x)[i] = NAN;
    }
    KIT_OK(dl_device_synchronize(k.device));
    assert_true(isfinite(kit_loss(&k, program)));
    kit_batch_free(&b);
    kit_close(&k);
}

/* The host hands over so many steps, nothing of which has been done, and then waits for the first of them. */
static void steps_in_flight_are_limited(void **state) {
    (void)state;
    const kit_options options = {.sgd = true};
    kit k;
    const int program = make(&k, cnn, &options, &sim_backend);
    kit_batch b;
    kit_batch_create(&b, k.model, BATCH, 0.1);
    kit_init_parameters(&k);
    KIT_OK(dl_device_synchronize(k.device));
    const float *parameters = k.plan->memory[DL_STORE_PARAMETER];
    for (int step = 0; step <= sim_backend.steps_in_flight; step++) {
        const float before = parameters[0];
        kit_run(&k, program, &b);
        assert_true(parameters[0] == before);
    }
    const float before = parameters[0];
    const int64_t n_done = sim_state.n_done;
    kit_run(&k, program, &b);
    assert_true(parameters[0] != before);
    assert_true(sim_state.n_done >= n_done + k.plan->program[program]->n_instructions);
    kit_batch_free(&b);
    kit_close(&k);
}

/* Where training went wrong is found on streams too. */
static void the_first_bad_instruction_is_found(void **state) {
    (void)state;
    const kit_options options = {.sgd = true};
    kit k;
    const int program = make(&k, cnn, &options, &sim_backend);
    kit_batch b;
    int bad = -2;
    kit_batch_create(&b, k.model, BATCH, 0.1);
    kit_init_parameters(&k);
    KIT_OK(dl_device_synchronize(k.device));
    b.host.step = &b.step;
    KIT_OK(dl_execute_until_bad(k.plan, program, &b.host, &bad));
    assert_int_equal(bad, -1);
    ((float *)b.x)[3] = INFINITY;
    KIT_OK(dl_execute_until_bad(k.plan, program, &b.host, &bad));
    assert_true(bad >= 0);
    assert_int_equal(k.plan->program[program]->instruction[bad].phase, DL_PHASE_FORWARD);
    kit_batch_free(&b);
    kit_close(&k);
}

/* While the host waits for the device it looks after the other ranks, for which the device may be waiting. */
static void a_wait_ends_when_a_rank_dies(void **state) {
    (void)state;
    const kit_options options = {.sgd = true, .join = join_in_stream};
    kit k;
    n_left = INT_MAX;
    const int program = make(&k, residual, &options, &sim_backend);
    kit_batch b;
    kit_batch_create(&b, k.model, BATCH, 0.1);
    kit_init_parameters(&k);
    KIT_OK(dl_device_synchronize(k.device));
    n_looks = 0;
    kit_run(&k, program, &b);
    KIT_OK(dl_plan_wait(k.plan));
    const int n_good = n_looks;
    assert_true(n_good > 0);
    assert_true(isfinite(kit_loss(&k, program)));
    for (int i = 0; i < 2; i++) {
        kit_run(&k, program, &b);
    }
    n_left = 1 + n_good / 2;
    assert_int_equal(dl_plan_wait(k.plan), DL_ERR_PEER);
    n_left = INT_MAX;
    kit_batch_free(&b);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_gives_the_same_numbers),
        cmocka_unit_test(a_run_as_one_piece_gives_the_same_numbers),
        cmocka_unit_test(a_missing_wait_is_found),
        cmocka_unit_test(a_batch_may_be_used_again),
        cmocka_unit_test(steps_in_flight_are_limited),
        cmocka_unit_test(the_first_bad_instruction_is_found),
        cmocka_unit_test(a_wait_ends_when_a_rank_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
