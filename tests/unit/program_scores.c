/* Programs for the scores alone: those of an evaluation, to the last bit, and nothing but what they are made
 * of. */
#include "program_kit.h"

enum { SAMPLES = 7, BATCHES = 3 };

static const char images[] = "- conv2d: {filters: 4, kernel_size: 3, padding: same, activation: relu}\n"
                             "- batch_normalization: {}\n"
                             "- max_pooling2d: {}\n"
                             "- flatten: {}\n"
                             "- dropout: {rate: 0.4}\n"
                             "- dense: {units: 12, activation: tanh}\n"
                             "- dense: {units: 5, activation: softmax}\n";
static const char text[] = "- embedding: {input_dim: 5, output_dim: 6}\n"
                           "- lstm: {units: 8, return_sequences: true, stateful: true}\n"
                           "- lstm: {units: 6, return_sequences: true, stateful: true}\n"
                           "- dense: {units: 5}\n";
static const char sequences[] = "- lstm: {units: 8, bidirectional: true, return_sequences: true}\n"
                                "- lstm: {units: 6}\n"
                                "- dense: {units: 5}\n";

/* A plan with one evaluation program, and a batch for it. */
typedef struct ready {
    kit k;
    kit_batch batch;
} ready;

static void open_ready(ready *r, const char *backend, const char *layers, bool forward_only) {
    const kit_options options = {.backend = backend,
                                 .batch_size = SAMPLES,
                                 .runnable = true,
                                 .predict = true,
                                 .forward_only = forward_only};
    kit_open(&r->k);
    r->k.tokens = layers == text;
    r->k.any_length = layers == sequences;
    kit_model(&r->k,
              layers == text        ? DL_SHAPE(4)
              : layers == sequences ? DL_SHAPE(6, 3)
                                    : DL_SHAPE(8, 8, 2),
              layers);
    kit_plan(&r->k, &options);
    (void)kit_add(&r->k, DL_PROGRAM_EVALUATE, SAMPLES);
    KIT_OK(dl_plan_finish(r->k.plan));
    kit_init_parameters(&r->k);
    kit_batch_create(&r->batch, r->k.model, SAMPLES, 0);
    if (forward_only) {
        r->batch.field[1] = NULL; /* there are no labels */
        r->batch.host.ids = NULL;
    }
}

static void close_ready(ready *r) {
    kit_batch_free(&r->batch);
    kit_close(&r->k);
}

/* Every operation makes what the scores are made of: none sums, and a layer makes no more than it must. */
static void check_program(const dl_program *program) {
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        assert_int_not_equal(instruction->type, DL_DO_ALL_REDUCE);
        assert_true(instruction->type != DL_DO_OPERATION || instruction->kind != DL_OP_SUM_SAMPLES);
        assert_true(instruction->type != DL_DO_LOAD || instruction->load != 1);
    }
}

static void check(const char *backend, const char *layers) {
    ready whole, alone;
    (void)snprintf(kit_context, sizeof kit_context, "%s on %s", layers, backend);
    open_ready(&whole, backend, layers, false);
    open_ready(&alone, backend, layers, true);
    const dl_program *a = whole.k.plan->program[0], *b = alone.k.plan->program[0];
    check_program(b);
    assert_true(b->n_instructions < a->n_instructions);
    assert_int_equal(a->slot[a->result].n_bytes, b->slot[b->result].n_bytes);
    for (int s = 0; s < DL_N_STORAGES; s++) {
        assert_true(alone.k.plan->bytes[s] <= whole.k.plan->bytes[s]);
    }
    for (int batch = 0; batch < BATCHES; batch++) { /* what is carried goes on */
        kit_run(&whole.k, 0, &whole.batch);
        kit_run(&alone.k, 0, &alone.batch);
        assert_memory_equal(dl_slot_address(whole.k.plan, a, a->result),
                            dl_slot_address(alone.k.plan, b, b->result), a->slot[a->result].n_bytes);
    }
    close_ready(&whole);
    close_ready(&alone);
}

static void scores_are_those_of_an_evaluation(void **state) {
    (void)state;
    static const char *const backends[] = {"ref", "ref:strict", "cpu"};
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        check(backends[i], images);
        check(backends[i], text);
        check(backends[i], sequences);
    }
}

/* In a plan that does not train there is no room for gradients and moments. */
static void no_memory_of_training(void **state) {
    (void)state;
    static const dl_storage none[] = {DL_STORE_GRADIENT, DL_STORE_OPTIMIZER, DL_STORE_EXCHANGE,
                                      DL_STORE_STATE};
    ready r;
    open_ready(&r, "cpu", images, true);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(r.k.plan->bytes[none[i]], 0);
    }
    close_ready(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_an_evaluation),
        cmocka_unit_test(no_memory_of_training),
    };
    return cmocka_run_group_tests_name("program_scores", tests, NULL, NULL);
}
