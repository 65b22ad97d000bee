/* Random models, compiled in every way: the checker finds nothing wrong, and ranks exchange in one order. */
#include "program/choose.h"
#include "program_kit.h"

enum { N_GRAPHS = 240, MAX_STEPS = 256 };

/* Numbers of one graph, drawn one after the other. */
typedef struct dice {
    uint64_t seed, n;
} dice;

static int64_t draw(dice *d, int64_t low, int64_t high) {
    return low + (int64_t)dl_rng_below(d->seed, DL_RNG_TEST, d->n++, 0, (uint64_t)(high - low + 1));
}

static const char *pick(dice *d, const char *const *words, int n) {
    return words[draw(d, 0, n - 1)];
}

static const char *const functions[] = {"linear", "relu", "tanh", "sigmoid"};

/* Layers of several inputs, and those that look at whole batches. */
static void add_graph_layer(dice *d, dl_text *text, int number) {
    static const char *const statistics[] = {"rank", "global", "3"};
    const int filters = 8 * (int)draw(d, 1, 2);
    switch (draw(d, 0, 4)) {
    case 0:
        KIT_OK(dl_text_append(
            text, "- batch_normalization: {statistics: %s, activation: %s, trainable: %s, name: l%d}\n",
            pick(d, statistics, 3), pick(d, functions, 4), draw(d, 0, 3) > 0 ? "true" : "false", number));
        break;
    case 1:
        KIT_OK(dl_text_append(text,
                              "- average_pooling2d: {pool_size: 2, strides: %d, padding: same, name: l%d}\n",
                              (int)draw(d, 1, 2), number));
        break;
    case 2:
        KIT_OK(dl_text_append(text, "- zero_padding2d: {padding: %d, channels: [0, %d], name: l%d}\n",
                              (int)draw(d, 0, 2), (int)draw(d, 0, 1) * 2, number));
        break;
    case 3: /* a residual block */
        KIT_OK(dl_text_append(text,
                              "- conv2d: {filters: %d, kernel_size: 1, name: in%d}\n"
                              "- batch_normalization: {name: norm%d, statistics: %s}\n"
                              "- conv2d: {filters: %d, kernel_size: 3, padding: same, use_bias: false}\n"
                              "- batch_normalization: {}\n"
                              "- add: {from: [above, norm%d], activation: %s, name: l%d}\n",
                              filters, number, number, pick(d, statistics, 3), filters, number,
                              pick(d, functions, 4), number));
        break;
    default:
        KIT_OK(dl_text_append(text,
                              "- conv2d: {filters: %d, kernel_size: 1, name: in%d}\n"
                              "- conv2d: {filters: 8, kernel_size: 3, padding: same, name: side%d}\n"
                              "- concatenate: {from: [in%d, side%d], name: l%d}\n",
                              filters, number, number, number, number, number));
    }
}

/* One layer on images; some take an earlier one's output, which leaves branches that nothing uses. */
static void add_image_layer(dice *d, dl_text *text, int number) {
    const int64_t kind = draw(d, 0, 9);
    char from[32] = "";
    if (number > 1 && draw(d, 0, 7) == 0) {
        (void)snprintf(from, sizeof from, ", from: l%d", (int)draw(d, 0, number - 1));
    }
    if (kind < 5) {
        static const char *const paddings[] = {"same", "valid", "1", "[0, 1]"};
        KIT_OK(dl_text_append(
            text,
            "- conv2d: {filters: %d, kernel_size: [%d, %d], strides: %d, padding: %s, groups: %d, "
            "activation: %s, use_bias: %s, trainable: %s, name: l%d%s}\n",
            draw(d, 0, 1) ? 16 * (int)draw(d, 1, 2) : 2 * (int)draw(d, 1, 4), (int)draw(d, 2, 3),
            (int)draw(d, 2, 3), (int)draw(d, 1, 2), pick(d, paddings, 4), (int)draw(d, 1, 2),
            pick(d, functions, 4), draw(d, 0, 3) > 0 ? "true" : "false", draw(d, 0, 7) > 0 ? "true" : "false",
            number, from));
    } else if (kind < 7) {
        KIT_OK(dl_text_append(
            text, "- max_pooling2d: {pool_size: %d, strides: %d, padding: %s, name: l%d%s}\n",
            (int)draw(d, 2, 3), (int)draw(d, 1, 3), draw(d, 0, 1) ? "same" : "valid", number, from));
    } else if (kind < 8) {
        add_graph_layer(d, text, number);
    } else if (kind < 9) {
        KIT_OK(dl_text_append(text, "- activation: {function: %s, name: l%d%s}\n", functions[draw(d, 1, 3)],
                              number, from));
    } else {
        KIT_OK(
            dl_text_append(text, "- dropout: {rate: 0.%d, name: l%d%s}\n", (int)draw(d, 0, 9), number, from));
    }
}

static void add_vector_layer(dice *d, dl_text *text, int number) {
    if (draw(d, 0, 2) > 0) {
        KIT_OK(dl_text_append(text, "- dense: {units: %d, activation: %s, name: l%d, trainable: %s}\n",
                              (int)draw(d, 1, 40), pick(d, functions, 4), number,
                              draw(d, 0, 7) > 0 ? "true" : "false"));
    } else {
        KIT_OK(dl_text_append(text, "- dropout: {rate: 0.5, name: l%d}\n", number));
    }
}

static void draw_layers(dice *d, dl_text *text) {
    int number = 0;
    for (int64_t n = draw(d, 0, 7); n > 0; n--) {
        add_image_layer(d, text, number++);
    }
    static const char *const joints[] = {"flatten", "flatten", "global_average_pooling2d",
                                         "global_max_pooling2d"};
    KIT_OK(dl_text_append(text, "- %s: {}\n", pick(d, joints, 4)));
    for (int64_t n = draw(d, 0, 3); n > 0; n--) {
        add_vector_layer(d, text, number++);
    }
    static const char *const ends[] = {"linear", "softmax", "relu"};
    KIT_OK(dl_text_append(text, "- dense: {units: auto, activation: %s}\n", pick(d, ends, 3)));
}

static void draw_loss(dice *d, kit *k) {
    static const char *const losses[] = {"softmax_cross_entropy", "softmax_cross_entropy",
                                         "softmax_cross_entropy", "mean_squared_error",
                                         "mean_absolute_error"};
    static const char *const of_classes[] = {"accuracy", "perplexity", "top_5_accuracy"},
                             *const of_numbers[] = {"mae", "mse"};
    k->loss = pick(d, losses, 5);
    const bool classes = dl_loss_find(k->loss)->target == DL_TARGET_CLASSES;
    k->metrics = classes ? of_classes : of_numbers;
    k->n_metrics = (int)draw(d, 0, classes ? 3 : 2);
    k->label_smoothing = classes && draw(d, 0, 1) ? 0.1 : 0;
}

/* Tokens or sequences of different lengths through one to three LSTMs. */
static void draw_sequences(dice *d, kit *k) {
    dl_text text = {0};
    k->tokens = draw(d, 0, 1) == 1;
    k->any_length = !k->tokens;
    if (k->tokens) {
        /* one draw a statement: compilers evaluate arguments in different orders */
        const char *trainable = draw(d, 0, 3) > 0 ? "true" : "false";
        const int width = (int)draw(d, 1, 40);
        KIT_OK(dl_text_append(&text, "- embedding: {input_dim: 5, output_dim: %d, trainable: %s}\n", width,
                              trainable));
    }
    for (int64_t n = draw(d, 0, 2); n > 0; n--) {
        static const char *const ways[] = {"", ", bidirectional: true", ", go_backwards: true"};
        const char *trainable = draw(d, 0, 5) > 0 ? "true" : "false";
        const char *way = pick(d, ways, 3);
        const int units = (int)draw(d, 1, 17);
        KIT_OK(dl_text_append(&text, "- lstm: {units: %d, return_sequences: true%s, trainable: %s}\n", units,
                              way, trainable));
        if (draw(d, 0, 1) == 1) {
            KIT_OK(dl_text_append(&text, "- dropout: {rate: 0.3}\n"));
        }
    }
    const bool every_position = k->tokens && draw(d, 0, 1) == 1;
    KIT_OK(dl_text_append(&text, "- lstm: {units: %d, return_sequences: %s}\n- dense: {units: auto}\n",
                          (int)draw(d, 1, 17), every_position ? "true" : "false"));
    const int64_t positions = k->tokens && draw(d, 0, 1) == 1 ? draw(d, 10, 60) : draw(d, 1, 9);
    const dl_shape input = k->tokens ? DL_SHAPE(positions) : DL_SHAPE(positions, draw(d, 1, 5));
    (void)snprintf(kit_context, sizeof kit_context, "seed %d, %d positions:\n%s", (int)d->seed,
                   (int)input.dim[0], text.data);
    kit_model(k, input, text.data);
    dl_text_free(&text);
}

/* Draws until the layers fit each other: a window may be larger than what is left of the image. */
static void draw_model(dice *d, kit *k) {
    if (draw(d, 0, 3) == 0) {
        draw_sequences(d, k);
        return;
    }
    for (;;) {
        dl_text text = {0};
        const dl_shape input = DL_SHAPE(draw(d, 3, 12), draw(d, 3, 12), 2 * draw(d, 1, 2));
        draw_layers(d, &text);
        k->augment = draw(d, 0, 3) > 0 ? NULL : "[random_flip, random_crop: {padding: [1, 0]}]";
        (void)snprintf(kit_context, sizeof kit_context, "seed %d, input %d x %d x %d:\n%s", (int)d->seed,
                       (int)input.dim[0], (int)input.dim[1], (int)input.dim[2], text.data);
        draw_loss(d, k);
        const dl_status status = kit_try_model(k, input, text.data);
        dl_text_free(&text);
        dl_text_free(&k->mistakes);
        if (status == DL_OK) {
            return;
        }
    }
}

/* What sessions refuse: pieces with statistics of groups of samples, pieces of micro-batches with statistics.
 */
static void leave_out_refused(const dl_model *model, kit_options *o) {
    for (int i = 0; i < model->n_ops && o->reproducible; i++) {
        if (model->op[i].kind == DL_OP_BATCH_NORM_SUMS) {
            o->accumulate = 1;
            o->reproducible = model->op[i].attr.u.norm.group == 0;
        }
    }
}

static void draw_options(dice *d, const dl_model *model, kit_options *o) {
    static const char *const backends[] = {"ref", "cpu", "ref:strict"};
    static const dl_dtype precisions[] = {DL_F32, DL_F32, DL_BF16, DL_F16};
    *o = (kit_options){.backend = pick(d, backends, 3),
                       .n_threads = (int)draw(d, 1, 2),
                       .batch_size = draw(d, 0, 3) == 0 ? 1 : draw(d, 2, 40),
                       .accumulate = draw(d, 0, 1) ? 1 : (int)draw(d, 2, 4),
                       .n_ranks = draw(d, 0, 1) ? 1 : (int)draw(d, 2, 8),
                       .reproducible = draw(d, 0, 1) == 1,
                       .unfused = draw(d, 0, 2) == 0,
                       .sgd = draw(d, 0, 1) == 1,
                       .rmsprop = draw(d, 0, 2) == 0,
                       .clip_norm = draw(d, 0, 1) ? 0 : 1,
                       .ema_decay = draw(d, 0, 1) ? 0 : 0.9,
                       .half = precisions[draw(d, 0, 3)],
                       .loss_scale = draw(d, 0, 2) == 0 ? 1024 : 0};
    while (o->reproducible && !dl_pieces_fit(o->n_ranks, o->accumulate)) {
        o->n_ranks = (int)draw(d, 1, 8);
        o->accumulate = (int)draw(d, 1, 4);
    }
    leave_out_refused(model, o);
    const size_t used = strlen(kit_context);
    (void)snprintf(kit_context + used, sizeof kit_context - used,
                   "%s, batch %d, accumulate %d, %d ranks, %s, %s, %s\n", o->backend, (int)o->batch_size,
                   o->accumulate, o->n_ranks, o->reproducible ? "reproducible" : "not reproducible",
                   o->unfused ? "unfused" : "fused", dl_dtype_name(o->half));
}

/* As if layouts and algorithms had been measured: each layer in the device's own layout or not. */
static void draw_choices(dice *d, kit *k) {
    dl_choices *choices = NULL;
    KIT_OK(dl_alloc(1, sizeof *choices, &choices));
    KIT_OK(dl_alloc((size_t)k->model->n_layers, sizeof *choices->layer, &choices->layer));
    choices->made = true;
    choices->n_layers = k->model->n_layers;
    for (int i = 0; i < choices->n_layers; i++) {
        choices->layer[i].blocked = (int8_t)draw(d, 0, 1);
        for (int pass = 0; pass < DL_N_CHOICE_KINDS; pass++) {
            choices->layer[i].algorithm[choices->layer[i].blocked][pass] = (int8_t)draw(d, 0, 1);
        }
    }
    k->plan->choices = choices;
}

/* Numbers of the collectives of all programs in their order; returns how many. */
static int collectives_of(const dl_plan *plan, int out[MAX_STEPS]) {
    int n = 0;
    for (int p = 0; p < plan->n_programs; p++) {
        for (int i = 0; i < plan->program[p]->n_instructions; i++) {
            if (plan->program[p]->instruction[i].type == DL_DO_ALL_REDUCE) {
                assert_true(n < MAX_STEPS);
                out[n++] = plan->program[p]->instruction[i].collective;
            }
        }
    }
    return n;
}

/* What the graphs made the compiler do, counted. */
static struct { int kinds[DL_N_OP_KINDS], parts, in_place, waits, layouts; } covered;

static void count(const dl_program *program) {
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        covered.kinds[instruction->kind] += instruction->type == DL_DO_OPERATION;
        covered.parts += instruction->n_parts > 0;
        covered.waits += instruction->n_waits;
        for (int s = 0; s < DL_OP_MAX_SLOTS && instruction->type == DL_DO_OPERATION; s++) {
            const dl_slot *slot = instruction->slot[s] >= 0 ? &program->slot[instruction->slot[s]] : NULL;
            const int source = slot != NULL ? dl_op_info_of(instruction->kind)->slots[s].in_place_of : -1;
            covered.layouts += slot != NULL && slot->tensor.layout != NULL &&
                               slot->storage == DL_STORE_ACTIVATION && slot->tensor.shape.n_dims == 4;
            covered.in_place += source >= 0 && slot->view_of >= 0;
        }
    }
}

static bool has_layouts(void) {
    const dl_device_options options = {.n_threads = 1};
    const dl_layout *layouts[DL_MAX_LAYOUTS];
    dl_device *device = NULL;
    KIT_OK(dl_device_open(dl_backend_find("cpu"), &options, &device));
    const int n = dl_device_layouts(device, DL_F32, &DL_SHAPE(1, 8, 8, 64), layouts);
    dl_device_close(&device);
    return n > 0;
}

/* Every kind that a model can bring, every way of running it. Sums of gradients need a layer of two inputs;
 * only a device of queues (program_streams.c) begins with the word of the step before. */
static void the_models_cover_the_compiler(void **state) {
    (void)state;
    if (getenv("PROGRAM_RANDOM_SEED") != NULL) {
        return;
    }
    const bool layouts = has_layouts();
    for (int kind = 0; kind < DL_N_OP_KINDS; kind++) {
        if (covered.kinds[kind] == 0 && kind != DL_OP_ADD && kind != DL_OP_BEGIN_CONTROL &&
            (kind != DL_OP_REORDER || layouts)) {
            fail_msg("no program has %s", dl_op_info_of((dl_op_kind)kind)->name);
        }
    }
    assert_true(covered.parts > 100 && covered.in_place > 100 && covered.waits > 100 &&
                (covered.layouts > 100 || !layouts));
}

static void check_plan(const kit *k, int rank, int n_first, const int *first) {
    for (int p = 0; p < k->plan->n_programs; p++) {
        if (dl_program_verify(k->plan->program[p]) != DL_OK) {
            fail_msg("rank %d: %s\n%s", rank, dl_error_last()->message, kit_context);
        }
        count(k->plan->program[p]);
    }
    int order[MAX_STEPS];
    const int n = collectives_of(k->plan, order);
    if (n != n_first || memcmp(order, first, (size_t)n * sizeof *order) != 0) {
        fail_msg("rank %d exchanges in another order than rank 0\n%s", rank, kit_context);
    }
}

/* All programs of a run, on every rank. */
static void try_graph(int seed) {
    dice d = {.seed = (uint64_t)seed};
    kit k;
    kit_options o;
    kit_open(&k);
    draw_model(&d, &k);
    draw_options(&d, k.model, &o);
    const int64_t full = o.batch_size, last = draw(&d, 1, full);
    int first[MAX_STEPS], n_first = 0;
    const bool measured = !o.reproducible && draw(&d, 0, 1) == 1;
    const dice before = d;
    for (o.rank = 0; o.rank < o.n_ranks; o.rank++) {
        kit_plan(&k, &o);
        if (measured) {
            d = before; /* the same on all ranks */
            draw_choices(&d, &k);
        }
        (void)kit_add(&k, DL_PROGRAM_TRAIN, full);
        (void)kit_add(&k, DL_PROGRAM_TRAIN, last);
        (void)kit_add(&k, DL_PROGRAM_EVALUATE, full);
        (void)kit_add(&k, DL_PROGRAM_EVALUATE, last);
        KIT_OK(dl_plan_seal(k.plan));
        if (o.rank == 0) {
            n_first = collectives_of(k.plan, first);
        }
        check_plan(&k, o.rank, n_first, first);
        kit_close_plan(&k);
    }
    kit_close(&k);
}

static void random_models_compile_right(void **state) {
    (void)state;
    const char *only = getenv("PROGRAM_RANDOM_SEED");
    for (int seed = 1; seed <= N_GRAPHS; seed++) {
        if (only == NULL || atoi(only) == seed) {
            try_graph(seed);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_models_compile_right),
        cmocka_unit_test(the_models_cover_the_compiler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
