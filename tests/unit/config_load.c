/* The configuration: defaults, the built-in example, checks of values against each other, printing back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

typedef struct rate {
    double learning_rate;
} rate;

static const dl_option rate_options[] = {
    {.name = "learning_rate",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(rate, learning_rate),
     .fallback = "0.001",
     .min = 1e-12,
     .max = 1e9,
     .doc = "step"},
    DL_OPTION_END,
};
static const dl_option no_options[] = {DL_OPTION_END};
static const dl_variant_kind adam = {"adam", "fake", rate_options, sizeof(rate)};
static const dl_variant_kind sgd = {"sgd", "fake", rate_options, sizeof(rate)};
static const dl_variant_kind constant = {"constant", "fake", no_options, 1};
static const dl_variant_kind cosine = {"cosine", "fake", no_options, 1};
static const dl_variant_kind *const optimizers[] = {&sgd, &adam, NULL};
static const dl_variant_kind *const schedules[] = {&constant, &cosine, NULL};
static const dl_variant_kind cross_entropy = {"softmax_cross_entropy", "fake", no_options, 0};
static const dl_variant_kind categorical = {"categorical_crossentropy", "fake", no_options, 0};
static const dl_variant_kind accuracy = {"accuracy", "fake", no_options, 0};
static const dl_variant_kind *const losses[] = {&cross_entropy, &categorical, NULL};
static const dl_variant_kind *const metrics[] = {&accuracy, NULL};

static const char small[] = "model: {input: {shape: [28, 28, 1]}, layers: [dense: {units: auto}]}\n";

typedef struct fixture {
    dl_pool *pool;
    dl_text out;
    dl_diagnostics diagnostics;
    const dl_option *table;
    dl_config *config;
    char path[64];
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(dl_pool_create(&f->pool), DL_OK);
    const dl_config_kinds kinds = {
        .optimizers = optimizers, .schedules = schedules, .losses = losses, .metrics = metrics};
    assert_int_equal(dl_config_table(&kinds, f->pool, &f->table), DL_OK);
    (void)snprintf(f->path, sizeof f->path, "/tmp/dltrain_config_%ld.yaml", (long)getpid());
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    (void)unlink(f->path);
    dl_pool_destroy(&f->pool);
    dl_text_free(&f->out);
    free(f);
    return 0;
}

static dl_status load(fixture *f, const char *text, const char *override) {
    f->diagnostics = (dl_diagnostics){.out = &f->out};
    dl_text_clear(&f->out);
    assert_int_equal(dl_text_append(&f->out, "%s", ""), DL_OK);
    assert_int_equal(dl_file_replace(f->path, text, strlen(text)), DL_OK);
    return dl_config_load(f->path, &override, override == NULL ? 0 : 1, f->table, f->pool, &f->diagnostics,
                          &f->config);
}

static void test_defaults_are_the_contracts(void **state) {
    fixture *f = *state;
    assert_int_equal(load(f, small, NULL), DL_OK);
    const dl_config *c = f->config;
    char stem[64], dir[80];
    (void)snprintf(stem, sizeof stem, "dltrain_config_%ld", (long)getpid());
    (void)snprintf(dir, sizeof dir, "runs/%s", stem);
    assert_string_equal(c->name, stem);
    assert_string_equal(c->run.dir, dir);
    assert_int_equal(c->seed, 1);
    assert_int_equal(c->backend, DL_BACKEND_AUTO);
    assert_int_equal(c->precision, 0);
    assert_false(c->reproducible);
    assert_string_equal(c->data.path, "data/digits");
    assert_string_equal(dl_config_makers[c->data.make], "digits");
    assert_true(c->data.valid == 0 && c->data.mean.n == 1 && c->data.mean.value[0] == 0);
    assert_true(c->data.std.n == 1 && c->data.std.value[0] == 1);
    assert_int_equal(c->train.epochs, 5);
    assert_int_equal(c->train.max_steps, 0);
    assert_int_equal(c->train.batch_size, 128);
    assert_int_equal(c->train.accumulate, 1);
    assert_int_equal(c->train.metrics.n, 1);
    assert_ptr_equal(c->train.optimizer.kind, &adam);
    assert_true(((const rate *)c->train.optimizer.values)->learning_rate == 0.001);
    assert_ptr_equal(c->train.schedule.kind, &constant);
    assert_true(c->train.clip_norm == 0);
    assert_true(c->parallel.data == DL_WORD(0));
    assert_int_equal(c->parallel.tensor, 1);
    assert_int_equal(c->parallel.pipeline, 1);
    assert_int_equal(c->run.log_every, 10);
    assert_false(c->run.audit);
    assert_int_equal(c->model_place.line, 1);
}

static void test_a_given_path_is_not_made(void **state) {
    fixture *f = *state;
    assert_int_equal(load(f, small, "data.path=data/mine"), DL_OK);
    assert_string_equal(dl_config_makers[f->config->data.make], "none");
    assert_int_equal(load(f, small, "data={path: a, make: digits}"), DL_OK);
    assert_string_equal(dl_config_makers[f->config->data.make], "digits");
}

static void test_choices_are_numbers_of_the_kinds(void **state) {
    fixture *f = *state;
    assert_int_equal(load(f, small, "train.loss=categorical_crossentropy"), DL_OK);
    assert_int_equal(f->config->train.loss, 1);
    assert_false(f->config->places.metrics_given);
    assert_int_equal(load(f, small, "train={metrics: [accuracy], loss: softmax_cross_entropy}"), DL_OK);
    assert_int_equal(f->config->train.loss, 0);
    assert_true(f->config->places.metrics_given);
}

/* One number stands for all channels, beside a list of one for each. */
static void test_one_mean_or_std_for_all_channels(void **state) {
    fixture *f = *state;
    static const char color[] = "model: {input: {shape: [8, 8, 3]}, layers: [dense: {units: auto}]}\n";
    assert_int_equal(load(f, color, "data.mean=[0.1, 0.2, 0.3]"), DL_OK);
    assert_int_equal(f->config->data.std.n, 3);
    assert_true(f->config->data.std.value[2] == 1.0);
    assert_int_equal(load(f, color, "data={mean: 0.5, std: [1, 2, 4]}"), DL_OK);
    assert_int_equal(f->config->data.mean.n, 3);
    assert_true(f->config->data.mean.value[1] == 0.5 && f->config->data.std.value[2] == 4.0);
    assert_int_equal(load(f, color, "data={mean: 0.5, std: 2}"), DL_OK);
    assert_int_equal(f->config->data.mean.n, 1);
}

static void test_the_example_is_the_file(void **state) {
    fixture *f = *state;
    dl_text file = {0};
    assert_int_equal(dl_file_read("configs/mnist_cnn.yaml", 1 << 20, &file), DL_OK);
    assert_string_equal(dl_config_example(), file.data);
    dl_text_free(&file);
    /* Its keys say what the defaults are anyway, but for these. */
    static const char *const own[] = {"train.optimizer={adam: {learning_rate: 0.002}}",
                                      "train.schedule=cosine"};
    dl_text printed[2] = {{0}};
    f->diagnostics = (dl_diagnostics){.out = &f->out};
    assert_int_equal(dl_config_load(NULL, NULL, 0, no_options, f->pool, &f->diagnostics, &f->config),
                     DL_ERR_USAGE);
    f->diagnostics = (dl_diagnostics){.out = &f->out};
    const dl_option *plain = NULL;
    static const dl_option warm[] = {
        {.name = "warmup_steps", .type = DL_TYPE_INT, .fallback = "0", .max = 1e6, .doc = ""}, DL_OPTION_END};
    static const dl_variant_kind warm_constant = {"constant", "fake", warm, sizeof(int64_t)};
    static const dl_variant_kind warm_cosine = {"cosine", "fake", warm, sizeof(int64_t)};
    static const dl_variant_kind *const warm_schedules[] = {&warm_constant, &warm_cosine, NULL};
    const dl_config_kinds kinds = {
        .optimizers = optimizers, .schedules = warm_schedules, .losses = losses, .metrics = metrics};
    assert_int_equal(dl_config_table(&kinds, f->pool, &plain), DL_OK);
    assert_int_equal(dl_config_load(NULL, NULL, 0, plain, f->pool, &f->diagnostics, &f->config), DL_OK);
    assert_string_equal(f->config->name, "mnist_cnn");
    assert_string_equal(f->config->file, "built-in example");
    assert_int_equal(dl_config_print(f->config, plain, &printed[0]), DL_OK);
    dl_text bare = {0};
    const char *layers = strstr(printed[0].data, "model:\n"), *end = strstr(printed[0].data, "train:\n");
    assert_true(layers != NULL && end != NULL);
    assert_int_equal(dl_text_append(&bare, "name: mnist_cnn\n"), DL_OK);
    assert_int_equal(dl_text_append_bytes(&bare, layers, (size_t)(end - layers)), DL_OK);
    assert_int_equal(dl_file_replace(f->path, bare.data, bare.size), DL_OK);
    assert_int_equal(dl_config_load(f->path, own, 2, plain, f->pool, &f->diagnostics, &f->config), DL_OK);
    assert_int_equal(dl_config_print(f->config, plain, &printed[1]), DL_OK);
    assert_string_equal(printed[0].data, printed[1].data);
    dl_text_free(&bare);
    dl_text_free(&printed[0]);
    dl_text_free(&printed[1]);
}

/* The first dimension of sequences of any length. */
static void test_an_open_shape_is_printed_as_it_is_read(void **state) {
    fixture *f = *state;
    dl_text printed = {0};
    assert_int_equal(load(f, small, "model.input.shape=[null, 12]"), DL_OK);
    assert_int_equal(dl_config_print(f->config, f->table, &printed), DL_OK);
    assert_non_null(strstr(printed.data, "shape: [null, 12]\n"));
    assert_int_equal(load(f, printed.data, NULL), DL_OK);
    dl_text_free(&printed);
}

static void test_print_is_a_fixed_point(void **state) {
    fixture *f = *state;
    dl_text first = {0}, second = {0};
    assert_int_equal(load(f, small, "train={optimizer: {sgd: {learning_rate: 0.1}}, batch_size: 64}"), DL_OK);
    assert_int_equal(dl_config_print(f->config, f->table, &first), DL_OK);
    (void)unlink(f->path);
    (void)snprintf(f->path, sizeof f->path, "/tmp/dltrain_other_%ld.yaml", (long)getpid());
    assert_int_equal(load(f, first.data, NULL), DL_OK); /* another file name: the run keeps its own */
    assert_int_equal(dl_config_print(f->config, f->table, &second), DL_OK);
    assert_string_equal(first.data, second.data);
    assert_non_null(strstr(first.data, "  optimizer:\n    sgd:\n      learning_rate: 0.1\n"));
    assert_non_null(strstr(first.data, "parallel:\n  data: auto\n  tensor: 1\n  pipeline: 1\n"));
    dl_text_free(&first);
    dl_text_free(&second);
}

/* Overrides of a sound file, and the one mistake that each makes. */
static void test_mistakes(void **state) {
    static const char *const cases[][2] = {
        {"train.epochs=ten", "1:14: error: epochs must be a whole number from 1 to 1000000, but it is 'ten'"},
        {"train.epochs=", "1:14: error: epochs must be a whole number from 1 to 1000000, but it is nothing"},
        {"trian.epochs=3", "1:1: error: unknown key 'trian'; did you mean 'train'?"},
        {"train.bathc_size=3", "1:7: error: unknown key 'bathc_size' in train; did you mean 'batch_size'?"},
        {"train.accumulate=129", "1:18: error: accumulate (129) must not be above batch_size (128)"},
        {"train.clip_norm=-1", "1:17: error: clip_norm must be a number of at least 0, but it is '-1'"},
        {"train.loss_scale=0.5", "1:18: error: loss_scale 0.5 would make gradients smaller"},
        {"parallel.pipeline=4", "1:19: error: the pipeline axis has size 1 today; write 1 or leave it out"},
        {"data.mean=[0, 0, 0]", "1:11: error: mean has 3 numbers, but model.input.shape has 1 channel"},
        {"data.std=0", "1:10: error: std must be above 0"},
        {"data.path=''", "1:11: error: path is empty; give the folder of the shards"},
        {"data.make=faces",
         "1:11: error: make must be none, digits, shapes, shapes224, series, text or text_chars, but it "
         "is 'faces'"},
        {"name=a/b", "1:6: error: 'a/b' cannot be the name of a run"},
        {"seed=-1", "1:6: error: seed must be a whole number"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[200];
        const dl_status status = load(f, small, cases[i][0]);
        (void)snprintf(expected, sizeof expected, "command line:%s", cases[i][1]);
        if (status != DL_ERR_USAGE || f->diagnostics.n_errors != 1 ||
            strncmp(f->out.data, expected, strlen(expected)) != 0) {
            fail_msg("%s gives\n%sexpected\n%s", cases[i][0], f->out.data, expected);
        }
    }
}

static void test_all_mistakes_in_one_go(void **state) {
    fixture *f = *state;
    assert_int_equal(load(f, "seed: x\ntrain: {clip_norm: -1, epoch: 2}\nseed: 2\n", "run.audit=yes"),
                     DL_ERR_USAGE);
    assert_null(f->config);
    assert_int_equal(f->diagnostics.n_errors, 6); /* seed twice, seed, epoch, audit, no model, clip_norm */
    f->diagnostics = (dl_diagnostics){.quiet = true};
    assert_int_equal(dl_config_load(f->path, NULL, 0, f->table, f->pool, &f->diagnostics, &f->config),
                     DL_ERR_USAGE);
    assert_int_equal(f->diagnostics.n_errors, 5);
}

static void test_an_empty_file(void **state) {
    fixture *f = *state;
    assert_int_equal(load(f, "", NULL), DL_ERR_USAGE);
    assert_non_null(strstr(f->out.data, ".yaml:1:1: error: key 'model' is missing\n\n^\n"));
    assert_int_equal(load(f, "", "model={input: {shape: 4}, layers: [dense]}"), DL_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults_are_the_contracts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_given_path_is_not_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_choices_are_numbers_of_the_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_mean_or_std_for_all_channels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_example_is_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_open_shape_is_printed_as_it_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_print_is_a_fixed_point, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_mistakes_in_one_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
