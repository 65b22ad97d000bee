/* The order between lanes, on three networks for one and two ranks: every wait and every event is needed, and
 * the checker says of any instruction that is put on another lane what a search through all pairs says. */
#include "program_kit.h"

#include "program/compile.h"
#include "program/verify.h"

static const char cnn[] = "- conv2d: {filters: 8, kernel_size: 3, activation: relu}\n"
                          "- max_pooling2d: {pool_size: 2}\n"
                          "- conv2d: {filters: 8, kernel_size: 3, activation: relu}\n"
                          "- max_pooling2d: {pool_size: 2}\n"
                          "- conv2d: {filters: 8, kernel_size: 3, activation: relu}\n"
                          "- flatten: {}\n"
                          "- dense: {units: 16, activation: relu}\n"
                          "- dense: {units: 5}\n";

static const char lstm[] = "- embedding: {input_dim: 5, output_dim: 6}\n"
                           "- lstm: {units: 6, return_sequences: true, stateful: true}\n"
                           "- dropout: {rate: 0.5}\n"
                           "- lstm: {units: 6, return_sequences: true, stateful: true}\n"
                           "- dense: {units: 5}\n";

/* One block of a residual network, number `n`; the first one of a stage but the first makes half the size. */
static int append_block(char *out, size_t n_bytes, int n, int width, bool narrower) {
    char input[32], shortcut[160] = "";
    (void)snprintf(input, sizeof input, n == 0 ? "stem" : "block_%d", n - 1);
    if (narrower) {
        (void)snprintf(shortcut, sizeof shortcut,
                       "- max_pooling2d: {pool_size: 1, strides: 2, from: %s}\n"
                       "- zero_padding2d: {padding: 0, channels: [%d, %d], name: short_%d}\n",
                       input, width / 4, width / 4, n);
        (void)snprintf(input, sizeof input, "short_%d", n);
    }
    return snprintf(out, n_bytes,
                    "- conv2d: {filters: %d, kernel_size: 3, strides: %d, padding: 1, use_bias: false}\n"
                    "- batch_normalization: {activation: relu}\n"
                    "- conv2d: {filters: %d, kernel_size: 3, padding: 1, use_bias: false}\n"
                    "- batch_normalization: {name: main_%d}\n%s"
                    "- add: {from: [main_%d, %s], activation: relu, name: block_%d}\n",
                    width, narrower ? 2 : 1, width, n, shortcut, n, input, n);
}

/* ResNet-20, as in configs/models: three stages of three blocks. */
static const char *resnet(void) {
    static char text[8192];
    int n = snprintf(text, sizeof text,
                     "- conv2d: {filters: 16, kernel_size: 3, padding: 1, use_bias: false}\n"
                     "- batch_normalization: {activation: relu, name: stem}\n");
    for (int block = 0; block < 9; block++) {
        n += append_block(text + n, sizeof text - (size_t)n, block, 16 << block / 3,
                          block > 0 && block % 3 == 0);
    }
    (void)snprintf(text + n, sizeof text - (size_t)n,
                   "- global_average_pooling2d: {}\n- dense: {units: 5}\n");
    return text;
}

typedef enum network { CNN, RESNET, LSTM, N_NETWORKS } network;

static void open_network(kit *k, network which, int n_ranks, int rank, const char *backend) {
    kit_open(k);
    const kit_options options = {.backend = backend, .batch_size = 8, .n_ranks = n_ranks, .rank = rank};
    k->tokens = which == LSTM;
    if (which == LSTM) {
        kit_model(k, DL_SHAPE(7), lstm);
    } else if (which == RESNET) {
        kit_model(k, DL_SHAPE(16, 16, 3), resnet());
    } else {
        kit_model(k, DL_SHAPE(26, 26, 1), cnn);
    }
    kit_plan(k, &options);
    (void)kit_add(k, DL_PROGRAM_TRAIN, 8);
    (void)kit_add(k, DL_PROGRAM_EVALUATE, 8);
    KIT_OK(dl_plan_seal(k->plan));
    (void)snprintf(kit_context, sizeof kit_context, "network %d, rank %d of %d, %s", (int)which, rank,
                   n_ranks, backend);
}

static void for_each_program(void (*test)(kit *k, dl_program *program)) {
    static const char *const backends[] = {"ref", "cpu"};
    for (int w = 0; w < N_NETWORKS * 2 * 2; w++) {
        kit k;
        const int n_ranks = 1 + w / N_NETWORKS % 2;
        open_network(&k, (network)(w % N_NETWORKS), n_ranks, n_ranks - 1, backends[w / N_NETWORKS / 2]);
        for (int p = 0; p < k.plan->n_programs; p++) {
            test(&k, k.plan->program[p]);
            KIT_OK(dl_program_verify(k.plan->program[p])); /* all was put back */
        }
        kit_close(&k);
    }
}

/* --- waits and events --- */

static void must_fail(const dl_program *program, const char *words, int at) {
    if (dl_program_verify(program) != DL_ERR_INTERNAL) {
        fail_msg("not found: '%s' at %d\n%s", words, at, kit_context);
    }
    if (strstr(dl_error_last()->message, words) == NULL) {
        fail_msg("%d: no '%s' in: %s\n%s", at, words, dl_error_last()->message, kit_context);
    }
}

static void drop_each(kit *k, dl_program *program) {
    (void)k;
    int n_waits = 0, n_events = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *instruction = &program->instruction[i];
        const dl_instruction whole = *instruction;
        for (int w = 0; w < whole.n_waits; w++, n_waits++) {
            instruction->n_waits--;
            memmove(&instruction->waits[w], &whole.waits[w + 1],
                    (size_t)(whole.n_waits - w - 1) * sizeof *whole.waits);
            must_fail(program, "does not wait", i);
            *instruction = whole;
        }
        if (whole.records >= 0) {
            n_events++;
            instruction->records = -1;
            must_fail(program, "which nothing before it records", i);
            *instruction = whole;
        }
    }
    assert_int_equal(n_events, program->n_events);
    const bool runs = program->kind != DL_PROGRAM_REFRESH;
    assert_true(runs ? n_waits >= 2 && n_waits >= n_events : n_waits == 0);
}

static void every_wait_and_event_is_needed(void **state) {
    (void)state;
    for_each_program(drop_each);
}

/* --- lanes --- */

static dl_slot_role role_of(const dl_instruction *instruction, int s) {
    if (instruction->type != DL_DO_OPERATION || s == DL_OP_MAX_SLOTS) {
        return DL_SLOT_INOUT;
    }
    return dl_op_info_of(instruction->kind)->slots[s].role;
}

static void bytes_of(const dl_program *program, int slot, size_t *begin, size_t *end) {
    *begin = 0;
    *end = program->slot[slot].n_bytes;
    for (; program->slot[slot].view_of >= 0; slot = program->slot[slot].view_of) {
        *begin += program->slot[slot].view_offset;
    }
    *begin += program->slot[slot].offset;
    *end += *begin;
}

/* Do two instructions touch a byte that one of them writes? */
static bool conflict(const dl_program *program, const dl_instruction *a, const dl_instruction *b) {
    for (int i = 0; i <= DL_OP_MAX_SLOTS; i++) {
        for (int j = 0; j <= DL_OP_MAX_SLOTS; j++) {
            const int x = a->slot[i], y = b->slot[j];
            if (x < 0 || y < 0 || program->slot[x].storage != program->slot[y].storage ||
                (role_of(a, i) == DL_SLOT_IN && role_of(b, j) == DL_SLOT_IN)) {
                continue;
            }
            size_t begin_x, end_x, begin_y, end_y;
            bytes_of(program, x, &begin_x, &end_x);
            bytes_of(program, y, &begin_y, &end_y);
            if (begin_x < end_y && begin_y < end_x) {
                return true;
            }
        }
    }
    return false;
}

/* Pairs of a program: what conflicts, and what happens before what. */
typedef struct pairs {
    int n;
    bool *conflict, *before; /* [n, n], the earlier one first */
} pairs;

static void open_pairs(const dl_program *program, pairs *p) {
    p->n = program->n_instructions;
    const size_t n = (size_t)p->n * (size_t)p->n;
    KIT_OK(dl_alloc(n, 1, &p->conflict));
    KIT_OK(dl_alloc(n, 1, &p->before));
    for (int i = 0; i < p->n; i++) {
        for (int j = 0; j < i; j++) {
            p->conflict[j * p->n + i] = conflict(program, &program->instruction[j], &program->instruction[i]);
        }
    }
}

/* All that is done before `i` is done before what comes behind it: the next one of its lane, and who waits.
 */
static void add_all_before(pairs *p, int i, int later) {
    p->before[i * p->n + later] = true;
    for (int j = 0; j < i; j++) {
        p->before[j * p->n + later] = p->before[j * p->n + later] || p->before[j * p->n + i];
    }
}

static bool waits_for(const dl_instruction *instruction, int event) {
    for (int w = 0; w < instruction->n_waits; w++) {
        if (instruction->waits[w] == event) {
            return true;
        }
    }
    return false;
}

/* By a search through all pairs: is every conflict ordered, and every exchange on the comm lane? */
static bool is_ordered(const dl_program *program, pairs *p) {
    memset(p->before, 0, (size_t)p->n * (size_t)p->n);
    bool ordered = true;
    for (int i = 0; i < p->n; i++) {
        const dl_instruction *later = &program->instruction[i];
        for (int j = 0; j < i; j++) {
            const dl_instruction *earlier = &program->instruction[j];
            if (earlier->lane == later->lane ||
                (earlier->records >= 0 && waits_for(later, earlier->records))) {
                add_all_before(p, j, i);
            }
        }
        for (int j = 0; j < i; j++) {
            ordered = ordered && (!p->conflict[j * p->n + i] || p->before[j * p->n + i]);
        }
        ordered = ordered && (later->type != DL_DO_ALL_REDUCE || later->lane == DL_LANE_COMM);
    }
    return ordered;
}

static int n_harmless, n_reported;

static void compare_verdicts(const dl_program *program, pairs *p, const char *what, int at) {
    const bool ordered = is_ordered(program, p);
    const dl_status status = dl_program_verify(program);
    if ((status == DL_OK) != ordered) {
        fail_msg("%s %d: the search says it is %s, the checker: %s\n%s", what, at,
                 ordered ? "ordered" : "not ordered", status == DL_OK ? "ordered" : dl_error_last()->message,
                 kit_context);
    }
    n_harmless += ordered;
    n_reported += !ordered;
}

/* Neighbours change lanes; and one instruction alone goes to each of the others. */
static void change_lanes(kit *k, dl_program *program) {
    (void)k;
    pairs p = {0};
    open_pairs(program, &p);
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *pair = &program->instruction[i];
        const dl_lane first = pair[0].lane, second = i + 1 < program->n_instructions ? pair[1].lane : first;
        if (first != second) {
            pair[0].lane = second;
            pair[1].lane = first;
            compare_verdicts(program, &p, "lanes swapped at", i);
            pair[0].lane = first;
            pair[1].lane = second;
        }
        for (int lane = 0; lane < DL_N_LANES && i % 5 == 0; lane++) {
            pair[0].lane = (dl_lane)lane;
            compare_verdicts(program, &p, "lane changed at", i);
        }
        pair[0].lane = first;
    }
    dl_free(&p.conflict);
    dl_free(&p.before);
}

static void lanes_are_checked(void **state) {
    (void)state;
    n_harmless = n_reported = 0;
    for_each_program(change_lanes);
    assert_true(n_reported > 1000 && n_harmless > 0);
}

/* --- three lanes --- */

/* Three instructions on three lanes that touch one slot: copy, comm, compute. */
static dl_program *three_lanes(void) {
    static const dl_lane lanes[] = {DL_LANE_COPY, DL_LANE_COMM, DL_LANE_COMPUTE};
    dl_program *program = NULL;
    int slot = -1;
    KIT_OK(dl_program_create(DL_PROGRAM_EVALUATE, &program));
    KIT_OK(dl_add_slot(program, "word", -1, -1, DL_STORE_CONTROL, DL_F32, &DL_SHAPE(4), &slot));
    for (int i = 0; i < 3; i++) {
        dl_instruction load = {.type = DL_DO_LOAD, .lane = lanes[i], .layer = -1, .records = -1};
        for (int s = 0; s <= DL_OP_MAX_SLOTS; s++) {
            load.slot[s] = s == 0 ? slot : -1;
        }
        KIT_OK(dl_add_instruction(program, &load));
    }
    return program;
}

/* Who waits for one that has waited need not wait for the same. */
static void what_is_implied_is_not_waited_for(void **state) {
    (void)state;
    dl_program *program = three_lanes();
    const dl_instruction *list = program->instruction;
    KIT_OK(dl_order_lanes(program));
    assert_int_equal(program->n_events, 2);
    assert_true(list[0].records >= 0 && list[1].records >= 0 && list[2].records < 0);
    assert_true(list[1].n_waits == 1 && list[1].waits[0] == list[0].records);
    assert_true(list[2].n_waits == 1 && list[2].waits[0] == list[1].records);
    dl_program_destroy(&program);
}

/* A wait for one lane says nothing of a third that nobody has waited for. */
static void a_wait_is_for_what_was_seen(void **state) {
    (void)state;
    dl_program *program = three_lanes();
    int seen[3][DL_N_LANES], maker[1] = {DL_NOBODY};
    dl_verifier v = {.program = program, .seen = seen, .maker = maker};
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        v.last[lane] = DL_NOBODY;
    }
    program->n_events = 1;
    program->instruction[1].records = 0;
    program->instruction[2].waits[program->instruction[2].n_waits++] = 0;
    for (int i = 0; i < 3; i++) {
        KIT_OK(dl_verify_follow(&v, i));
    }
    KIT_OK(dl_verify_order(&v, 2, 0, 1));
    assert_int_equal(dl_verify_order(&v, 2, 0, 0), DL_ERR_INTERNAL);
    assert_non_null(strstr(dl_error_last()->message, "does not wait for it"));
    dl_program_destroy(&program);
}

/* --- exchanges over ranks --- */

static void text_of_rank(network which, int n_ranks, int rank, bool swapped, dl_text *out) {
    kit k;
    open_network(&k, which, n_ranks, rank, "ref");
    dl_program *program = k.plan->program[0];
    dl_instruction *first = NULL;
    for (int i = 0; i < program->n_instructions && swapped; i++) {
        dl_instruction *reduce = &program->instruction[i];
        if (reduce->type == DL_DO_ALL_REDUCE && reduce->axis == DL_AXIS_DATA && first == NULL) {
            first = reduce;
        } else if (reduce->type == DL_DO_ALL_REDUCE && reduce->axis == DL_AXIS_DATA) {
            const dl_instruction kept = *first;
            *first = *reduce;
            *reduce = kept;
            break;
        }
    }
    KIT_OK(dl_plan_exchanges(k.plan, DL_AXIS_DATA, out));
    kit_close(&k);
}

static void ranks_exchange_in_one_order(void **state) {
    (void)state;
    for (int which = 0; which < N_NETWORKS; which++) {
        dl_text text[3] = {{0}, {0}, {0}};
        text_of_rank((network)which, 2, 0, false, &text[0]);
        text_of_rank((network)which, 2, 1, false, &text[1]);
        text_of_rank((network)which, 2, 1, true, &text[2]);
        assert_string_equal(text[0].data, text[1].data);
        assert_string_not_equal(text[0].data, text[2].data);
        assert_non_null(strstr(text[0].data, "exchange 1 of program 0: "));
        for (int i = 0; i < 3; i++) {
            dl_text_free(&text[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wait_and_event_is_needed),    cmocka_unit_test(lanes_are_checked),
        cmocka_unit_test(what_is_implied_is_not_waited_for), cmocka_unit_test(a_wait_is_for_what_was_seen),
        cmocka_unit_test(ranks_exchange_in_one_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
