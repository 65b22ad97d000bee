/* Embeddings and the dense layers behind them: where they become one, and that nothing else changes by it. */
#include "program_kit.h"

#include "kernels/cpu/cpu.h"

enum { SAMPLES = 8, POSITIONS = 40, SEEN = 3 }; /* tokens of the batch: 0 .. SEEN - 1 */

#define EMBEDDING "- embedding: {input_dim: 5, output_dim: 33}\n"
#define LSTM "- lstm: {units: 9}\n"
#define DENSE "- dense: {units: 5}\n"

/* The same model twice; a view keeps the layers of the second apart. */
static const char *const plain = EMBEDDING LSTM DENSE, *const viewed = EMBEDDING
                                                       "- reshape: {shape: [40, 33]}\n" LSTM DENSE;

/* A model of tokens, ready to run. */
typedef struct token_net {
    kit k;
    kit_batch batch;
    int train, evaluate;
} token_net;

static void open_net(token_net *n, const char *layers, int64_t positions, const kit_options *options) {
    kit_options o = *options;
    o.batch_size = SAMPLES;
    o.runnable = o.sgd = true;
    kit_open(&n->k);
    n->k.tokens = true;
    kit_model(&n->k, DL_SHAPE(positions), layers);
    kit_plan(&n->k, &o);
    n->train = kit_add(&n->k, DL_PROGRAM_TRAIN, SAMPLES);
    n->evaluate = kit_add(&n->k, DL_PROGRAM_EVALUATE, SAMPLES);
    KIT_OK(dl_plan_finish(n->k.plan));
    kit_init_parameters(&n->k);
    kit_batch_create(&n->batch, n->k.model, SAMPLES, 0.0);
    for (int64_t i = 0; i < SAMPLES * positions; i++) {
        ((int32_t *)n->batch.x)[i] %= SEEN;
    }
}

static void close_net(token_net *n) {
    kit_batch_free(&n->batch);
    kit_close(&n->k);
}

/* How many fused instructions a model has: forwards in training, backwards, forwards in evaluation. */
static void expect(const char *layers, int64_t positions, const kit_options *options, int forward,
                   int backward, int evaluation) {
    token_net n;
    open_net(&n, layers, positions, options);
    (void)snprintf(kit_context, sizeof kit_context, "%d positions, %s:\n%s", (int)positions, options->backend,
                   layers);
    const int found[] = {kit_count(&n.k, n.train, DL_OP_EMBEDDING_DENSE_FORWARD),
                         kit_count(&n.k, n.train, DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS),
                         kit_count(&n.k, n.evaluate, DL_OP_EMBEDDING_DENSE_FORWARD)};
    if (found[0] != forward || found[1] != backward || found[2] != evaluation) {
        fail_msg("%d, %d, %d instead of %d, %d, %d: %s", found[0], found[1], found[2], forward, backward,
                 evaluation, kit_context);
    }
    if (forward + backward > 0) { /* none of what they replace is left */
        assert_int_equal(kit_count(&n.k, n.train, DL_OP_EMBEDDING_FORWARD), 0);
        assert_int_equal(kit_count(&n.k, n.train, DL_OP_EMBEDDING_BACKWARD_WEIGHTS), 0);
    }
    close_net(&n);
}

static void only_layers_of_their_own_become_one(void **state) {
    (void)state;
    static const kit_options ref = {.backend = "ref"}, unfused = {.backend = "ref", .unfused = true},
                             micro = {.backend = "ref", .accumulate = 2};
    expect(plain, POSITIONS, &ref, 1, 1, 1);
    expect(plain, POSITIONS, &micro, 2, 2, 1);
    expect(plain, POSITIONS, &unfused, 0, 0, 0);
    expect(viewed, POSITIONS, &ref, 0, 0, 0);
    expect(plain, 31, &ref, 0, 0, 0); /* 248 tokens are too few */
    expect(EMBEDDING "- dropout: {rate: 0.5}\n" LSTM DENSE, POSITIONS, &ref, 0, 0, 1);
    expect(EMBEDDING "- lstm: {units: 9, bidirectional: true}\n" DENSE, POSITIONS, &ref, 0, 0, 0);
    expect(EMBEDDING "- dense: {units: 6, activation: relu}\n" LSTM DENSE, POSITIONS, &ref, 0, 0, 0);
    expect(EMBEDDING "- dense: {units: 6}\n" LSTM DENSE, POSITIONS, &ref, 1, 1, 1);
    expect("- embedding: {input_dim: 5, output_dim: 33, name: e}\n- dense: {units: 33, name: d}\n"
           "- add: {from: [d, e]}\n" LSTM DENSE,
           POSITIONS, &ref, 0, 0, 0);
    expect("- embedding: {input_dim: 5, output_dim: 33, trainable: false}\n" LSTM DENSE, POSITIONS, &ref, 0,
           0, 1);
    expect(EMBEDDING "- lstm: {units: 9, trainable: false}\n" DENSE, POSITIONS, &ref, 0, 0, 1);
    expect("- embedding: {input_dim: 5, output_dim: 33, trainable: false}\n"
           "- lstm: {units: 9, trainable: false}\n" DENSE,
           POSITIONS, &ref, 1, 0, 1);
}

/* The cpu backend fuses where it has products of its own; elsewhere ref would have to take the fused kinds.
 */
static void nothing_falls_back_to_ref(void **state) {
    (void)state;
    static const char *const isas[] = {"base", "avx2", "avx512"};
    for (int i = 0; i < 3; i++) {
        const dl_cpu_loops *loops = dl_cpu_loops_named(isas[i]);
        token_net n;
        if (loops == NULL) {
            continue;
        }
        kit_open(&n.k);
        n.k.tokens = true;
        kit_model(&n.k, DL_SHAPE(POSITIONS), plain);
        kit_plan(&n.k, &(kit_options){.backend = "cpu", .batch_size = SAMPLES});
        dl_cpu_device_of(n.k.device)->loops = loops;
        n.train = kit_add(&n.k, DL_PROGRAM_TRAIN, SAMPLES);
        const int fused = loops->matrix_product != NULL;
        assert_int_equal(kit_count(&n.k, n.train, DL_OP_EMBEDDING_DENSE_FORWARD), fused);
        assert_int_equal(kit_count(&n.k, n.train, DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS), fused);
        kit_close(&n.k);
    }
}

/* The arena of gradients of one step. */
static float *gradients_of(token_net *n) {
    kit_run(&n->k, n->train, &n->batch);
    return kit_arena(&n->k, DL_STORE_GRADIENT);
}

/* On ref it is the same arithmetic, in whole programs and in pieces. */
static void ref_has_the_same_bits(void **state) {
    (void)state;
    for (int pieces = 0; pieces < 2; pieces++) {
        token_net fused, apart;
        open_net(&fused, plain, POSITIONS, &(kit_options){.backend = "ref", .reproducible = pieces > 0});
        open_net(&apart, viewed, POSITIONS, &(kit_options){.backend = "ref", .reproducible = pieces > 0});
        const size_t n_bytes = (size_t)fused.k.model->table.trainable_elements * sizeof(float);
        assert_memory_equal(gradients_of(&fused), gradients_of(&apart), n_bytes);
        assert_true(kit_loss(&fused.k, fused.train) == kit_loss(&apart.k, apart.train));
        close_net(&apart);
        close_net(&fused);
    }
}

/* The rows of tokens that no sample has get a gradient of exactly zero, the others do not. */
static void check_rows(const char *backend, bool pieces, int n_threads) {
    token_net n;
    (void)snprintf(kit_context, sizeof kit_context, "%s, %d threads", backend, n_threads);
    open_net(&n, plain, POSITIONS,
             &(kit_options){.backend = backend, .reproducible = pieces, .n_threads = n_threads});
    memset(kit_arena(&n.k, DL_STORE_GRADIENT), 0x41,
           (size_t)n.k.model->table.trainable_elements * sizeof(float));
    const float *gradients = gradients_of(&n);
    for (int row = 0; row < n.k.model->table.n; row++) {
        const dl_parameter *parameter = &n.k.model->table.parameter[row];
        for (int64_t i = 0; i < parameter->n_elements && strcmp(parameter->path, "/embedding/weight") == 0;
             i++) {
            const float value = gradients[parameter->offset + i];
            if ((value != 0.0f) != (i / 33 < SEEN)) {
                fail_msg("%s: gradient %g of token %d", kit_context, (double)value, (int)(i / 33));
            }
        }
    }
    close_net(&n);
}

static void other_tokens_have_no_gradient(void **state) {
    (void)state;
    check_rows("ref", false, 1);
    check_rows("cpu", false, 1);
    check_rows("cpu", true, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_layers_of_their_own_become_one),
        cmocka_unit_test(nothing_falls_back_to_ref),
        cmocka_unit_test(ref_has_the_same_bits),
        cmocka_unit_test(other_tokens_have_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
