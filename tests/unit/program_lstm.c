/* LSTMs and the products before them: where they become one, and that nothing else changes by it. */
#include "program_kit.h"

enum { SAMPLES = 6, POSITIONS = 4, FEATURES = 3 };

#define LSTM "- lstm: {units: 7}\n"
#define DENSE "- dense: {units: 5}\n"

/* A model of sequences of numbers, ready to run where the options say so. */
typedef struct layer_net {
    kit k;
    kit_batch batch;
    int train, evaluate;
} layer_net;

static void open_net(layer_net *n, const char *layers, const kit_options *options) {
    kit_options o = *options;
    o.batch_size = SAMPLES;
    kit_open(&n->k);
    kit_model(&n->k, DL_SHAPE(POSITIONS, FEATURES), layers);
    kit_plan(&n->k, &o);
    n->train = kit_add(&n->k, DL_PROGRAM_TRAIN, SAMPLES);
    n->evaluate = kit_add(&n->k, DL_PROGRAM_EVALUATE, SAMPLES);
}

/* How many fused instructions a model has: forwards in training, backwards, forwards in evaluation; and how
 * many layers stay in their parts. */
static void expect(const char *layers, const kit_options *options, int forward, int backward, int evaluation,
                   int apart) {
    layer_net n;
    (void)snprintf(kit_context, sizeof kit_context, "%s:\n%s", options->backend, layers);
    open_net(&n, layers, options);
    const int found[] = {kit_count(&n.k, n.train, DL_OP_LSTM_LAYER_FORWARD),
                         kit_count(&n.k, n.train, DL_OP_LSTM_LAYER_BACKWARD),
                         kit_count(&n.k, n.evaluate, DL_OP_LSTM_LAYER_FORWARD),
                         kit_count(&n.k, n.train, DL_OP_LSTM_FORWARD)};
    if (found[0] != forward || found[1] != backward || found[2] != evaluation || found[3] != apart) {
        fail_msg("%d, %d, %d, %d instead of %d, %d, %d, %d: %s", found[0], found[1], found[2], found[3],
                 forward, backward, evaluation, apart, kit_context);
    }
    if (apart == 0) { /* none of what they replace is left */
        assert_int_equal(kit_count(&n.k, n.train, DL_OP_LSTM_BACKWARD_DATA), 0);
        assert_int_equal(kit_count(&n.k, n.train, DL_OP_LSTM_BACKWARD_WEIGHTS), 0);
        assert_int_equal(kit_count(&n.k, n.evaluate, DL_OP_LSTM_FORWARD), 0);
    }
    kit_close(&n.k);
}

static void layers_become_one(void **state) {
    (void)state;
    static const kit_options ref = {.backend = "ref"}, unfused = {.backend = "ref", .unfused = true},
                             micro = {.backend = "ref", .accumulate = 2},
                             pieces = {.backend = "ref", .reproducible = true}, cpu = {.backend = "cpu"};
    expect(LSTM DENSE, &ref, 1, 1, 1, 0);
    expect(LSTM DENSE, &micro, 2, 2, 1, 0);
    expect(LSTM DENSE, &unfused, 0, 0, 0, 1);
    expect(LSTM DENSE, &pieces, 0, 0, 0, 1); /* its gradients are one sum over all samples */
    expect(LSTM DENSE, &cpu, 0, 0, 0, 1);    /* which has no such kind */
    expect("- lstm: {units: 7, bidirectional: true}\n" DENSE, &ref, 2, 2, 2, 0);
    expect("- lstm: {units: 7, return_sequences: true}\n" LSTM DENSE, &ref, 2, 2, 2, 0);
    expect("- lstm: {units: 7, return_sequences: true, stateful: true}\n" DENSE, &ref, 1, 1, 1, 0);
    expect("- dense: {units: 4}\n" LSTM DENSE, &ref, 1, 1, 1, 0);
    expect("- dense: {units: 4}\n- lstm: {units: 7, trainable: false}\n" DENSE, &ref, 1, 1, 1, 0);
    expect("- lstm: {units: 7, trainable: false}\n" DENSE, &ref, 1, 0, 1, 0);
}

/* ref without the fused kinds. */
static bool takes_parts(const dl_device *device, const dl_op_desc *desc) {
    return desc->kind != DL_OP_LSTM_LAYER_FORWARD && desc->kind != DL_OP_LSTM_LAYER_BACKWARD &&
           dl_backend_find("ref")->takes(device, desc);
}

static void fill_batch(const layer_net *n) {
    for (int64_t i = 0; i < SAMPLES * POSITIONS * FEATURES; i++) {
        ((float *)n->batch.x)[i] = (float)dl_rng_uniform(5, DL_RNG_TEST, 1, (uint64_t)i) - 0.5f;
    }
}

/* The gradients of one step; `device_of`: NULL for `backend` itself. */
static const float *run_step(layer_net *n, const char *layers, const char *backend,
                             const dl_backend *device_of) {
    open_net(n, layers,
             &(kit_options){
                 .backend = backend, .device_of = device_of, .runnable = true, .sgd = true, .accumulate = 2});
    KIT_OK(dl_plan_finish(n->k.plan));
    kit_init_parameters(&n->k);
    kit_batch_create(&n->batch, n->k.model, SAMPLES, 0.0);
    fill_batch(n);
    kit_run(&n->k, n->train, &n->batch);
    return kit_arena(&n->k, DL_STORE_GRADIENT);
}

static void close_net(layer_net *n) {
    kit_batch_free(&n->batch);
    kit_close(&n->k);
}

/* On ref it is the same arithmetic, whatever is trained and carried on. */
static void ref_has_the_same_bits(void **state) {
    (void)state;
    static const char *const models[] = {
        LSTM DENSE,
        "- dense: {units: 4}\n- lstm: {units: 7, bidirectional: true}\n" DENSE,
        "- lstm: {units: 7, return_sequences: true, stateful: true}\n"
        "- lstm: {units: 6, return_sequences: true, stateful: true}\n" DENSE,
        "- dense: {units: 4}\n- lstm: {units: 7, trainable: false}\n" DENSE,
        "- lstm: {units: 7, trainable: false}\n" DENSE,
    };
    static const char *const backends[] = {"ref", "ref:strict"};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        for (size_t b = 0; b < 2; b++) {
            layer_net fused, apart;
            (void)snprintf(kit_context, sizeof kit_context, "%s:\n%s", backends[b], models[i]);
            dl_backend parts = *dl_backend_find(backends[b]);
            parts.takes = takes_parts;
            const float *gradients = run_step(&fused, models[i], backends[b], NULL);
            const float *expected = run_step(&apart, models[i], backends[b], &parts);
            assert_true(kit_count(&fused.k, fused.train, DL_OP_LSTM_FORWARD) == 0);
            assert_true(kit_count(&apart.k, apart.train, DL_OP_LSTM_FORWARD) > 0);
            const size_t n_bytes = (size_t)fused.k.model->table.trainable_elements * sizeof(float);
            if (memcmp(gradients, expected, n_bytes) != 0) {
                fail_msg("other gradients: %s", kit_context);
            }
            assert_true(kit_loss(&fused.k, fused.train) == kit_loss(&apart.k, apart.train));
            close_net(&apart);
            close_net(&fused);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_become_one),
        cmocka_unit_test(ref_has_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
