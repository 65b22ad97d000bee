/* The parameter table: counts of known networks, order, places, buckets, initial values. */
#include "config/config.h"
#include "model/augment.h"
#include "model/scoring.h"
#include "optim/optim.h"
#include "program_kit.h"

/* Builds the model of a configuration file for data of this shape and number of classes. */
static void load(kit *k, const char *path, dl_shape shape, int64_t n_classes) {
    const dl_option *table = NULL;
    dl_config *config = NULL;
    (void)snprintf(kit_context, sizeof kit_context, "%s", path);
    const dl_config_kinds kinds = {.optimizers = dl_optimizer_kinds(),
                                   .schedules = dl_schedule_kinds(),
                                   .layers = dl_layer_variants(),
                                   .augmentations = dl_augmentation_variants(),
                                   .losses = dl_loss_variants(),
                                   .metrics = dl_metric_variants()};
    KIT_OK(dl_config_table(&kinds, k->pool, &table));
    KIT_OK(dl_config_load(path, NULL, 0, table, k->pool, &k->diagnostics, &config));
    const dl_model_data data = {.sample_shape = shape,
                                .dtype = DL_U8,
                                .n_classes = n_classes,
                                .n_normalize = config->data.mean.n,
                                .mean = config->data.mean.value,
                                .std = config->data.std.value};
    const dl_model_options options = {
        .input_shape = shape, .layers = config->model.layers, .place = config->model_place, .data = &data};
    KIT_OK(dl_model_build(&options, &k->diagnostics, &k->model));
}

static void known_networks_have_their_parameters(void **state) {
    (void)state;
    static const struct {
        const char *path;
        dl_shape shape;
        int64_t n_classes, n_parameters, n_trainable, n_tensors;
        double training_mflop; /* of one sample: forward, data and weight gradients */
    } networks[] = {
        {"configs/mnist_cnn.yaml", {3, {28, 28, 1}}, 10, 93322, 93322, 10, 16.36},
        {"configs/models/vgg16.yaml", {3, {224, 224, 3}}, 1000, 138357544, 138357544, 32, 92668.0},
        {"configs/models/vgg16_transfer.yaml", {3, {224, 224, 3}}, 10, 21140042, 6425354, 30, 30730.0},
        {"configs/models/resnet18.yaml", {3, {224, 224, 3}}, 1000, 11689512, 11689512, 102, 10648.0},
        {"configs/models/resnet50.yaml", {3, {224, 224, 3}}, 1000, 25557032, 25557032, 267, 24299.0},
        {"configs/models/resnet20.yaml", {3, {32, 32, 3}}, 10, 269722, 269722, 97, 242.4},
        {"configs/models/resnet18_cifar.yaml", {3, {32, 32, 3}}, 10, 11173962, 11173962, 102, 3328.0},
    };
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        kit k;
        kit_open(&k);
        load(&k, networks[i].path, networks[i].shape, networks[i].n_classes);
        assert_int_equal(k.model->table.n_total, networks[i].n_parameters);
        assert_int_equal(k.model->table.n_trainable, networks[i].n_trainable);
        assert_int_equal(k.model->table.n, networks[i].n_tensors);
        const double mflop = dl_model_training_flops(k.model) / 1e6;
        if (fabs(mflop - networks[i].training_mflop) > 0.002 * networks[i].training_mflop) {
            fail_msg("%s: %.2f MFLOP, not %.2f", networks[i].path, mflop, networks[i].training_mflop);
        }
        kit_close(&k);
    }
}

static const char layers[] = "- conv2d: {filters: 3, kernel_size: 3, name: first}\n"
                             "- conv2d: {filters: 4, kernel_size: 2, name: still, trainable: false}\n"
                             "- conv2d: {filters: 7, kernel_size: 2, use_bias: false, name: third}\n"
                             "- flatten: {}\n"
                             "- dense: {units: 40, name: fourth}\n"
                             "- dense: {units: 5, name: last}\n";

/* Gradients are ready from the end to the beginning, so that is the order; frozen ones behind. */
static void last_layers_come_first(void **state) {
    (void)state;
    static const char *const order[] = {"/last/weight", "/last/bias",    "/fourth/weight",
                                        "/fourth/bias", "/third/weight", "/first/weight",
                                        "/first/bias",  "/still/weight", "/still/bias"};
    kit k;
    kit_open(&k);
    kit_model(&k, DL_SHAPE(9, 9, 1), layers);
    const dl_parameter_table *table = &k.model->table;
    assert_int_equal(table->n, 9);
    for (int i = 0; i < table->n; i++) {
        assert_string_equal(table->parameter[i].path, order[i]);
        assert_int_equal(table->parameter[i].trainable, i < 7);
        assert_ptr_equal(dl_parameter_find(table, order[i]), &table->parameter[i]);
    }
    assert_null(dl_parameter_find(table, "/last"));
    kit_close(&k);
}

static void tensors_are_aligned_and_apart(void **state) {
    (void)state;
    kit k;
    kit_open(&k);
    kit_model(&k, DL_SHAPE(9, 9, 1), layers);
    const dl_parameter_table *table = &k.model->table;
    int64_t end[2] = {0, 0}, n_trainable = 0, n_total = 0;
    for (int i = 0; i < table->n; i++) {
        const dl_parameter *parameter = &table->parameter[i];
        int64_t *arena_end = &end[parameter->trainable];
        assert_int_equal(parameter->offset % DL_PARAMETER_ALIGN, 0);
        assert_int_equal(parameter->n_elements, dl_shape_elements(&parameter->shape));
        assert_true(parameter->offset >= *arena_end && parameter->offset < *arena_end + DL_PARAMETER_ALIGN);
        *arena_end = parameter->offset + parameter->n_elements;
        n_total += parameter->n_elements;
        n_trainable += parameter->trainable ? parameter->n_elements : 0;
    }
    assert_true(table->trainable_elements >= end[1] &&
                table->trainable_elements < end[1] + DL_PARAMETER_ALIGN);
    assert_true(table->frozen_elements >= end[0] && table->frozen_elements < end[0] + DL_PARAMETER_ALIGN);
    assert_int_equal(table->n_total, n_total);
    assert_int_equal(table->n_trainable, n_trainable);
    assert_int_equal(n_total - n_trainable, 4 * 3 * 4 + 4);
    kit_close(&k);
}

/* Buckets are runs of whole tensors that cover the trainable arena; none above the limit but for a large
 * tensor. */
static void buckets_cover_the_arena(void **state) {
    (void)state;
    enum { LIMIT = 2048 }; /* of kit_model */
    kit k;
    kit_open(&k);
    kit_model(&k, DL_SHAPE(9, 9, 1), layers);
    const dl_parameter_table *table = &k.model->table;
    int row = 0;
    int64_t offset = 0;
    assert_true(table->n_buckets >= 3);
    for (int b = 0; b < table->n_buckets; b++) {
        const dl_bucket *bucket = &table->bucket[b];
        assert_int_equal(bucket->first, row);
        assert_int_equal(bucket->offset, offset);
        assert_true(bucket->n > 0);
        for (int i = 0; i < bucket->n; i++, row++) {
            assert_int_equal(table->parameter[row].bucket, b);
        }
        assert_true(bucket->n == 1 || bucket->n_elements * (int64_t)sizeof(float) <= LIMIT);
        offset += bucket->n_elements;
    }
    assert_int_equal(offset, table->trainable_elements);
    for (; row < table->n; row++) {
        assert_int_equal(table->parameter[row].bucket, -1);
    }
    kit_close(&k);
}

/* Glorot's limits; gaps and biases zero; a value depends on seed, path and element alone. */
static void initial_values_are_glorot(void **state) {
    (void)state;
    kit k, other;
    kit_open(&k);
    kit_open(&other);
    kit_model(&k, DL_SHAPE(9, 9, 1), layers);
    kit_model(&other, DL_SHAPE(9, 9, 1),
              "- conv2d: {filters: 3, kernel_size: 3, name: first}\n- flatten: {}\n- dense: {units: 5}\n");
    const dl_parameter_table *table = &k.model->table, *less = &other.model->table;
    float *a = NULL, *b = NULL, *frozen = NULL;
    KIT_OK(dl_alloc((size_t)table->trainable_elements, sizeof *a, &a));
    KIT_OK(dl_alloc((size_t)less->trainable_elements, sizeof *b, &b));
    KIT_OK(dl_alloc((size_t)table->frozen_elements, sizeof *frozen, &frozen));
    KIT_OK(dl_parameters_init(table, 3, &(dl_host_arenas){{a, frozen, NULL}}));
    KIT_OK(dl_parameters_init(less, 3, &(dl_host_arenas){{b, NULL, NULL}}));
    const dl_parameter *first = dl_parameter_find(table, "/first/weight");
    assert_memory_equal(a + first->offset, b + dl_parameter_find(less, "/first/weight")->offset,
                        (size_t)first->n_elements * sizeof *a);
    const dl_parameter *weight = dl_parameter_find(table, "/fourth/weight");
    const double limit = sqrt(6.0 / (double)(weight->shape.dim[0] + weight->shape.dim[1]));
    double largest = 0.0, sum = 0.0;
    for (int64_t i = 0; i < weight->n_elements; i++) {
        largest = fmax(largest, fabs((double)a[weight->offset + i]));
        sum += (double)a[weight->offset + i];
    }
    assert_true(largest <= limit && largest > 0.99 * limit);
    assert_true(fabs(sum / (double)weight->n_elements) < 0.05 * limit);
    const dl_parameter *bias = dl_parameter_find(table, "/fourth/bias");
    for (int64_t i = 0; i < bias->n_elements; i++) {
        assert_true(a[bias->offset + i] == 0.0f);
    }
    float *again = a + first->offset;
    const float before = again[1];
    KIT_OK(dl_parameters_init(table, 4, &(dl_host_arenas){{a, frozen, NULL}}));
    assert_true(again[1] != before);
    dl_free(&a);
    dl_free(&b);
    dl_free(&frozen);
    kit_close(&k);
    kit_close(&other);
}

/* Every mistake has its line. */
static void mistakes_have_their_place(void **state) {
    (void)state;
    static const struct {
        const char *layers, *says;
    } cases[] = {
        {"- flatten: {}\n- dense: {units: 5}\n- dense: {units: 5, from: flaten}\n",
         "test.yaml:4:27: error: there is no layer 'flaten' above this one; did you mean 'flatten'?"},
        {"- conv2d: {filters: 2, kernel_size: 12}\n- flatten: {}\n- dense: {units: 5}\n",
         "test.yaml:2:3: error: conv2d 'conv2d': the window is 12 cells high, but its input [9, 9, 1] from "
         "'the input' has only 9 with padding"},
        {"- dense: {units: 5}\n", "test.yaml:2:3: error: dense 'dense': needs a vector, but gets [9, 9, 1]"},
        {"- flatten: {name: a}\n- dense: {units: 5, name: a}\n", "test.yaml:3:3: error: "},
        {"- flatten: {}\n- dense: {units: 3}\n",
         "test.yaml:3:3: error: the model ends with 3 outputs, but the data set has 5 classes"},
        {"- conv2d: {filters: 3, kernel_size: 1}\n", "test.yaml:2:3: error: the model ends with shape"},
        {"- flatten: {}\n- dense: {units: 5, from: [flatten, flatten]}\n", "takes one input"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kit k;
        kit_open(&k);
        (void)snprintf(kit_context, sizeof kit_context, "%s", cases[i].layers);
        assert_int_equal(kit_try_model(&k, DL_SHAPE(9, 9, 1), cases[i].layers), DL_ERR_USAGE);
        assert_true(dl_error_last()->reported);
        if (k.mistakes.data == NULL || strstr(k.mistakes.data, cases[i].says) == NULL) {
            fail_msg("%s\nsays: %s", cases[i].layers, k.mistakes.data == NULL ? "nothing" : k.mistakes.data);
        }
        kit_close(&k);
    }
}

static const dl_parameter *find(const kit *k, const char *path) {
    const dl_parameter *parameter = dl_parameter_find(&k->model->table, path);
    assert_non_null(parameter);
    return parameter;
}

/* Keras's: W_hh with orthonormal columns, the forget gate open, small embeddings. */
static void initial_values_of_sequences(void **state) {
    (void)state;
    enum { UNITS = 13 };
    kit k;
    kit_open(&k);
    k.tokens = true;
    kit_model(&k, DL_SHAPE(4),
              "- embedding: {input_dim: 50, output_dim: 9}\n- lstm: {units: 13}\n- dense: {units: 5}\n");
    float *w = NULL;
    KIT_OK(dl_alloc((size_t)k.model->table.trainable_elements, sizeof *w, &w));
    KIT_OK(dl_parameters_init(&k.model->table, 3, &(dl_host_arenas){{w, NULL, NULL}}));
    const float *recurrent = w + find(&k, "/lstm/weight_hh")->offset,
                *bias = w + find(&k, "/lstm/bias")->offset;
    for (int a = 0; a < UNITS; a++) {
        for (int b = 0; b < UNITS; b++) {
            double product = 0.0;
            for (int j = 0; j < 4 * UNITS; j++) {
                product += (double)recurrent[j * UNITS + a] * (double)recurrent[j * UNITS + b];
            }
            assert_true(fabs(product - (a == b ? 1.0 : 0.0)) < 1e-6);
        }
    }
    for (int j = 0; j < 4 * UNITS; j++) {
        assert_true(bias[j] == (j / UNITS == 1 ? 1.0f : 0.0f));
    }
    const dl_parameter *embedding = find(&k, "/embedding/weight"), *input = find(&k, "/lstm/weight_ih");
    const double limits[] = {0.05, sqrt(6.0 / (9 + 4 * UNITS))};
    const dl_parameter *const uniform[] = {embedding, input};
    for (int i = 0; i < 2; i++) {
        double largest = 0.0;
        for (int64_t e = 0; e < uniform[i]->n_elements; e++) {
            largest = fmax(largest, fabs((double)w[uniform[i]->offset + e]));
        }
        assert_true(largest <= limits[i] && largest > 0.95 * limits[i]);
    }
    dl_free(&w);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initial_values_of_sequences), cmocka_unit_test(known_networks_have_their_parameters),
        cmocka_unit_test(last_layers_come_first),      cmocka_unit_test(tensors_are_aligned_and_apart),
        cmocka_unit_test(buckets_cover_the_arena),     cmocka_unit_test(initial_values_are_glorot),
        cmocka_unit_test(mistakes_have_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
