/* Algorithms of recurrent layers: what is measured, and who takes it. */
#define _GNU_SOURCE
#include "program_kit.h"

#include <time.h>

enum { SAMPLES = 6, FEWER = 4, N_ALGORITHMS = 3, POSITIONS = 4, FEATURES = 3 };

/* Milliseconds of a run. Forwards the second is the fastest, backwards the first; together it is the third.
 */
static const int forward_ms[N_ALGORITHMS] = {8, 1, 3}, backward_ms[N_ALGORITHMS] = {2, 12, 3};

/* `ref`, of whose whole LSTM layers there are several algorithms, fewer for fewer samples. */
static const dl_op_functions *forward_functions, *backward_functions; /* ref's own */
static const void *last_reserve;                                      /* that the way there has filled */
static int n_foreign;                                                 /* ways back over another one */

static bool is_forward(const dl_op *op) {
    return op->desc.kind == DL_OP_LSTM_LAYER_FORWARD;
}

static void *reserve_of(const dl_op *op, void *const *slots) {
    return slots[dl_op_slot(dl_op_info_of(op->desc.kind), "reserve")];
}

static int failing = -1; /* an algorithm whose way back does */

static dl_status run(const dl_op *op, void *const *slots, dl_stream *stream) {
    const int ms = (is_forward(op) ? forward_ms : backward_ms)[op->desc.algorithm];
    (void)stream;
    DL_RETURN_ERROR_IF(op->desc.algorithm == failing && !is_forward(op), DL_ERR_INTERNAL, "no");
    (void)nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
    if (is_forward(op)) {
        last_reserve = reserve_of(op, slots);
    } else {
        n_foreign += reserve_of(op, slots) != last_reserve;
    }
    return DL_OK;
}

static void destroy(dl_op *op) {
    (is_forward(op) ? forward_functions : backward_functions)->destroy(op);
}

static const dl_op_functions functions = {.run = run, .destroy = destroy};

static bool is_layer(const dl_op_desc *desc) {
    return desc->kind == DL_OP_LSTM_LAYER_FORWARD || desc->kind == DL_OP_LSTM_LAYER_BACKWARD;
}

static int n_algorithms(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    return !is_layer(desc) ? 1 : dl_op_samples(desc) == SAMPLES ? N_ALGORITHMS : N_ALGORITHMS - 1;
}

static const char *algorithm_name(const dl_device *device, const dl_op_desc *desc, int algorithm) {
    return algorithm < n_algorithms(device, desc) ? "sleeping" : NULL;
}

static dl_status prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    DL_RETURN_IF_ERROR(dl_backend_find("ref")->prepare(device, desc, forward, out));
    if (is_layer(desc)) {
        *(is_forward(*out) ? &forward_functions : &backward_functions) = (*out)->functions;
        (*out)->functions = &functions;
        (*out)->desc.algorithm = desc->algorithm;
    }
    return DL_OK;
}

/* How many layers' passes a program has with this algorithm. */
static int count(const kit *k, int program, int algorithm) {
    const dl_program *p = k->plan->program[program];
    int found = 0;
    for (int i = 0; i < p->n_instructions; i++) {
        const dl_instruction *instruction = &p->instruction[i];
        found +=
            instruction->type == DL_DO_OPERATION && instruction->algorithm == algorithm &&
            (instruction->kind == DL_OP_LSTM_LAYER_FORWARD || instruction->kind == DL_OP_LSTM_LAYER_BACKWARD);
    }
    return found;
}

/* Three LSTMs, two of them one layer. */
static void open_kit(kit *k, dl_backend *backend) {
    *backend = *dl_backend_find("ref");
    backend->name = "sleeping";
    backend->prepare = prepare;
    backend->n_algorithms = n_algorithms;
    backend->algorithm_name = algorithm_name;
    const kit_options options = {
        .device_of = backend, .batch_size = SAMPLES, .measure = true, .runnable = true};
    kit_open(k);
    kit_model(k, DL_SHAPE(POSITIONS, FEATURES),
              "- lstm: {units: 7, bidirectional: true, return_sequences: true}\n"
              "- lstm: {units: 7}\n- dense: {units: 5}\n");
    kit_plan(k, &options);
}

static void passes_are_measured_together(void **state) {
    (void)state;
    dl_backend backend;
    kit k;
    open_kit(&k, &backend);
    const int full = kit_add(&k, DL_PROGRAM_TRAIN, SAMPLES);
    const int fewer = kit_add(&k, DL_PROGRAM_TRAIN, FEWER);
    const int evaluation = kit_add(&k, DL_PROGRAM_EVALUATE, SAMPLES);
    assert_int_equal(count(&k, full, 2), 6); /* three LSTMs, two passes each */
    assert_int_equal(count(&k, full, 0) + count(&k, full, 1), 0);
    assert_int_equal(count(&k, fewer, 0), 6); /* where the third is not offered */
    assert_int_equal(count(&k, evaluation, 0), 3);
    assert_int_equal(n_foreign, 0);
    kit_close(&k);
}

/* The next best is taken. */
static void passes_that_fail_are_left_out(void **state) {
    (void)state;
    dl_backend backend;
    kit k;
    failing = 2;
    open_kit(&k, &backend);
    assert_int_equal(count(&k, kit_add(&k, DL_PROGRAM_TRAIN, SAMPLES), 0), 6);
    kit_close(&k);
    failing = -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_are_measured_together),
        cmocka_unit_test(passes_that_fail_are_left_out),
    };
    (void)setenv("XDG_CACHE_HOME", "/dev/null", 1); /* nothing is known from before, or kept */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
