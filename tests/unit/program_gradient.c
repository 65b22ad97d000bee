/* Gradients of whole programs: against central differences of the loss, and equal however they are compiled.
 */
#include "program/choose.h"
#include "program_kit.h"

enum { SAMPLES = 12, SHORT = 7 };

typedef struct network {
    const char *name;
    dl_shape input;
    const char *layers;
    bool mixes; /* batch mates act on each other, so that dividing the batch changes the numbers */
    bool tokens, any_length;
    const char *loss; /* NULL: softmax cross entropy */
    double label_smoothing;
    const char *metrics[2]; /* that have the kind of a loss; NULL: accuracy */
} network;

static const network networks[] = {
    {"smooth",
     {3, {9, 8, 4}},
     "- conv2d: {filters: 6, kernel_size: [3, 2], strides: [1, 2], padding: same, groups: 2, "
     "activation: tanh}\n"
     "- conv2d: {filters: 5, kernel_size: 3, padding: [1, 0, 2, 1], activation: sigmoid, use_bias: false}\n"
     "- dropout: {rate: 0.25}\n"
     "- flatten: {}\n"
     "- dense: {units: 11, activation: tanh}\n"
     "- dense: {units: 5, activation: softmax}\n",
     .tokens = false},
    {"relu and pooling",
     {3, {11, 10, 2}},
     "- conv2d: {filters: 16, kernel_size: 3, activation: relu}\n"
     "- max_pooling2d: {pool_size: 2}\n"
     "- conv2d: {filters: 16, kernel_size: 2, activation: tanh}\n"
     "- max_pooling2d: {pool_size: 2, strides: 1, padding: same}\n"
     "- activation: {function: relu}\n"
     "- flatten: {}\n"
     "- dense: {units: 9, activation: relu}\n"
     "- dense: {units: 5}\n",
     .tokens = false},
    {"branches and frozen layers",
     {3, {6, 6, 2}},
     "- conv2d: {filters: 4, kernel_size: 3, activation: tanh, name: a}\n"
     "- conv2d: {filters: 3, kernel_size: 3, name: unused}\n"
     "- conv2d: {filters: 4, kernel_size: 1, trainable: false, from: a, name: frozen}\n"
     "- flatten: {name: flat}\n"
     "- dense: {units: 6, name: unused_too}\n"
     "- dense: {units: 8, activation: sigmoid, from: flat}\n"
     "- dropout: {rate: 0.5}\n"
     "- dense: {units: 5, activation: softmax}\n",
     .tokens = false},
    {"sums and joints",
     {3, {7, 8, 3}},
     "- conv2d: {filters: 16, kernel_size: 3, padding: 1, activation: tanh, name: a}\n"
     "- conv2d: {filters: 16, kernel_size: 3, padding: 1, name: b}\n"
     "- add: {from: [a, b, a], activation: tanh, name: c}\n"
     "- zero_padding2d: {padding: [1, 0, 2, 1], channels: [1, 2]}\n"
     "- average_pooling2d: {pool_size: [2, 3], strides: 2, padding: same, name: d}\n"
     "- conv2d: {filters: 4, kernel_size: 1, name: e}\n"
     "- concatenate: {from: [d, e], name: f}\n"
     "- global_average_pooling2d: {}\n"
     "- reshape: {shape: [-1], name: g}\n"
     "- global_max_pooling2d: {from: f}\n"
     "- concatenate: {from: [above, g]}\n"
     "- dense: {units: 5}\n",
     .mixes = false},
    {"sums of one value with itself",
     {1, {9}},
     "- dense: {units: 6, name: a}\n"
     "- add: {from: [a, a]}\n"
     "- reshape: {shape: [2, 3], name: b}\n"
     "- reshape: {shape: [6], name: c}\n"
     "- reshape: {shape: [6], from: b}\n"
     "- add: {from: [above, c], activation: tanh}\n"
     "- dense: {units: 5}\n",
     .mixes = false},
    {"batch normalization",
     {3, {6, 5, 3}},
     "- conv2d: {filters: 16, kernel_size: 3, padding: 1, use_bias: false}\n"
     "- batch_normalization: {activation: tanh, epsilon: 0.01, name: a}\n"
     "- conv2d: {filters: 16, kernel_size: 3, padding: 1, use_bias: false}\n"
     "- batch_normalization: {statistics: global, name: b}\n"
     "- add: {from: [a, b], activation: relu}\n"
     "- conv2d: {filters: 8, kernel_size: 2}\n"
     "- batch_normalization: {activation: relu, epsilon: 0.01, trainable: false}\n"
     "- flatten: {}\n"
     "- dense: {units: 7, use_bias: false}\n"
     "- batch_normalization: {activation: sigmoid}\n"
     "- dense: {units: 5}\n",
     .mixes = true},
    {"tokens, an output at every position",
     {1, {6}},
     "- embedding: {input_dim: auto, output_dim: 7}\n"
     "- lstm: {units: 8, return_sequences: true}\n"
     "- dropout: {rate: 0.25}\n"
     "- lstm: {units: 5, return_sequences: true}\n"
     "- dense: {units: auto, activation: softmax}\n",
     .tokens = true},
    {"many tokens of a small vocabulary",
     {1, {60}},
     "- embedding: {input_dim: auto, output_dim: 32}\n"
     "- lstm: {units: 8}\n"
     "- dense: {units: auto, activation: softmax}\n",
     .tokens = true},
    {"sequences of different lengths",
     {2, {7, 3}},
     "- dense: {units: 4, activation: tanh}\n"
     "- lstm: {units: 6, bidirectional: true, return_sequences: true}\n"
     "- lstm: {units: 9, go_backwards: true, return_sequences: true}\n"
     "- lstm: {units: 5, bidirectional: true}\n"
     "- dense: {units: 5}\n",
     .any_length = true},
    {"one label for a text, a frozen lstm",
     {1, {4}},
     "- embedding: {input_dim: 5, output_dim: 6}\n"
     "- lstm: {units: 7, return_sequences: true, trainable: false}\n"
     "- lstm: {units: 4, go_backwards: true}\n"
     "- dense: {units: 5}\n",
     .tokens = true},
    {"smoothed labels, perplexity",
     {3, {4, 3, 2}},
     "- flatten: {}\n- dense: {units: 7, activation: tanh}\n- dense: {units: 5, activation: softmax}\n",
     .label_smoothing = 0.2,
     .metrics = {"perplexity", "accuracy"}},
    {"squared errors",
     {3, {4, 3, 2}},
     "- flatten: {}\n- dense: {units: 7, activation: tanh}\n- dense: {units: 3}\n",
     .loss = "mse",
     .metrics = {"mae", "mse"}},
    {"absolute errors",
     {3, {4, 3, 2}},
     "- flatten: {}\n- dense: {units: 7, activation: sigmoid}\n- dense: {units: 2, activation: tanh}\n",
     .loss = "mae",
     .metrics = {"mse", "mae"}},
};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

/* Every layer in the device's own layout, as if that had been measured to be the fastest. */
static void choose_own_layouts(kit *k) {
    dl_choices *choices = NULL;
    KIT_OK(dl_alloc(1, sizeof *choices, &choices));
    KIT_OK(dl_alloc((size_t)k->model->n_layers, sizeof *choices->layer, &choices->layer));
    choices->made = true;
    choices->n_layers = k->model->n_layers;
    for (int i = 0; i < choices->n_layers; i++) {
        choices->layer[i].blocked = 1;
    }
    k->plan->choices = choices;
}

/* A plan that has run one step with a learning rate of zero: its gradients are in the arena. */
typedef struct trained {
    kit k;
    kit_batch batch;
    int program;
    double loss;
} trained;

static void open_trained(trained *t, const network *net, const kit_options *options, int64_t n_samples,
                         bool own_layouts) {
    kit_options o = *options;
    o.batch_size = SAMPLES;
    o.runnable = o.sgd = true;
    kit_open(&t->k);
    t->k.tokens = net->tokens;
    t->k.any_length = net->any_length;
    t->k.loss = net->loss;
    t->k.label_smoothing = net->label_smoothing;
    t->k.metrics = net->metrics[0] == NULL ? NULL : net->metrics;
    t->k.n_metrics = 2;
    kit_model(&t->k, net->input, net->layers);
    kit_plan(&t->k, &o);
    if (own_layouts) {
        choose_own_layouts(&t->k);
    }
    t->program = kit_add(&t->k, DL_PROGRAM_TRAIN, SAMPLES);
    t->program = kit_add(&t->k, DL_PROGRAM_TRAIN, n_samples);
    KIT_OK(dl_plan_finish(t->k.plan));
    KIT_OK(dl_program_verify(t->k.plan->program[t->program]));
    kit_init_parameters(&t->k);
    kit_batch_create(&t->batch, t->k.model, SAMPLES, 0.0);
    t->batch.step.weight = (double)n_samples;
    kit_run(&t->k, t->program, &t->batch);
    t->loss = kit_loss(&t->k, t->program);
}

static void close_trained(trained *t) {
    kit_batch_free(&t->batch);
    kit_close(&t->k);
}

/* --- central differences --- */

/* Loss with a parameter moved by `step` along a direction. Copies of it are packed anew. */
static double loss_moved(trained *t, const dl_parameter *parameter, const float *before,
                         const float *direction, double step) {
    float *w = kit_arena(&t->k, DL_STORE_PARAMETER) + parameter->offset;
    for (int64_t i = 0; i < parameter->n_elements; i++) {
        w[i] = (float)((double)before[i] + step * (double)direction[i]);
    }
    int refresh = -1;
    KIT_OK(dl_plan_add(t->k.plan, DL_PROGRAM_REFRESH, 0, &refresh));
    KIT_OK(dl_execute(t->k.plan, refresh, NULL));
    kit_run(&t->k, t->program, &t->batch);
    return kit_loss(&t->k, t->program) / (double)(SAMPLES * t->k.model->output.rows);
}

/* A direction of length 1 in the space of one parameter: random, and partly along the gradient, so that the
 * loss changes by more than its rounding. */
static void draw_direction(const dl_parameter *parameter, const float *gradient, uint64_t seed, float *out) {
    const int64_t n = parameter->n_elements;
    const double even = 1.0 / sqrt((double)n);
    double size = 0.0, length = 0.0;
    for (int64_t i = 0; i < n; i++) {
        size += (double)gradient[i] * (double)gradient[i];
    }
    for (int64_t i = 0; i < n; i++) {
        const double along = size > 0.0 ? (double)gradient[i] / sqrt(size) : 0.0;
        out[i] = (float)(along + 1.7 * even * kit_random(seed, (uint64_t)i));
        length += (double)out[i] * (double)out[i];
    }
    for (int64_t i = 0; i < n; i++) {
        out[i] = (float)((double)out[i] / sqrt(length));
    }
}

/* Compares along one direction. A long step is the more exact one, but may cross a kink of relu or move the
 * largest of a window; then a shorter one does not. */
static void check_direction(trained *t, const dl_parameter *parameter, const float *before,
                            const float *gradient, const float *direction) {
    static const double steps[] = {1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4};
    double told = 0.0, found = 0.0;
    for (int64_t i = 0; i < parameter->n_elements; i++) {
        told += (double)gradient[i] * (double)direction[i];
    }
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        found = (loss_moved(t, parameter, before, direction, steps[s]) -
                 loss_moved(t, parameter, before, direction, -steps[s])) /
                (2.0 * steps[s]);
        if (fabs(found - told) <= 1e-3 * fabs(told) + 1e-8) {
            return;
        }
    }
    fail_msg("%s: %.9g by differences, %.9g by the program\n%s", parameter->path, found, told, kit_context);
}

/* `gradients`: the arena as the first run left it. */
static void check_parameter(trained *t, const dl_parameter *parameter, const float *gradients) {
    const size_t n = (size_t)parameter->n_elements;
    float *w = kit_arena(&t->k, DL_STORE_PARAMETER) + parameter->offset;
    float *before = NULL, *direction = NULL;
    KIT_OK(dl_alloc(n, sizeof *before, &before));
    KIT_OK(dl_alloc(n, sizeof *direction, &direction));
    memcpy(before, w, n * sizeof *w);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        draw_direction(parameter, gradients + parameter->offset, seed, direction);
        check_direction(t, parameter, before, gradients + parameter->offset, direction);
    }
    memcpy(w, before, n * sizeof *w);
    dl_free(&before);
    dl_free(&direction);
}

static void check_by_differences(const network *net, const kit_options *options, int64_t n_samples) {
    trained t;
    open_trained(&t, net, options, n_samples, false);
    const dl_parameter_table *table = &t.k.model->table;
    float *gradients = NULL;
    KIT_OK(dl_alloc((size_t)table->trainable_elements, sizeof *gradients, &gradients));
    memcpy(gradients, kit_arena(&t.k, DL_STORE_GRADIENT),
           (size_t)table->trainable_elements * sizeof *gradients);
    for (int i = 0; i < table->n && table->parameter[i].trainable; i++) {
        check_parameter(&t, &table->parameter[i], gradients);
    }
    dl_free(&gradients);
    close_trained(&t);
}

static void gradients_are_those_of_the_loss(void **state) {
    (void)state;
    static const kit_options whole = {.backend = "ref"}, unfused = {.backend = "ref", .unfused = true},
                             parts = {.backend = "ref", .accumulate = 3, .reproducible = true},
                             pieces = {.backend = "ref", .reproducible = true};
    for (int n = 0; n < N_NETWORKS; n++) {
        (void)snprintf(kit_context, sizeof kit_context, "network '%s'", networks[n].name);
        check_by_differences(&networks[n], &whole, SAMPLES);
        check_by_differences(&networks[n], &unfused, SAMPLES);
        check_by_differences(&networks[n], networks[n].mixes ? &pieces : &parts, SHORT);
    }
}

/* --- ways to compile --- */

typedef struct way {
    const char *name;
    kit_options options;
    bool own_layouts;
} way;

static const way ways[] = {
    {"ref, unfused", {.backend = "ref", .unfused = true}, false},
    {"ref, 4 micro-batches", {.backend = "ref", .accumulate = 4}, false},
    {"ref, in pieces", {.backend = "ref", .reproducible = true}, false},
    {"ref, 3 micro-batches in pieces", {.backend = "ref", .accumulate = 3, .reproducible = true}, false},
    {"cpu", {.backend = "cpu"}, false},
    {"cpu, 2 threads", {.backend = "cpu", .n_threads = 2}, false},
    {"cpu, unfused", {.backend = "cpu", .unfused = true}, false},
    {"cpu, own layouts", {.backend = "cpu"}, true},
    {"cpu, own layouts, unfused", {.backend = "cpu", .unfused = true}, true},
    {"cpu, own layouts, 4 micro-batches", {.backend = "cpu", .accumulate = 4}, true},
    {"cpu, in pieces", {.backend = "cpu", .reproducible = true}, false},
    {"cpu, 4 micro-batches in pieces, 2 threads",
     {.backend = "cpu", .accumulate = 4, .reproducible = true, .n_threads = 2},
     false},
};

/* Distance of two gradients, relative to the first. */
static double distance(const trained *a, const trained *b) {
    const float *x = kit_arena(&a->k, DL_STORE_GRADIENT), *y = kit_arena(&b->k, DL_STORE_GRADIENT);
    double difference = 0.0, size = 0.0;
    for (int64_t i = 0; i < a->k.model->table.trainable_elements; i++) {
        difference += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)x[i] * (double)x[i];
    }
    return sqrt(difference / size);
}

static void compare_ways(const network *net, int64_t n_samples) {
    trained plain;
    open_trained(&plain, net, &(kit_options){.backend = "ref"}, n_samples, false);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        trained other;
        if (net->mixes && ways[w].options.accumulate > 1) {
            continue;
        }
        (void)snprintf(kit_context, sizeof kit_context, "network '%s', %s, %d samples", net->name,
                       ways[w].name, (int)n_samples);
        open_trained(&other, net, &ways[w].options, n_samples, ways[w].own_layouts);
        const double d = distance(&plain, &other);
        if (!(d <= 2e-6) || !(fabs(plain.loss - other.loss) <= 2e-6 * plain.loss)) {
            fail_msg("%s: gradients differ by %g, losses %.9g and %.9g", kit_context, d, plain.loss,
                     other.loss);
        }
        close_trained(&other);
    }
    close_trained(&plain);
}

static void all_ways_give_the_same_gradients(void **state) {
    (void)state;
    for (int n = 0; n < N_NETWORKS; n++) {
        compare_ways(&networks[n], SAMPLES);
        compare_ways(&networks[n], SHORT);
    }
}

/* What no gradient reaches gets zeros, and stays. */
static void unused_layers_have_no_gradient(void **state) {
    (void)state;
    trained t;
    open_trained(&t, &networks[2], &(kit_options){.backend = "ref"}, SAMPLES, false);
    const char *const unused[] = {"/unused/weight", "/unused/bias", "/unused_too/weight"};
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++) {
        const dl_parameter *parameter = dl_parameter_find(&t.k.model->table, unused[i]);
        assert_non_null(parameter);
        for (int64_t e = 0; e < parameter->n_elements; e++) {
            assert_true(kit_arena(&t.k, DL_STORE_GRADIENT)[parameter->offset + e] == 0.0f);
        }
    }
    const dl_parameter *frozen = dl_parameter_find(&t.k.model->table, "/frozen/weight");
    assert_non_null(frozen);
    assert_false(frozen->trainable);
    assert_int_equal(frozen->bucket, -1);
    close_trained(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(all_ways_give_the_same_gradients),
        cmocka_unit_test(unused_layers_have_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
