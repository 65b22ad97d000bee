/* For the tests of programs: a model from a list of layers, a plan on a device, batches of made samples. */
#ifndef DLTRAIN_TESTS_UNIT_PROGRAM_KIT_H
#define DLTRAIN_TESTS_UNIT_PROGRAM_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/layer.h"
#include "model/scoring.h"
#include "program/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is being tried, for messages. */
static char kit_context[2048];

#define KIT_OK(call)                                                                                         \
    do {                                                                                                     \
        if ((call) != DL_OK) {                                                                               \
            fail_msg("%s: %s\n%s", #call, dl_error_last()->message, kit_context);                            \
        }                                                                                                    \
    } while (0)

enum { KIT_CLASSES = 5 };

/* Everything that a test of a model or a program holds. */
typedef struct kit {
    dl_pool *pool;
    dl_text mistakes;
    dl_diagnostics diagnostics;
    /* for kit_try_model; zeros: softmax cross entropy with accuracy */
    const char *loss, *augment; /* augment: a YAML list; NULL: none */
    double label_smoothing;
    int n_metrics;
    const char *const *metrics;
    dl_model *model;
    dl_device *device;
    dl_comm *comm;
    dl_grid *grid;
    dl_plan *plan;
    dl_partition *partition; /* what the plan is of, with kit_options.tensor */
    bool tokens, any_length; /* what kit_try_model's input is */
} kit;

/* What kit_plan makes; zeros: a dry plan on `ref` for one rank, adam, fused, not clipped. */
typedef struct kit_options {
    const char *backend;
    const dl_backend *device_of; /* in place of `backend`: one that is in no table */
    int n_threads;
    int64_t batch_size;
    int accumulate, n_ranks, rank;
    bool reproducible, unfused, measure, capture;
    bool sgd;     /* plain */
    bool rmsprop; /* with all its states */
    double clip_norm, ema_decay, loss_scale;
    dl_dtype half; /* DL_F32: none */
    bool runnable; /* with a grid, of one rank */
    /* makes the communicator of a grid of n_ranks, in place of self */
    dl_status (*join)(dl_device *device, dl_comm **out);
    bool predict, forward_only;
    int tensor, tensor_rank; /* ranks that share the model (dry only); 0: none */
} kit_options;

static inline void kit_open(kit *k) {
    *k = (kit){.diagnostics = {.out = NULL}};
    KIT_OK(dl_pool_create(&k->pool));
}

static inline void kit_close_plan(kit *k) {
    dl_plan_destroy(&k->plan);
    dl_partition_destroy(&k->partition);
    dl_grid_destroy(&k->grid);
    dl_comm_destroy(&k->comm);
    dl_device_close(&k->device);
}

static inline void kit_close(kit *k) {
    kit_close_plan(k);
    dl_model_destroy(&k->model);
    dl_text_free(&k->mistakes);
    dl_pool_destroy(&k->pool);
}

/* Builds k->model; `layers` is a YAML list. The text of mistakes is in k->mistakes afterwards. */
static inline dl_status kit_try_model(kit *k, dl_shape input, const char *layers) {
    static const double mean[] = {0.0}, std[] = {1.0};
    static const char *const metrics[] = {"accuracy"};
    dl_node *root = NULL;
    char *text = NULL;
    k->diagnostics = (dl_diagnostics){.out = &k->mistakes};
    KIT_OK(dl_pool_printf(k->pool, &text, "layers:\n%s\naugment: %s\n", layers,
                          k->augment == NULL ? "[]" : k->augment));
    KIT_OK(dl_tree_parse("test.yaml", text, strlen(text), k->pool, &k->diagnostics, &root));
    KIT_OK(dl_diagnostics_finish(&k->diagnostics));
    const dl_model_data data = {.sample_shape = input,
                                .dtype = DL_F32,
                                .n_classes = KIT_CLASSES,
                                .n_normalize = 1,
                                .mean = mean,
                                .std = std};
    const dl_model_options options = {.input_shape = input,
                                      .tokens = k->tokens,
                                      .any_length = k->any_length,
                                      .augment = dl_node_get(root, "augment"),
                                      .layers = dl_node_get(root, "layers"),
                                      .data = &data,
                                      .seed = 7,
                                      .bucket_bytes = 2048,
                                      .loss = k->loss == NULL ? NULL : dl_loss_find(k->loss),
                                      .label_smoothing = k->label_smoothing,
                                      .n_metrics = k->metrics == NULL ? 1 : k->n_metrics,
                                      .metrics = k->metrics == NULL ? metrics : k->metrics};
    dl_model_destroy(&k->model);
    return dl_model_build(&options, &k->diagnostics, &k->model);
}

static inline void kit_model(kit *k, dl_shape input, const char *layers) {
    if (kit_try_model(k, input, layers) != DL_OK) {
        fail_msg("%s: %s", dl_error_last()->message, k->mistakes.data == NULL ? "" : k->mistakes.data);
    }
}

static inline dl_update_rule kit_update(const kit_options *o) {
    if (o->rmsprop) {
        const dl_rmsprop_attr rmsprop = {(double)o->batch_size, 0.9, 1e-7, 0.9, 0, true};
        return (dl_update_rule){
            .kind = DL_OP_RMSPROP_UPDATE, .attr.u.rmsprop = rmsprop, .n_states = 3, .state = {"s", "m", "v"}};
    }
    if (o->sgd) {
        return (dl_update_rule){.kind = DL_OP_SGD_UPDATE, .attr.u.sgd.capacity = (double)o->batch_size};
    }
    const dl_adam_attr adam = {
        .capacity = (double)o->batch_size, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-7};
    return (dl_update_rule){
        .kind = DL_OP_ADAM_UPDATE, .attr.u.adam = adam, .n_states = 2, .state = {"m", "v"}};
}

/* Opens the device and makes an empty plan for k->model. */
static inline void kit_plan(kit *k, const kit_options *o) {
    static const char *const fields[] = {"x", "y", "lengths"};
    const dl_device_options device = {.n_threads = o->n_threads > 0 ? o->n_threads : 1};
    const dl_backend *backend =
        o->device_of != NULL ? o->device_of : dl_backend_find(o->backend == NULL ? "ref" : o->backend);
    assert_non_null(backend);
    KIT_OK(dl_device_open(backend, &device, &k->device));
    if (o->runnable) {
        const int sizes[DL_N_AXES] = {0, 1, 1};
        KIT_OK(o->join != NULL ? o->join(k->device, &k->comm) : dl_comm_self_create(&k->comm));
        KIT_OK(dl_grid_create(k->comm, sizes, &k->grid));
    }
    if (o->tensor > 0) {
        KIT_OK(dl_partition_create(k->model, o->tensor, o->tensor_rank, &k->partition));
    }
    const dl_plan_options options = {.model = k->partition == NULL ? k->model : k->partition->model,
                                     .partition = k->partition,
                                     .device = k->device,
                                     .grid = k->grid,
                                     .n_ranks = o->n_ranks > 0 ? o->n_ranks : 1,
                                     .rank = o->rank,
                                     .batch_size = o->batch_size,
                                     .accumulate = o->accumulate > 0 ? o->accumulate : 1,
                                     .reproducible = o->reproducible,
                                     .measure = o->measure,
                                     .fuse = !o->unfused,
                                     .capture = o->capture,
                                     .half = o->half,
                                     .predict = o->predict,
                                     .forward_only = o->forward_only,
                                     .update = kit_update(o),
                                     .clip_norm = o->clip_norm,
                                     .ema_decay = o->ema_decay,
                                     .loss_scale = o->loss_scale,
                                     .n_fields = 3,
                                     .fields = fields};
    KIT_OK(dl_plan_create(&options, &k->plan));
}

static inline int kit_add(kit *k, dl_program_kind kind, int64_t n_samples) {
    int number = -1;
    KIT_OK(dl_plan_add(k->plan, kind, n_samples, &number));
    return number;
}

/* How many operations of a kind a program has. */
static inline int kit_count(const kit *k, int program, dl_op_kind kind) {
    const dl_program *p = k->plan->program[program];
    int found = 0;
    for (int i = 0; i < p->n_instructions; i++) {
        found += p->instruction[i].type == DL_DO_OPERATION && p->instruction[i].kind == kind;
    }
    return found;
}

/* --- running --- */

/* A batch of samples that depend on their number alone. */
typedef struct kit_batch {
    void *x; /* float or tokens */
    int32_t *y, *lengths;
    float *targets; /* of losses of numbers: in place of y */
    int64_t *ids;
    const void *field[3];
    dl_step_block step;
    dl_host_batch host;
} kit_batch;

static inline double kit_random(uint64_t seed, uint64_t number) {
    uint32_t random[4];
    dl_rng_4x32(seed, 77, number / 4, 0, random);
    return ((double)random[number % 4] + 0.5) * 0x1p-31 - 1.0;
}

static inline void kit_batch_create(kit_batch *b, const dl_model *model, int64_t n, double learning_rate) {
    const int64_t size = dl_shape_elements(&model->value[0].shape), rows = model->output.rows;
    const int64_t n_targets = n * dl_shape_elements(&model->value[model->output.labels].shape);
    *b = (kit_batch){.step = {.step = 1, .t = 1, .weight = (double)n, .learning_rate = learning_rate}};
    KIT_OK(dl_alloc((size_t)(n * size), sizeof(float), &b->x));
    KIT_OK(dl_alloc((size_t)n_targets, sizeof *b->y, &b->y));
    KIT_OK(dl_alloc((size_t)n_targets, sizeof *b->targets, &b->targets));
    KIT_OK(dl_alloc((size_t)n, sizeof *b->lengths, &b->lengths));
    KIT_OK(dl_alloc((size_t)n, sizeof *b->ids, &b->ids));
    for (int64_t i = 0; i < n_targets; i++) { /* with several rows some have no label */
        b->y[i] = rows > 1 && i % 5 == 3 ? -1 : (int32_t)(i * 7 % KIT_CLASSES);
        b->targets[i] = (float)kit_random(4, (uint64_t)i);
    }
    for (int64_t i = 0; i < n; i++) {
        b->ids[i] = 100 + i;
        b->lengths[i] = 1 + (int32_t)(i * 5 % model->value[0].shape.dim[0]);
        for (int64_t j = 0; j < size; j++) {
            const double value = kit_random(3, (uint64_t)(i * size + j));
            if (model->value[0].dtype == DL_I32) {
                ((int32_t *)b->x)[i * size + j] = (int32_t)((value + 1.0) / 2.0 * KIT_CLASSES);
            } else {
                ((float *)b->x)[i * size + j] = (float)value;
            }
        }
    }
    b->field[0] = b->x;
    b->field[1] = model->output.classes ? (const void *)b->y : (const void *)b->targets;
    b->field[2] = b->lengths;
    b->host = (dl_host_batch){.field = b->field, .ids = b->ids};
}

static inline void kit_batch_free(kit_batch *b) {
    dl_free(&b->x);
    dl_free(&b->y);
    dl_free(&b->lengths);
    dl_free(&b->targets);
    dl_free(&b->ids);
}

static inline void kit_run(kit *k, int program, kit_batch *b) {
    b->host.step = &b->step;
    KIT_OK(dl_execute(k->plan, program, &b->host));
}

static inline float *kit_arena(const kit *k, dl_storage storage) {
    return k->plan->memory[storage];
}

/* Initial parameters, and copies of them for the kernels. */
static inline void kit_init_parameters(kit *k) {
    int refresh = -1;
    KIT_OK(dl_plan_add(k->plan, DL_PROGRAM_REFRESH, 0, &refresh));
    const dl_host_arenas arenas = {
        {kit_arena(k, DL_STORE_PARAMETER), kit_arena(k, DL_STORE_FROZEN), kit_arena(k, DL_STORE_STATISTICS)}};
    KIT_OK(dl_parameters_init(&k->model->table, 5, &arenas));
    for (int i = 0; i < k->model->table.n;
         i++) { /* embeddings as large as other values: differences see them */
        const dl_parameter *parameter = &k->model->table.parameter[i];
        for (int64_t e = 0; e < parameter->n_elements && parameter->init == DL_INIT_SMALL_UNIFORM; e++) {
            dl_parameter_data(parameter, &arenas)[e] *= 20.0f;
        }
    }
    KIT_OK(dl_execute(k->plan, refresh, NULL));
}

/* Total loss of the program that ran last. */
static inline double kit_loss(const kit *k, int program) {
    const dl_program *p = k->plan->program[program];
    return ((const double *)dl_slot_address(k->plan, p, p->totals))[DL_TOTAL_LOSS];
}

#endif
