/* Sequences in programs: state carried from step to step, and padding that changes nothing. */
#include "program_kit.h"

enum { ROWS = 6, WINDOW = 3, FEATURES = 2, STEPS = 4 };

static const char *const carried = "- embedding: {input_dim: 5, output_dim: 4}\n"
                                   "- lstm: {units: 6, return_sequences: true, stateful: true}\n"
                                   "- lstm: {units: 5, return_sequences: true, stateful: true}\n"
                                   "- dense: {units: 5}\n";

static const char *const whole = "- embedding: {input_dim: 5, output_dim: 4}\n"
                                 "- lstm: {units: 6, return_sequences: true}\n"
                                 "- lstm: {units: 5, return_sequences: true}\n"
                                 "- dense: {units: 5}\n";

static int32_t token_at(int64_t row, int64_t position) {
    return (int32_t)((row * 31 + position * position * 7 + position) % KIT_CLASSES);
}

/* Window `number` of each row: tokens, and the tokens after them. */
static void fill_window(kit_batch *b, int64_t length, int64_t number) {
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t t = 0; t < length; t++) {
            ((int32_t *)b->x)[row * length + t] = token_at(row, number * length + t);
            b->y[row * length + t] = token_at(row, number * length + t + 1);
        }
    }
}

/* A model of tokens with its programs, ready to run. */
typedef struct text_net {
    kit k;
    kit_batch batch;
    int train, evaluate;
} text_net;

static void open_text(text_net *n, const char *layers, int64_t window, const kit_options *options) {
    kit_options o = *options;
    o.batch_size = ROWS;
    o.runnable = o.sgd = true;
    kit_open(&n->k);
    n->k.tokens = true;
    kit_model(&n->k, DL_SHAPE(window), layers);
    kit_plan(&n->k, &o);
    n->train = kit_add(&n->k, DL_PROGRAM_TRAIN, ROWS);
    n->evaluate = kit_add(&n->k, DL_PROGRAM_EVALUATE, ROWS);
    KIT_OK(dl_plan_finish(n->k.plan));
    kit_init_parameters(&n->k);
    kit_batch_create(&n->batch, n->k.model, ROWS, 0.0);
}

static void close_text(text_net *n) {
    kit_batch_free(&n->batch);
    kit_close(&n->k);
}

static double run_window(text_net *n, int program, int64_t window, int64_t number) {
    fill_window(&n->batch, window, number);
    kit_run(&n->k, program, &n->batch);
    return kit_loss(&n->k, program);
}

static double loss_of_whole(const char *backend) {
    text_net n;
    open_text(&n, whole, WINDOW * STEPS, &(kit_options){.backend = backend});
    const double loss = run_window(&n, n.evaluate, WINDOW * STEPS, 0);
    close_text(&n);
    return loss;
}

static double loss_of_windows(text_net *n, int program) {
    double loss = 0.0;
    for (int64_t number = 0; number < STEPS; number++) {
        loss += run_window(n, program, WINDOW, number);
    }
    return loss;
}

/* Windows with carried state are the text in one piece; evaluation in between takes nothing from training. */
static void windows_go_on_where_others_ended(void **state) {
    (void)state;
    static const kit_options ways[] = {
        {.backend = "ref"},
        {.backend = "ref:strict"},
        {.backend = "cpu"},
        {.backend = "ref", .accumulate = 3},
        {.backend = "ref", .reproducible = true},
        {.backend = "cpu", .accumulate = 2, .reproducible = true, .n_threads = 2}};
    const double expected = loss_of_whole("ref");
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        (void)snprintf(kit_context, sizeof kit_context, "way %d", (int)w);
        text_net n;
        open_text(&n, carried, WINDOW, &ways[w]);
        const double training = loss_of_windows(&n, n.train), evaluation = loss_of_windows(&n, n.evaluate);
        assert_true(fabs(training - expected) < 2e-6 * expected);
        assert_true(fabs(evaluation - expected) < 2e-6 * expected);
        const double further = run_window(&n, n.train, WINDOW, 0);
        KIT_OK(dl_plan_clear_state(n.k.plan, DL_PROGRAM_EVALUATE)); /* not training's */
        KIT_OK(dl_plan_clear_state(n.k.plan, DL_PROGRAM_TRAIN));
        const double anew = loss_of_windows(&n, n.train);
        assert_true(fabs(anew - expected) < 2e-6 * expected);
        KIT_OK(dl_plan_clear_state(n.k.plan, DL_PROGRAM_TRAIN));
        assert_true(run_window(&n, n.train, WINDOW, 0) != further);
        close_text(&n);
    }
}

/* What is carried belongs to a kind of program: clearing the one leaves the other. */
static void training_and_evaluation_carry_their_own(void **state) {
    (void)state;
    text_net a, b;
    open_text(&a, carried, WINDOW, &(kit_options){.backend = "ref"});
    open_text(&b, carried, WINDOW, &(kit_options){.backend = "ref"});
    (void)run_window(&a, a.train, WINDOW, 0);
    (void)run_window(&b, b.train, WINDOW, 0);
    (void)loss_of_windows(&b, b.evaluate);
    KIT_OK(dl_plan_clear_state(b.k.plan, DL_PROGRAM_EVALUATE));
    assert_true(run_window(&a, a.train, WINDOW, 1) == run_window(&b, b.train, WINDOW, 1));
    close_text(&a);
    close_text(&b);
}

/* A step that is not made carries nothing on. */
static void a_bad_step_carries_nothing(void **state) {
    (void)state;
    text_net n;
    open_text(&n, carried, WINDOW, &(kit_options){.backend = "ref"});
    const double first = run_window(&n, n.train, WINDOW, 0);
    KIT_OK(dl_plan_clear_state(n.k.plan, DL_PROGRAM_TRAIN));
    n.batch.step.control[DL_CONTROL_BAD_DATA] = 1;
    (void)run_window(&n, n.train, WINDOW, 3);
    n.batch.step.control[DL_CONTROL_BAD_DATA] = 0;
    assert_true(run_window(&n, n.train, WINDOW, 0) == first);
    assert_true(run_window(&n, n.train, WINDOW, 0) != first);
    close_text(&n);
}

/* --- padding and batch mates --- */

enum { SAMPLES = 5, LONGEST = 12, LENGTH = 6 };

#define RAGGED(last)                                                                                         \
    "- dense: {units: 4, activation: tanh}\n"                                                                \
    "- dropout: {rate: 0.25}\n"                                                                              \
    "- lstm: {units: 6, bidirectional: true, return_sequences: true}\n"                                      \
    "- lstm: {units: 5, go_backwards: true, return_sequences: true}\n"                                       \
    "- dropout: {rate: 0.5}\n" last "- dense: {units: 5, activation: softmax}\n"

static const char *const ragged = RAGGED("- lstm: {units: 4, bidirectional: true}\n");
static const char *const ragged_steps =
    RAGGED("- lstm: {units: 4, bidirectional: true, return_sequences: true}\n");

/* Loss and gradients of one sample among others that have no label. */
typedef struct alone {
    double loss;
    float *gradients;
    int64_t n;
} alone;

/* Classes of a sample, or of its steps (rows > 1): of the own one, some of whose steps have none. */
static void fill_labels(kit_batch *b, int64_t i, int64_t rows, bool own) {
    for (int64_t t = 0; t < rows; t++) {
        const bool known = own && t < LENGTH && t != 2;
        b->y[i * rows + t] = known ? (int32_t)((3 + t) % KIT_CLASSES) : -1;
    }
}

/* Sample `at` is always the same; the others are drawn by `mates`. Padding is zero, as the reader leaves it.
 */
static void fill_ragged(kit_batch *b, int64_t length, int at, uint64_t mates, int64_t rows) {
    for (int64_t i = 0; i < SAMPLES; i++) {
        const bool own = i == at;
        b->ids[i] = own ? 7 : 100 + i + (int64_t)mates;
        fill_labels(b, i, rows, own);
        b->lengths[i] = own ? LENGTH : 1 + (int32_t)((uint64_t)i * mates % (uint64_t)length);
        for (int64_t t = 0; t < length; t++) {
            for (int64_t f = 0; f < FEATURES; f++) {
                const double value =
                    kit_random(own ? 1 : 50 + mates, (uint64_t)((own ? 0 : i * 1000) + t * 10 + f));
                ((float *)b->x)[(i * length + t) * FEATURES + f] = t < b->lengths[i] ? (float)value : 0.0f;
            }
        }
    }
}

static void run_ragged(const char *layers, const char *backend, int64_t length, int at, uint64_t mates,
                       alone *out) {
    kit k;
    kit_batch b;
    int train = -1;
    kit_open(&k);
    k.any_length = true;
    kit_model(&k, DL_SHAPE(LONGEST, FEATURES), layers);
    kit_plan(&k, &(kit_options){.backend = backend, .batch_size = SAMPLES, .runnable = true, .sgd = true});
    KIT_OK(dl_plan_add_length(k.plan, DL_PROGRAM_TRAIN, SAMPLES, LONGEST, &train));
    KIT_OK(dl_plan_add_length(k.plan, DL_PROGRAM_TRAIN, SAMPLES, length, &train));
    KIT_OK(dl_plan_finish(k.plan));
    kit_init_parameters(&k);
    kit_batch_create(&b, k.model, SAMPLES, 0.0);
    fill_ragged(&b, length, at, mates, k.model->output.rows > 1 ? length : 1);
    kit_run(&k, train, &b);
    out->loss = kit_loss(&k, train);
    out->n = k.model->table.trainable_elements;
    KIT_OK(dl_alloc((size_t)out->n, sizeof *out->gradients, &out->gradients));
    memcpy(out->gradients, kit_arena(&k, DL_STORE_GRADIENT), (size_t)out->n * sizeof *out->gradients);
    kit_batch_free(&b);
    kit_close(&k);
}

/* +0 and -0 are one value. */
static bool equal_values(const alone *a, const alone *b) {
    bool equal = a->loss == b->loss;
    for (int64_t i = 0; i < a->n; i++) {
        equal = equal && a->gradients[i] == b->gradients[i];
    }
    return equal;
}

static double distance(const alone *a, const alone *b) {
    double difference = 0.0, size = 0.0;
    for (int64_t i = 0; i < a->n; i++) {
        const double d = (double)a->gradients[i] - (double)b->gradients[i];
        difference += d * d;
        size += (double)a->gradients[i] * (double)a->gradients[i];
    }
    return sqrt(difference / size);
}

/* On ref to the bit: its sums are made in order, and zeros add nothing. */
static void compare_ragged(const char *layers) {
    static const struct {
        const char *backend;
        int64_t length;
        int at;
        uint64_t mates;
    } cases[] = {{"ref", LENGTH, 0, 1},  {"ref", 9, 0, 1},       {"ref", LONGEST, 0, 1},
                 {"ref", LONGEST, 0, 2}, {"ref", LONGEST, 4, 3}, {"ref:strict", 9, 2, 3},
                 {"cpu", 9, 2, 3},       {"cpu", LONGEST, 4, 5}};
    alone first;
    run_ragged(layers, "ref", LENGTH, 0, 9, &first);
    assert_true(first.loss > 0.1);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        alone other;
        (void)snprintf(kit_context, sizeof kit_context, "case %d", (int)c);
        run_ragged(layers, cases[c].backend, cases[c].length, cases[c].at, cases[c].mates, &other);
        if (strcmp(cases[c].backend, "cpu") == 0) {
            assert_true(fabs(first.loss - other.loss) < 2e-6 * first.loss && distance(&first, &other) < 2e-6);
        } else if (!equal_values(&first, &other)) {
            fail_msg("%s: losses %.17g and %.17g, gradients differ by %g", kit_context, first.loss,
                     other.loss, distance(&first, &other));
        }
        dl_free(&other.gradients);
    }
    dl_free(&first.gradients);
}

static void padding_and_mates_change_nothing(void **state) {
    (void)state;
    compare_ragged(ragged);
    compare_ragged(ragged_steps);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_go_on_where_others_ended),
        cmocka_unit_test(training_and_evaluation_carry_their_own),
        cmocka_unit_test(a_bad_step_carries_nothing),
        cmocka_unit_test(padding_and_mates_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
