/* Losses and metrics as a model has them: the operations they bring, figures of means, what does not go
 * together. */
#include "model/augment.h"
#include "model/scoring.h"
#include "optim/optim.h"
#include "program_kit.h"
#include "train/evaluate.h"

static const char model_text[] = "model: {input: {shape: [7]}, layers: [dense: {units: 5}]}\n";

typedef struct fixture {
    dl_pool *pool;
    dl_text said;
    dl_diagnostics diagnostics;
    const dl_option *table;
    dl_config *config;
    char path[64];
} fixture;

static int set_up(void **state) {
    static fixture f;
    f = (fixture){.pool = NULL};
    KIT_OK(dl_pool_create(&f.pool));
    const dl_config_kinds kinds = {.optimizers = dl_optimizer_kinds(),
                                   .schedules = dl_schedule_kinds(),
                                   .layers = dl_layer_variants(),
                                   .augmentations = dl_augmentation_variants(),
                                   .losses = dl_loss_variants(),
                                   .metrics = dl_metric_variants()};
    KIT_OK(dl_config_table(&kinds, f.pool, &f.table));
    (void)snprintf(f.path, sizeof f.path, "/tmp/dltrain_scoring_%ld.yaml", (long)rand());
    KIT_OK(dl_file_replace(f.path, model_text, strlen(model_text)));
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    (void)remove(f->path);
    dl_text_free(&f->said);
    dl_pool_destroy(&f->pool);
    return 0;
}

/* Loads the file with one override and completes it; returns the number of mistakes. */
static int checked(fixture *f, const char *override) {
    f->diagnostics = (dl_diagnostics){.out = &f->said};
    dl_text_clear(&f->said);
    KIT_OK(dl_text_append(&f->said, "%s", ""));
    KIT_OK(dl_config_load(f->path, &override, 1, f->table, f->pool, &f->diagnostics, &f->config));
    KIT_OK(dl_scoring_check(f->config, &f->diagnostics));
    return f->diagnostics.n_errors;
}

static const char *metric_of(const fixture *f, int i) {
    return dl_metric_at(f->config->train.metrics.value[i])->variant.name;
}

static void names_become_the_loss_s_own(void **state) {
    fixture *f = *state;
    static const char *const names[][2] = {
        {"train.loss=mse", "mean_squared_error"},
        {"train.loss=mae", "mean_absolute_error"},
        {"train.loss=categorical_crossentropy", "softmax_cross_entropy"},
        {"train.loss=sparse_categorical_crossentropy", "softmax_cross_entropy"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(checked(f, names[i][0]), 0);
        assert_string_equal(dl_loss_variants()[f->config->train.loss]->name, names[i][1]);
        assert_ptr_equal(dl_loss_at(f->config->train.loss), dl_loss_find(names[i][1]));
    }
    assert_null(dl_loss_find("mean"));
    assert_null(dl_metric_find("mean"));
}

/* The resolved configuration, given back, is the same run. */
static void metrics_follow_the_loss(void **state) {
    fixture *f = *state;
    assert_int_equal(checked(f, "train.loss=mse"), 0);
    assert_int_equal(f->config->train.metrics.n, 0);
    assert_int_equal(checked(f, "train={loss: mse, metrics: [mae, mse]}"), 0);
    assert_int_equal(f->config->train.metrics.n, 2);
    assert_int_equal(checked(f, "train.label_smoothing=0.1"), 0);
    assert_int_equal(f->config->train.metrics.n, 1);
    assert_string_equal(metric_of(f, 0), "accuracy");
}

static void mistakes_are_told(void **state) {
    fixture *f = *state;
    static const char *const cases[][2] = {
        {"train={loss: mse, metrics: [accuracy]}",
         "accuracy is a metric of classes, but the loss mean_squared_error is one of numbers"},
        {"train.metrics=[mae]",
         "mae is a metric of numbers, but the loss softmax_cross_entropy is one of classes"},
        {"train={loss: mae, label_smoothing: 0.1}", "label_smoothing is for classes"},
        {"train.early_stopping={monitor: valid_perplexity, patience: 2}",
         "monitor is 'valid_perplexity', which is not computed; there is valid_loss, valid_accuracy"},
        {"checkpoint.best=acuracy", "best is 'acuracy', which is not computed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(checked(f, cases[i][0]), 1);
        if (strstr(f->said.data, cases[i][1]) == NULL || strncmp(f->said.data, "command line:1:", 15) != 0) {
            fail_msg("%s gives\n%s", cases[i][0], f->said.data);
        }
    }
}

static void monitors_are_read(void **state) {
    fixture *f = *state;
    dl_monitor monitor;
    assert_int_equal(checked(f, "train.metrics=[perplexity, accuracy]"), 0);
    const dl_train_config *train = &f->config->train;
    assert_true(dl_monitor_parse(train, "valid_loss", &monitor));
    assert_true(monitor.valid && monitor.metric == -1 && !monitor.larger_is_better);
    assert_true(dl_monitor_parse(train, "loss", &monitor) && !monitor.valid);
    assert_true(dl_monitor_parse(train, "valid_accuracy", &monitor));
    assert_true(monitor.valid && monitor.metric == 1 && monitor.larger_is_better);
    assert_true(dl_monitor_parse(train, "perplexity", &monitor));
    assert_true(!monitor.valid && monitor.metric == 0 && !monitor.larger_is_better);
    assert_false(dl_monitor_parse(train, "valid_", &monitor));
    assert_false(dl_monitor_parse(train, "test_loss", &monitor));
    assert_int_equal(checked(f, "train.early_stopping={patience: 1}"), 0);
    assert_string_equal(f->config->checkpoint.best, "valid_loss");
    assert_int_equal(checked(f, "train.early_stopping={patience: 1, monitor: accuracy}"), 0);
    assert_string_equal(f->config->checkpoint.best, "accuracy");
    assert_int_equal(checked(f, "train.epochs=1"), 0);
    assert_string_equal(f->config->checkpoint.best, "valid_loss");
    assert_int_equal(checked(f, "checkpoint.every_epochs=0"), 0);
    assert_string_equal(f->config->checkpoint.best, "none");
    assert_int_equal(checked(f, "checkpoint={every_epochs: 0, best: loss}"), 0);
    assert_string_equal(f->config->checkpoint.best, "loss");
    assert_int_equal(checked(f, "checkpoint.best=none"), 0);
    assert_int_equal(checked(f, "checkpoint.best=''"), 0); /* as earlier versions wrote it */
}

static void figures_are_means_and_their_functions(void **state) {
    (void)state;
    static const char *const metrics[] = {"perplexity", "accuracy"};
    kit k;
    kit_open(&k);
    k.metrics = metrics;
    k.n_metrics = 2;
    kit_model(&k, DL_SHAPE(7), "- dense: {units: 5}\n");
    const double totals[DL_N_TOTALS] = {
        [DL_TOTAL_WEIGHT] = 4, [DL_TOTAL_LOSS] = 6, [DL_TOTAL_METRIC] = 4, [DL_TOTAL_METRIC + 1] = 3};
    const dl_score score = dl_score_of(k.model, totals);
    assert_true(score.present && score.loss == 1.5);
    assert_true(fabs(score.metric[0] - 2.718281828459045) < 1e-15 && score.metric[1] == 0.75);
    kit_close(&k);
}

static int count(const dl_program *program, dl_op_kind kind) {
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        n += program->instruction[i].type == DL_DO_OPERATION && program->instruction[i].kind == kind;
    }
    return n;
}

/* In training all that reads probabilities reads logits, whatever metrics there are; figures of evaluations
 * are summed in double from the probabilities themselves. */
static void training_is_fused_and_evaluation_exact(void **state) {
    (void)state;
    static const char *const metrics[] = {"accuracy", "top_5_accuracy", "perplexity"};
    for (int smoothed = 0; smoothed < 2; smoothed++) {
        const kit_options options = {.batch_size = 4};
        kit k;
        kit_open(&k);
        k.metrics = metrics;
        k.n_metrics = 3;
        k.label_smoothing = smoothed ? 0.1 : 0;
        kit_model(&k, DL_SHAPE(7), "- dense: {units: 5, activation: softmax}\n");
        kit_plan(&k, &options);
        const dl_program *train = k.plan->program[kit_add(&k, DL_PROGRAM_TRAIN, 4)];
        const dl_program *evaluate = k.plan->program[kit_add(&k, DL_PROGRAM_EVALUATE, 4)];
        assert_int_equal(count(train, DL_OP_SOFTMAX_FORWARD) + count(train, DL_OP_SOFTMAX_BACKWARD), 0);
        assert_int_equal(
            count(train, DL_OP_CROSS_ENTROPY_FORWARD) + count(train, DL_OP_CROSS_ENTROPY_BACKWARD), 0);
        assert_int_equal(count(train, DL_OP_SOFTMAX_CROSS_ENTROPY), 1 + smoothed);
        assert_int_equal(count(train, DL_OP_ACCURACY), 2);
        assert_int_equal(count(train, DL_OP_SUM_SAMPLES), 4);
        assert_int_equal(count(evaluate, DL_OP_SOFTMAX_CROSS_ENTROPY), 0);
        assert_int_equal(count(evaluate, DL_OP_CROSS_ENTROPY_FORWARD), 1 + smoothed);
        for (int i = 0; i < evaluate->n_instructions; i++) {
            const dl_instruction *sum = &evaluate->instruction[i];
            if (sum->type == DL_DO_OPERATION && sum->kind == DL_OP_SUM_SAMPLES) {
                assert_int_equal(evaluate->slot[sum->slot[0]].tensor.dtype, DL_F64);
            }
        }
        kit_close(&k);
    }
}

/* --- what the data set has to compare with --- */

static void build_for(kit *k, const char *loss, dl_dtype dtype, dl_shape target, dl_status expected) {
    static const double mean[] = {0.0}, std[] = {1.0};
    dl_node *root = NULL;
    static const char text[] = "layers: [dense: {units: 3}]";
    k->diagnostics = (dl_diagnostics){.out = &k->mistakes};
    KIT_OK(dl_tree_parse("test.yaml", text, strlen(text), k->pool, &k->diagnostics, &root));
    const dl_model_data data = {.dtype = DL_F32,
                                .n_normalize = 1,
                                .mean = mean,
                                .std = std,
                                .has_target = true,
                                .target_dtype = dtype,
                                .target_shape = target};
    const dl_model_options options = {.input_shape = DL_SHAPE(4),
                                      .layers = dl_node_get(root, "layers"),
                                      .data = &data,
                                      .loss = dl_loss_find(loss)};
    dl_model_destroy(&k->model);
    assert_int_equal(dl_model_build(&options, &k->diagnostics, &k->model), expected);
}

static void targets_must_fit(void **state) {
    (void)state;
    kit k;
    kit_open(&k);
    build_for(&k, "mse", DL_F32, DL_SHAPE(3), DL_OK);
    assert_non_null(k.model);
    assert_false(k.model->output.classes);
    assert_int_equal(k.model->value[k.model->output.labels].dtype, DL_F32);
    build_for(&k, "mse", DL_I32, (dl_shape){0}, DL_ERR_USAGE);
    assert_null(k.model);
    assert_non_null(
        strstr(k.mistakes.data, "mean_squared_error needs float32 targets, but y of the data set is int32"));
    build_for(&k, "mae", DL_F32, DL_SHAPE(2), DL_ERR_USAGE);
    assert_null(k.model);
    assert_non_null(strstr(k.mistakes.data, "the model ends with shape [3], but y of the data set has [2]"));
    build_for(&k, "softmax_cross_entropy", DL_F32, DL_SHAPE(3), DL_ERR_USAGE);
    assert_null(k.model);
    assert_non_null(strstr(k.mistakes.data, "needs class numbers, but y of the data set is float32"));
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_become_the_loss_s_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(metrics_follow_the_loss, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(monitors_are_read, set_up, tear_down),
        cmocka_unit_test(figures_are_means_and_their_functions),
        cmocka_unit_test(training_is_fused_and_evaluation_exact),
        cmocka_unit_test(targets_must_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
