/* Which layers the ranks of the tensor axis share, what each of them has, and where they exchange. */
#include "program_kit.h"

static const char pairs[] = "- flatten: {}\n"
                            "- dense: {units: 7, activation: relu, name: a}\n"
                            "- dropout: {rate: 0.5}\n"
                            "- dense: {units: 6, activation: tanh, name: b}\n"
                            "- dense: {units: 9, activation: softmax, name: c}\n"
                            "- dense: {units: 4, use_bias: false, name: d}\n"
                            "- dense: {units: 5, name: e}\n";

static void open_model(kit *k, const char *layers) {
    kit_open(k);
    kit_model(k, DL_SHAPE(3, 2, 1), layers);
}

static dl_slice slice_of(const dl_partition *p, const char *path) {
    for (int i = 0; i < p->model->table.n; i++) {
        if (strcmp(p->model->table.parameter[i].path, path) == 0) {
            return p->slice[i];
        }
    }
    fail_msg("there is no parameter %s", path);
    return (dl_slice){0};
}

static void expect_slice(const dl_partition *p, const char *path, int dim, int64_t begin, int64_t length) {
    const dl_slice slice = slice_of(p, path);
    assert_int_equal(slice.dim, dim);
    assert_int_equal((int)slice.begin, (int)begin);
    assert_int_equal((int)slice.length, (int)length);
}

/* a and b are a pair of 7 features; c ends in a softmax, which needs whole rows; d and e are a pair of 4. */
static void dense_layers_are_split_in_pairs(void **state) {
    (void)state;
    kit k;
    dl_partition *p[2] = {NULL, NULL};
    open_model(&k, pairs);
    for (int i = 0; i < 2; i++) {
        KIT_OK(dl_partition_create(k.model, 2, i, &p[i]));
    }
    expect_slice(p[0], "/a/weight", 0, 0, 3);
    expect_slice(p[1], "/a/weight", 0, 3, 4);
    expect_slice(p[1], "/a/bias", 0, 3, 4);
    expect_slice(p[1], "/b/weight", 1, 3, 4);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(slice_of(p[i], "/b/bias").dim, -1);
        assert_int_equal(slice_of(p[i], "/c/weight").dim, -1);
        expect_slice(p[i], "/d/weight", 0, 2 * i, 2);
        expect_slice(p[i], "/e/weight", 1, 2 * i, 2);
        for (int v = 0; v < k.model->n_values; v++) { /* the whole model stays as it was */
            assert_true(p[i]->spread[v] == DL_SPREAD_SPLIT || k.model->value[v].kind == DL_VALUE_PARAMETER ||
                        dl_shape_equal(&k.model->value[v].shape, &p[i]->model->value[v].shape));
        }
        dl_partition_destroy(&p[i]);
        assert_null(p[i]);
    }
    kit_close(&k);
}

static void expect_refusal(const char *layers, int size) {
    kit k;
    dl_partition *p = NULL;
    open_model(&k, layers);
    assert_int_equal(dl_partition_create(k.model, size, 0, &p), DL_ERR_USAGE);
    assert_null(p);
    assert_non_null(strstr(dl_error_last()->message, "no such pair"));
    kit_close(&k);
}

static void what_cannot_be_split_is_refused(void **state) {
    (void)state;
    expect_refusal("- flatten: {}\n- dense: {units: 5}\n", 2);
    expect_refusal("- flatten: {}\n- dense: {units: 3}\n- dense: {units: 5}\n",
                   4); /* fewer units than ranks */
    expect_refusal("- flatten: {}\n- dense: {units: 8, activation: softmax}\n- dense: {units: 5}\n", 2);
    /* the features in between are read elsewhere too */
    expect_refusal(
        "- flatten: {}\n- dense: {units: 5, name: a}\n- dense: {units: 5}\n- add: {from: [above, a]}\n", 2);
    expect_refusal("- flatten: {}\n- dense: {units: 6, name: a}\n- add: {from: [a, flatten], name: s}\n"
                   "- dense: {units: 5, name: b, from: a}\n- dense: {units: 5, name: c, from: s}\n"
                   "- add: {from: [b, c]}\n",
                   2);
    expect_refusal("- flatten: {}\n- dense: {units: 8}\n- reshape: {shape: [4, 2]}\n- dense: {units: 3}\n"
                   "- flatten: {}\n",
                   2);
}

/* Whatever the number of ranks, their slices make up the parameters, each element once. */
static void slices_make_up_the_whole(void **state) {
    (void)state;
    kit k;
    open_model(&k, pairs);
    const dl_parameter_table *table = &k.model->table;
    const size_t n = (size_t)table->trainable_elements;
    float *whole = NULL, *part = NULL, *again = NULL;
    KIT_OK(dl_alloc(n, sizeof *whole, &whole));
    KIT_OK(dl_alloc(n, sizeof *part, &part));
    KIT_OK(dl_alloc(n, sizeof *again, &again));
    for (int i = 0; i < table->n; i++) {
        for (int64_t e = 0; e < table->parameter[i].n_elements; e++) {
            whole[table->parameter[i].offset + e] = (float)(1000 * i + e + 1);
        }
    }
    for (int size = 2; size <= 4; size++) {
        memset(again, 0, n * sizeof *again);
        for (int index = 0; index < size; index++) {
            dl_partition *p = NULL;
            KIT_OK(dl_partition_create(k.model, size, index, &p));
            memset(part, 0, n * sizeof *part);
            dl_partition_cut(p, table, DL_ARENA_TRAINABLE, whole, part);
            const dl_slice slice = slice_of(p, "/a/bias");
            const dl_parameter *mine = dl_parameter_find(&p->model->table, "/a/bias");
            const dl_parameter *all = dl_parameter_find(table, "/a/bias");
            assert_true(part[mine->offset] == whole[all->offset + slice.begin]);
            dl_partition_paste(p, table, DL_ARENA_TRAINABLE, part, again);
            dl_partition_destroy(&p);
        }
        assert_memory_equal(whole, again, n * sizeof *whole);
    }
    dl_free(&whole);
    dl_free(&part);
    dl_free(&again);
    kit_close(&k);
}

/* Without any one of its exchanges a program is refused. */
static void a_missing_exchange_is_found(void **state) {
    (void)state;
    for (int rank = 0; rank < 2; rank++) {
        kit k;
        int n_exchanges = 0;
        const kit_options options = {
            .backend = "cpu", .batch_size = 6, .tensor = 2, .tensor_rank = rank, .clip_norm = 1.0};
        open_model(&k, pairs);
        kit_plan(&k, &options);
        const int number = kit_add(&k, DL_PROGRAM_TRAIN, 6);
        KIT_OK(dl_plan_seal(k.plan));
        dl_program *program = k.plan->program[number];
        for (int i = 0; i < program->n_instructions; i++) {
            dl_instruction *instruction = &program->instruction[i];
            if (instruction->type != DL_DO_ALL_REDUCE || instruction->axis != DL_AXIS_TENSOR) {
                continue;
            }
            const dl_instruction kept = *instruction;
            for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
                instruction->slot[s] = -1;
            }
            instruction->slot[0] = program->control;
            assert_int_equal(dl_program_verify(program), DL_ERR_INTERNAL);
            *instruction = kept;
            KIT_OK(dl_program_verify(program));
            n_exchanges++;
        }
        /* forward of b and e, backward into c's output (a's input needs no gradient), the norm */
        assert_int_equal(n_exchanges, 4);
        kit_close(&k);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_layers_are_split_in_pairs),
        cmocka_unit_test(what_cannot_be_split_is_refused),
        cmocka_unit_test(slices_make_up_the_whole),
        cmocka_unit_test(a_missing_exchange_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
