/* Whole networks of LSTMs against PyTorch's numbers (tests/golden/make_sequences.py): loss and all gradients.
 */
#include "program_kit.h"
#include "tests/golden/golden.h"

static const char *const path = "tests/golden/sequences.bin";
static const double allowed = 3e-6;

typedef struct network {
    const char *name, *layers;
    bool tokens;
    int windows; /* after each other; 0: one, without a dimension for it */
} network;

static const network networks[] = {
    {"stacked",
     "- lstm: {units: 5, return_sequences: true}\n"
     "- lstm: {units: 5, return_sequences: true}\n"
     "- dense: {units: 5}\n",
     false, 0},
    {"bidirectional",
     "- lstm: {units: 4, bidirectional: true, return_sequences: true}\n"
     "- lstm: {units: 4, bidirectional: true}\n"
     "- dense: {units: 5}\n",
     false, 0},
    {"backwards",
     "- lstm: {units: 6, go_backwards: true}\n"
     "- dense: {units: 5}\n",
     false, 0},
    {"carried",
     "- embedding: {input_dim: 5, output_dim: 4}\n"
     "- lstm: {units: 6, return_sequences: true, stateful: true}\n"
     "- dense: {units: 5}\n",
     true, 3},
};

static golden_file golden;

static const golden_record *record(const network *net, const char *part, const char *name) {
    char whole[128];
    (void)snprintf(whole, sizeof whole, "%s/%s", net->name, part);
    return golden_find(&golden, whole, name);
}

static void set_parameters(kit *k, const network *net) {
    kit_init_parameters(k); /* frozen ones, which there are not; and none is forgotten: */
    for (int i = 0; i < k->model->table.n; i++) {
        const dl_parameter *parameter = &k->model->table.parameter[i];
        const golden_record *values = record(net, "w", parameter->path);
        if (values == NULL || !dl_shape_equal(&values->shape, &parameter->shape)) {
            fail_msg("%s: no %s of this shape", net->name, parameter->path);
        }
        memcpy(kit_arena(k, DL_STORE_PARAMETER) + parameter->offset, values->values,
               (size_t)parameter->n_elements * sizeof(float));
    }
    int refresh = -1;
    KIT_OK(dl_plan_add(k->plan, DL_PROGRAM_REFRESH, 0, &refresh));
    KIT_OK(dl_execute(k->plan, refresh, NULL));
}

static void to_numbers(const float *from, int64_t n, int32_t *out) {
    for (int64_t i = 0; i < n; i++) {
        out[i] = (int32_t)from[i];
    }
}

/* Fills the batch with window `number` of the records. */
static void fill(kit_batch *b, const kit *k, const network *net, int64_t n, int64_t number) {
    const int64_t values = n * dl_shape_elements(&k->model->value[0].shape), rows = n * k->model->output.rows;
    const float *x = record(net, "x", "")->values + number * values;
    if (net->tokens) {
        to_numbers(x, values, b->x);
    } else {
        memcpy(b->x, x, (size_t)values * sizeof *x);
    }
    to_numbers(record(net, "y", "")->values + number * rows, rows, b->y);
    if (record(net, "lengths", "") != NULL) {
        to_numbers(record(net, "lengths", "")->values, n, b->lengths);
    }
}

static void compare(const kit *k, const network *net, int program) {
    const double loss = (double)record(net, "loss", "")->values[0], got = kit_loss(k, program);
    if (fabs(got - loss) > allowed * loss) {
        fail_msg("%s: the loss is %.9g, PyTorch's %.9g", kit_context, got, loss);
    }
    for (int i = 0; i < k->model->table.n; i++) {
        const dl_parameter *parameter = &k->model->table.parameter[i];
        const double d =
            golden_difference(parameter->n_elements, kit_arena(k, DL_STORE_GRADIENT) + parameter->offset,
                              record(net, "d", parameter->path)->values);
        if (!(d <= allowed)) {
            fail_msg("%s: the gradient of %s differs by %g", kit_context, parameter->path, d);
        }
    }
}

static void check(const network *net, const char *backend) {
    const dl_shape *x = &record(net, "x", "")->shape;
    const int first = net->windows > 0 ? 1 : 0;
    const int64_t n = x->dim[first], windows = net->windows > 0 ? net->windows : 1;
    dl_shape input = {.n_dims = x->n_dims - first - 1};
    memcpy(input.dim, x->dim + first + 1, (size_t)input.n_dims * sizeof *input.dim);
    kit k;
    kit_batch b;
    (void)snprintf(kit_context, sizeof kit_context, "%s on %s", net->name, backend);
    kit_open(&k);
    k.tokens = net->tokens;
    k.any_length = record(net, "lengths", "") != NULL;
    kit_model(&k, input, net->layers);
    kit_plan(&k, &(kit_options){.backend = backend, .batch_size = n, .runnable = true, .sgd = true});
    const int program = kit_add(&k, DL_PROGRAM_TRAIN, n);
    KIT_OK(dl_plan_finish(k.plan));
    set_parameters(&k, net);
    kit_batch_create(&b, k.model, n, 0.0);
    for (int64_t w = 0; w < windows; w++) {
        fill(&b, &k, net, n, w);
        kit_run(&k, program, &b);
    }
    compare(&k, net, program);
    kit_batch_free(&b);
    kit_close(&k);
}

static void networks_agree_with_pytorch(void **state) {
    (void)state;
    static const char *const backends[] = {"ref", "ref:strict", "cpu"};
    KIT_OK(golden_load(path, &golden));
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
            check(&networks[i], backends[b]);
        }
    }
    golden_free(&golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(networks_agree_with_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
