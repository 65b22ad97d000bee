/* The checker finds what is wrong with a program: right ones are spoiled, one thing at a time. */
#include "program_kit.h"

static const char layers[] = "- conv2d: {filters: 16, kernel_size: 3, activation: relu}\n"
                             "- max_pooling2d: {}\n"
                             "- conv2d: {filters: 6, kernel_size: 2, activation: tanh, padding: same}\n"
                             "- activation: {function: sigmoid}\n"
                             "- dropout: {rate: 0.5}\n"
                             "- flatten: {}\n"
                             "- dense: {units: 24, activation: relu}\n"
                             "- dense: {units: 5}\n";

/* A sealed plan of rank 1 of 2 with two micro-batches: program 0 trains, program 1 evaluates. */
static void open_plan(kit *k, const char *backend, bool reproducible) {
    const kit_options options = {.backend = backend,
                                 .batch_size = 12,
                                 .accumulate = 2,
                                 .n_ranks = 2,
                                 .rank = 1,
                                 .reproducible = reproducible};
    kit_open(k);
    kit_model(k, DL_SHAPE(9, 8, 2), layers);
    kit_plan(k, &options);
    (void)kit_add(k, DL_PROGRAM_TRAIN, 12);
    (void)kit_add(k, DL_PROGRAM_EVALUATE, 12);
    KIT_OK(dl_plan_seal(k->plan));
    KIT_OK(dl_program_verify(k->plan->program[0]));
}

/* Runs `spoil` on the programs of all ways to compile. */
static void for_each_way(void (*spoil)(kit *k, dl_program *program)) {
    static const struct {
        const char *backend;
        bool reproducible;
    } ways[] = {{"ref", false}, {"cpu", false}, {"ref", true}, {"cpu", true}};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        kit k;
        open_plan(&k, ways[w].backend, ways[w].reproducible);
        (void)snprintf(kit_context, sizeof kit_context, "%s, reproducible %d", ways[w].backend,
                       ways[w].reproducible);
        spoil(&k, k.plan->program[0]);
        KIT_OK(dl_program_verify(k.plan->program[0])); /* all was put back */
        kit_close(&k);
    }
}

/* The program must be refused, with these words in the message (NULL: any). */
static void must_fail(const dl_program *program, const char *words, const char *what, int at) {
    if (dl_program_verify(program) != DL_ERR_INTERNAL) {
        fail_msg("not found: %s %d\n%s", what, at, kit_context);
    }
    if (words != NULL && strstr(dl_error_last()->message, words) == NULL) {
        fail_msg("%s %d: no '%s' in: %s\n%s", what, at, words, dl_error_last()->message, kit_context);
    }
}

static int root_of(const dl_program *program, int slot) {
    while (program->slot[slot].view_of >= 0) {
        slot = program->slot[slot].view_of;
    }
    return slot;
}

static bool is_operation(const dl_instruction *instruction) {
    return instruction->type == DL_DO_OPERATION;
}

static dl_slot_role role_of(const dl_instruction *instruction, int s) {
    if (!is_operation(instruction) || s == DL_OP_MAX_SLOTS) {
        return instruction->type == DL_DO_ALL_REDUCE ? DL_SLOT_INOUT : DL_SLOT_OUT;
    }
    return dl_op_info_of(instruction->kind)->slots[s].role;
}

/* Does `reader` read, in the same slot, what `writer` writes? */
static bool feeds(const dl_instruction *writer, const dl_instruction *reader) {
    for (int w = 0; w < DL_OP_MAX_SLOTS; w++) {
        for (int r = 0; r < DL_OP_MAX_SLOTS && writer->slot[w] >= 0; r++) {
            if (writer->slot[w] == reader->slot[r] && role_of(writer, w) == DL_SLOT_OUT &&
                role_of(reader, r) != DL_SLOT_OUT && !writer->attr.accumulate) {
                return true;
            }
        }
    }
    return false;
}

/* First write and last read of the memory of an activation; false: it has none. */
static bool life_of(const dl_program *program, int root, int *first, int *last) {
    *first = *last = -1;
    for (int i = 0; i < program->n_instructions; i++) {
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            const int slot = program->instruction[i].slot[s];
            if (slot >= 0 && root_of(program, slot) == root) {
                *first = *first < 0 ? i : *first;
                *last = role_of(&program->instruction[i], s) == DL_SLOT_OUT ? *last : i;
            }
        }
    }
    return program->slot[root].storage == DL_STORE_ACTIVATION && program->slot[root].view_of < 0 &&
           *first >= 0 && *last > *first;
}

static void overlap_lives(kit *k, dl_program *program) {
    (void)k;
    int n = 0;
    for (int a = 0; a < program->n_slots; a++) {
        int first_a, last_a, first_b, last_b;
        const size_t offset = program->slot[a].offset;
        for (int b = 0; b < program->n_slots && life_of(program, a, &first_a, &last_a); b++) {
            if (b == a || !life_of(program, b, &first_b, &last_b) || first_b <= first_a ||
                first_b >= last_a) {
                continue;
            }
            program->slot[a].offset = program->slot[b].offset; /* b is written while a is alive */
            must_fail(program, NULL, "overlap of slots", a);
            n++;
        }
        program->slot[a].offset = offset;
    }
    assert_true(n > 20);
}

static void live_buffers_may_not_overlap(void **state) {
    (void)state;
    for_each_way(overlap_lives);
}

static void drop_waits(kit *k, dl_program *program) {
    (void)k;
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *instruction = &program->instruction[i];
        const dl_instruction whole = *instruction;
        for (int w = 0; w < whole.n_waits; w++, n++) {
            instruction->n_waits--;
            memmove(&instruction->waits[w], &whole.waits[w + 1],
                    (size_t)(whole.n_waits - w - 1) * sizeof *whole.waits);
            must_fail(program, "does not wait", "wait dropped at", i);
            *instruction = whole;
        }
    }
    assert_true(n >= 10);
}

static void waits_are_needed(void **state) {
    (void)state;
    for_each_way(drop_waits);
}

static void swap_pairs(kit *k, dl_program *program) {
    (void)k;
    int n = 0;
    for (int i = 0; i + 1 < program->n_instructions; i++) {
        dl_instruction *pair = &program->instruction[i];
        const dl_instruction first = pair[0], second = pair[1];
        if (feeds(&first, &second)) {
            pair[0] = second;
            pair[1] = first;
            must_fail(program, NULL, "swap at", i);
            pair[0] = first;
            pair[1] = second;
            n++;
        }
    }
    assert_true(n > 10);
}

static void order_matters(void **state) {
    (void)state;
    for_each_way(swap_pairs);
}

static bool works_in_place(const dl_program *program, const dl_instruction *instruction) {
    for (int s = 0; s < DL_OP_MAX_SLOTS && is_operation(instruction); s++) {
        const int out = instruction->slot[s];
        const int from = out >= 0 ? dl_op_info_of(instruction->kind)->slots[s].in_place_of : -1;
        if (from >= 0 && root_of(program, out) == root_of(program, instruction->slot[from])) {
            return true;
        }
    }
    return false;
}

/* Whatever writes without reading the same, or uses gradients, is missed. An operation in place that is left
 * out leaves a list that makes sense without it. */
static void drop_instructions(kit *k, dl_program *program) {
    (void)k;
    int n_loads = 0, n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *instruction = &program->instruction[i];
        const dl_instruction_type type = instruction->type;
        const dl_op_kind kind = instruction->kind;
        const bool may_go =
            type == DL_DO_OPERATION &&
            (instruction->attr.accumulate || kind == DL_OP_CHECK_FINITE || kind == DL_OP_COMMIT ||
             kind == DL_OP_COPY || works_in_place(program, instruction));
        if (may_go) {
            continue;
        }
        char name[64];
        (void)dl_instruction_name(instruction, name);
        instruction->type = DL_DO_NOTHING;
        must_fail(program, NULL, name, i);
        instruction->type = type;
        n++;
        n_loads += type == DL_DO_LOAD;
    }
    assert_true(n > 30 && n_loads >= 6);
}

static void every_instruction_is_needed(void **state) {
    (void)state;
    for_each_way(drop_instructions);
}

static void change_sizes(kit *k, dl_program *program) {
    (void)k;
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            const int number = program->instruction[i].slot[s];
            if (number < 0 || !is_operation(&program->instruction[i])) {
                continue;
            }
            dl_slot *slot = &program->slot[number];
            slot->n_bytes += 64;
            must_fail(program, NULL, "extended slot", number);
            slot->n_bytes -= 128;
            must_fail(program, NULL, "shortened slot", number);
            slot->n_bytes += 64;
            n++;
        }
    }
    assert_true(n > 50);
}

static void sizes_are_checked(void **state) {
    (void)state;
    for_each_way(change_sizes);
}

/* Without waits and events between them, so that only the order of exchange and use is wrong. */
static void update_early(kit *k, dl_program *program) {
    (void)k;
    int reduce = -1, n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->type == DL_DO_ALL_REDUCE && instruction->collective == 0) {
            reduce = i;
        }
    }
    for (int i = reduce + 1; i < program->n_instructions; i++) {
        if (program->instruction[i].kind != DL_OP_ADAM_UPDATE || !is_operation(&program->instruction[i])) {
            continue;
        }
        dl_instruction *moved = &program->instruction[reduce], update = program->instruction[i];
        dl_instruction *before = NULL;
        const size_t n_bytes = (size_t)program->n_instructions * sizeof *before;
        KIT_OK(dl_alloc((size_t)program->n_instructions, sizeof *before, &before));
        memcpy(before, program->instruction, n_bytes);
        update.n_waits = 0;
        memmove(moved + 1, moved, (size_t)(i - reduce) * sizeof *moved);
        *moved = update;
        must_fail(program, NULL, "early update", i);
        memcpy(program->instruction, before, n_bytes);
        dl_free(&before);
        n++;
        break;
    }
    assert_int_equal(n, 1);
}

static void updates_follow_exchanges(void **state) {
    (void)state;
    for_each_way(update_early);
}

/* The last exchange of the gradients is left out, all waits for it too. */
static void skip_exchange(kit *k, dl_program *program) {
    (void)k;
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *reduce = &program->instruction[i];
        if (reduce->type != DL_DO_ALL_REDUCE) {
            continue;
        }
        const int event = reduce->records;
        reduce->type = DL_DO_NOTHING;
        must_fail(program, "exchange", "exchange left out", event);
        reduce->type = DL_DO_ALL_REDUCE;
    }
}

static void ranks_must_exchange(void **state) {
    (void)state;
    kit k;
    open_plan(&k, "ref", false);
    skip_exchange(&k, k.plan->program[0]);
    kit_close(&k);
}

static dl_instruction *find(dl_program *program, dl_op_kind kind, int which) {
    for (int i = 0; i < program->n_instructions; i++) {
        if (is_operation(&program->instruction[i]) && program->instruction[i].kind == kind && which-- == 0) {
            return &program->instruction[i];
        }
    }
    fail_msg("no %s", dl_op_info_of(kind)->name);
    return NULL;
}

static void storages_have_their_writers(void **state) {
    (void)state;
    kit k;
    open_plan(&k, "ref", false);
    dl_program *program = k.plan->program[0];
    dl_instruction *dense = find(program, DL_OP_DENSE_FORWARD, 0);
    const struct {
        dl_storage storage;
        dl_instruction *writer;
        int number;
        const char *words;
    } wrong[] = {{DL_STORE_INPUT, dense, 3, "may not write to input"},
                 {DL_STORE_STATE, dense, 3, "may not write to state"},
                 {DL_STORE_FROZEN, dense, 3, "may not write to frozen"},
                 {DL_STORE_PARAMETER, dense, 3, "may not write to parameters"},
                 {DL_STORE_COPY, dense, 3, "may not write to copies"},
                 {DL_STORE_CONTROL, dense, 3, "where instruction"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dl_slot *slot = &program->slot[root_of(program, wrong[i].writer->slot[wrong[i].number])];
        const dl_slot before = *slot;
        slot->storage = wrong[i].storage;
        slot->offset = 0;
        if (wrong[i].storage == DL_STORE_CONTROL) {
            assert_int_equal(dl_program_verify(program), DL_ERR_INTERNAL);
        } else {
            must_fail(program, wrong[i].words, "write to", (int)wrong[i].storage);
        }
        *slot = before;
    }
    KIT_OK(dl_program_verify(program));
    kit_close(&k);
}

static void contributions_add_up(void **state) {
    (void)state;
    kit k;
    open_plan(&k, "ref", false);
    dl_program *program = k.plan->program[0];
    dl_instruction *unpack = find(program, DL_OP_UNPACK, 0); /* of the second micro-batch */
    assert_true(unpack->attr.accumulate);
    unpack->attr.accumulate = false;
    must_fail(program, "overwrites what", "unpack", 0);
    unpack->attr.accumulate = true;
    dl_instruction *total = find(program, DL_OP_SUM_SAMPLES, 0);
    int *control = &find(program, DL_OP_ADAM_UPDATE, 0)->slot[1];
    const int gradient = *control;
    *control = find(program, DL_OP_ADAM_UPDATE, 1)->slot[1]; /* one bucket twice, another never */
    must_fail(program, NULL, "wrong gradient", gradient);
    *control = gradient;
    assert_true(total->attr.accumulate);
    kit_close(&k);
}

/* An input that was overwritten in place is gone. */
static void in_place_ends_a_value(void **state) {
    (void)state;
    kit k;
    open_plan(&k, "ref", false);
    dl_program *program = k.plan->program[0];
    dl_instruction *forward = find(program, DL_OP_ACTIVATION_FORWARD, 0);
    dl_instruction *back = find(program, DL_OP_ACTIVATION_BACKWARD, 0);
    const int dx = back->slot[2], dy = back->slot[1];
    assert_int_equal(root_of(program, dx), root_of(program, dy));
    dl_instruction *reader = back + 1; /* of dx */
    for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
        if (reader->slot[s] == dx) {
            reader->slot[s] = dy;
            must_fail(program, "has written", "stale input", s);
            reader->slot[s] = dx;
        }
    }
    const int x = forward->slot[0];
    forward->slot[0] = forward->slot[1]; /* reads its own output */
    must_fail(program, NULL, "own output", x);
    forward->slot[0] = x;
    KIT_OK(dl_program_verify(program));
    kit_close(&k);
}

static void wrong_references_are_errors(void **state) {
    (void)state;
    kit k;
    open_plan(&k, "cpu", true);
    dl_program *program = k.plan->program[0];
    dl_instruction *load = &program->instruction[0],
                   *last = &program->instruction[program->n_instructions - 1];
    const int slot = last->slot[0], event = load->records;
    last->slot[0] = program->n_slots;
    must_fail(program, "has slot", "slot beyond", slot);
    last->slot[0] = slot;
    load->records = program->n_events;
    must_fail(program, "records event", "event", event);
    load->records = event;
    int view = 0;
    while (program->slot[view].view_of < 0) {
        view++;
    }
    program->slot[view].view_offset = program->slot[program->slot[view].view_of].n_bytes;
    must_fail(program, "is a view of bytes", "view", view);
    kit_close(&k);
}

static void tensors_do_not_overlap(kit *k, dl_program *program) {
    (void)k;
    for (int s = 0; s < program->n_slots; s++) {
        dl_slot *slot = &program->slot[s];
        if (slot->storage == DL_STORE_GRADIENT && slot->parameter >= 0 && slot->offset > 0) {
            slot->offset -= 64;
            must_fail(program, NULL, "moved gradient", s);
            slot->offset += 64;
        }
    }
}

static void gradients_have_their_place(void **state) {
    (void)state;
    for_each_way(tensors_do_not_overlap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_buffers_may_not_overlap),
        cmocka_unit_test(waits_are_needed),
        cmocka_unit_test(order_matters),
        cmocka_unit_test(every_instruction_is_needed),
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(updates_follow_exchanges),
        cmocka_unit_test(ranks_must_exchange),
        cmocka_unit_test(storages_have_their_writers),
        cmocka_unit_test(contributions_add_up),
        cmocka_unit_test(in_place_ends_a_value),
        cmocka_unit_test(wrong_references_are_errors),
        cmocka_unit_test(gradients_have_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
