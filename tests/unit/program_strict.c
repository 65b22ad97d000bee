/* Programs under ref:strict: the same numbers, and no way to touch what an instruction did not declare. */
#define _DEFAULT_SOURCE
#include "program_kit.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAMPLES = 6, ROW = DL_OP_MAX_SLOTS + 1 };

static const char layers[] = "- conv2d: {filters: 4, kernel_size: 3, activation: relu}\n"
                             "- max_pooling2d: {}\n"
                             "- conv2d: {filters: 6, kernel_size: 2, activation: tanh, padding: same}\n"
                             "- dropout: {rate: 0.4}\n"
                             "- flatten: {}\n"
                             "- dense: {units: 12, activation: relu, learning_rate_factor: 0.5}\n"
                             "- dense: {units: 5}\n";

/* A plan that can be run, with one batch: program 0 trains, program 1 evaluates. */
typedef struct ready {
    kit k;
    kit_batch batch;
} ready;

static void open_ready(ready *r, const char *backend, int accumulate, bool reproducible) {
    const kit_options options = {.backend = backend,
                                 .batch_size = SAMPLES,
                                 .accumulate = accumulate,
                                 .reproducible = reproducible,
                                 .unfused = true,
                                 .clip_norm = 0.1,
                                 .ema_decay = 0.9,
                                 .runnable = true};
    kit_open(&r->k);
    kit_model(&r->k, DL_SHAPE(7, 8, 2), layers);
    kit_plan(&r->k, &options);
    (void)kit_add(&r->k, DL_PROGRAM_TRAIN, SAMPLES);
    (void)kit_add(&r->k, DL_PROGRAM_EVALUATE, SAMPLES);
    KIT_OK(dl_plan_finish(r->k.plan));
    kit_init_parameters(&r->k);
    kit_batch_create(&r->batch, r->k.model, SAMPLES, 0.01);
}

static void close_ready(ready *r) {
    kit_batch_free(&r->batch);
    kit_close(&r->k);
}

static void train(ready *r, int n_steps) {
    for (int step = 1; step <= n_steps; step++) {
        r->batch.step.step = r->batch.step.t = step;
        kit_run(&r->k, 0, &r->batch);
    }
}

static void strict_gives_the_same_bits(void **state) {
    (void)state;
    for (int parts = 0; parts < 2; parts++) {
        ready ref, strict;
        open_ready(&ref, "ref", 2, parts == 1);
        open_ready(&strict, "ref:strict", 2, parts == 1);
        train(&ref, 3);
        train(&strict, 3);
        assert_true(kit_loss(&ref.k, 0) == kit_loss(&strict.k, 0));
        const size_t n_bytes = (size_t)ref.k.model->table.trainable_elements * sizeof(float);
        assert_memory_equal(kit_arena(&ref.k, DL_STORE_PARAMETER), kit_arena(&strict.k, DL_STORE_PARAMETER),
                            n_bytes);
        assert_memory_equal(kit_arena(&ref.k, DL_STORE_OPTIMIZER), kit_arena(&strict.k, DL_STORE_OPTIMIZER),
                            2 * n_bytes);
        assert_memory_equal((char *)ref.k.plan->memory[DL_STORE_STATE] + DL_EMA_OFFSET,
                            (char *)strict.k.plan->memory[DL_STORE_STATE] + DL_EMA_OFFSET, n_bytes);
        kit_run(&ref.k, 1, &ref.batch);
        kit_run(&strict.k, 1, &strict.batch);
        assert_true(kit_loss(&ref.k, 1) == kit_loss(&strict.k, 1));
        close_ready(&ref);
        close_ready(&strict);
    }
}

/* --- faults --- */

/* The signal that ends a process that runs a training step; 0 when it ends well. */
static int signal_of_step(ready *r) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGSEGV, SIG_DFL);
        train(r, 1);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void must_crash(ready *r, const char *what, const dl_instruction *instruction, int s) {
    char name[64];
    const int number = signal_of_step(r);
    if (number != SIGSEGV) {
        fail_msg("signal %d: %s %s of %s", number, what, dl_op_info_of(instruction->kind)->slots[s].name,
                 dl_instruction_name(instruction, name));
    }
}

static int root_of(const dl_program *program, int slot) {
    while (program->slot[slot].view_of >= 0) {
        slot = program->slot[slot].view_of;
    }
    return slot;
}

/* Slots on pages of their own: nothing else that the instruction declares opens them. */
static bool is_alone(const dl_program *program, const dl_instruction *instruction, int s) {
    const int slot = instruction->slot[s];
    return instruction->type == DL_DO_OPERATION && slot >= 0 &&
           (program->slot[slot].storage == DL_STORE_ACTIVATION ||
            program->slot[slot].storage == DL_STORE_INPUT);
}

/* An instruction that leaves a slot out of its declaration, and touches it all the same. */
static void what_is_not_declared_crashes(void **state) {
    (void)state;
    ready r;
    int n = 0;
    open_ready(&r, "ref:strict", 1, false);
    assert_int_equal(signal_of_step(&r), 0);
    dl_program *program = r.k.plan->program[0];
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *instruction = &program->instruction[i];
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            if (is_alone(program, instruction, s)) {
                const int slot = instruction->slot[s];
                instruction->slot[s] = -1;
                must_crash(&r, "undeclared", instruction, s);
                instruction->slot[s] = slot;
                n++;
            }
        }
    }
    assert_true(n > 40);
    close_ready(&r);
}

/* An instruction that is given the address of another value than it declares. */
static void another_slots_memory_crashes(void **state) {
    (void)state;
    ready r;
    int n = 0;
    open_ready(&r, "ref:strict", 1, false);
    dl_program *program = r.k.plan->program[0];
    for (int i = 0; i < program->n_instructions; i += 3) {
        const dl_instruction *instruction = &program->instruction[i];
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            if (!is_alone(program, instruction, s)) {
                continue;
            }
            int other = 0; /* a value that the instruction does not know */
            for (int t = 0; t < DL_OP_MAX_SLOTS; t++) {
                const dl_slot *slot = &program->slot[other];
                if (slot->storage != DL_STORE_ACTIVATION || slot->view_of >= 0 || slot->first < 0 ||
                    (instruction->slot[t] >= 0 && root_of(program, instruction->slot[t]) == other)) {
                    other++;
                    t = -1;
                }
            }
            void **pointer = &program->pointer[(size_t)i * ROW + (size_t)s], *before = *pointer;
            *pointer = dl_slot_address(r.k.plan, program, other);
            must_crash(&r, "wrong address of", instruction, s);
            *pointer = before;
            n++;
        }
    }
    assert_true(n > 10);
    close_ready(&r);
}

/* An instruction that writes where it said it would read. */
static void writing_an_input_crashes(void **state) {
    (void)state;
    ready r;
    int n = 0;
    open_ready(&r, "ref:strict", 1, false);
    dl_program *program = r.k.plan->program[0];
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        const dl_op_info *info = dl_op_info_of(instruction->kind);
        for (int s = 1; s < info->n_slots && instruction->type == DL_DO_OPERATION; s++) {
            if (info->slots[s].role != DL_SLOT_OUT || info->slots[0].role != DL_SLOT_IN ||
                !is_alone(program, instruction, 0)) {
                continue;
            }
            void **pointer = &program->pointer[(size_t)i * ROW], *before = pointer[s];
            pointer[s] = pointer[0];
            must_crash(&r, "input written as", instruction, s);
            pointer[s] = before;
            n++;
        }
    }
    assert_true(n > 10);
    close_ready(&r);
}

/* --- dead values --- */

static void dead_values_are_nan(void **state) {
    (void)state;
    ready r;
    int n = 0;
    open_ready(&r, "ref:strict", 2, false);
    train(&r, 1);
    const dl_program *program = r.k.plan->program[0];
    for (int s = 0; s < program->n_slots; s++) {
        const dl_slot *slot = &program->slot[s];
        if (slot->storage != DL_STORE_ACTIVATION || slot->first < 0 || slot->tensor.dtype != DL_F32) {
            continue;
        }
        const float *value = dl_slot_address(r.k.plan, program, s);
        for (size_t i = 0; i < slot->n_bytes / sizeof *value; i++) {
            assert_true(isnan(value[i]));
        }
        n++;
    }
    assert_true(n > 20);
    close_ready(&r);
}

/* The loss is summed from a value that is dead by then: it must not look like a loss. */
static void reading_a_dead_value_shows(void **state) {
    (void)state;
    ready r;
    open_ready(&r, "ref:strict", 1, false);
    dl_program *program = r.k.plan->program[0];
    int at = 0, dead = 0;
    while (program->instruction[at].kind != DL_OP_SUM_SAMPLES ||
           program->instruction[at].type != DL_DO_OPERATION) {
        at++;
    }
    const size_t need = program->slot[program->instruction[at].slot[0]].n_bytes;
    while (program->slot[dead].storage != DL_STORE_ACTIVATION || program->slot[dead].view_of >= 0 ||
           program->slot[dead].first < 0 || program->slot[dead].last >= at ||
           program->slot[dead].n_bytes < need) {
        dead++;
        assert_true(dead < program->n_slots);
    }
    program->instruction[at].slot[0] = dead;
    program->pointer[(size_t)at * ROW] = dl_slot_address(r.k.plan, program, dead);
    train(&r, 1);
    assert_true(isnan(kit_loss(&r.k, 0)));
    close_ready(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict_gives_the_same_bits),   cmocka_unit_test(what_is_not_declared_crashes),
        cmocka_unit_test(another_slots_memory_crashes), cmocka_unit_test(writing_an_input_crashes),
        cmocka_unit_test(dead_values_are_nan),          cmocka_unit_test(reading_a_dead_value_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
