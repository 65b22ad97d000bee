/* The table of optimizers: options, slots, and the update operation that each describes. */
#include "base/mem.h"
#include "optim/optim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    dl_pool *pool;
    dl_diagnostics diagnostics;
    dl_text said;
} fixture;

static int set_up(void **state) {
    static fixture f;
    f = (fixture){.pool = NULL};
    f.diagnostics.out = &f.said;
    *state = &f;
    return dl_pool_create(&f.pool) == DL_OK ? 0 : -1;
}

static int tear_down(void **state) {
    fixture *f = *state;
    dl_text_free(&f->said);
    dl_pool_destroy(&f->pool);
    return 0;
}

/* The optimizer of a configuration text: "optimizer: ..." */
static dl_variant chosen(fixture *f, const char *text) {
    dl_node *root = NULL;
    dl_variant variant = {.kind = NULL};
    assert_int_equal(dl_tree_parse("test.yaml", text, strlen(text), f->pool, &f->diagnostics, &root), DL_OK);
    assert_non_null(root);
    assert_int_equal(dl_variant_read(dl_optimizer_kinds(), "optimizer", dl_node_get(root, "optimizer"),
                                     &variant, f->pool, &f->diagnostics),
                     DL_OK);
    return variant;
}

static dl_tensor_desc slot(const dl_op_desc *desc, const char *name) {
    const int number = dl_op_slot(dl_op_info_of(desc->kind), name);
    assert_true(number >= 0);
    return desc->slot[number];
}

static void every_row_is_complete(void **state) {
    fixture *f = *state;
    int n = 0;
    for (const dl_variant_kind *const *kind = dl_optimizer_kinds(); *kind != NULL; kind++, n++) {
        const dl_optimizer *optimizer = dl_optimizer_find((*kind)->name);
        assert_ptr_equal(&optimizer->kind, *kind);
        assert_true(strlen((*kind)->doc) > 0);
        char text[128];
        (void)snprintf(text, sizeof text, "optimizer: %s", (*kind)->name);
        const dl_variant variant = chosen(f, text);
        assert_int_equal(f->diagnostics.n_errors, 0);
        assert_ptr_equal(dl_optimizer_of(&variant), optimizer);
        assert_true(dl_optimizer_base_rate(&variant) > 0);
        dl_op_desc desc;
        assert_int_equal(dl_optimizer_describe(&variant, 128, 1000, &desc), DL_OK);
        assert_int_equal(dl_op_check(&desc), DL_OK);
    }
    assert_true(n >= 2);
    assert_null(dl_optimizer_find("adamm"));
}

static void defaults_are_the_contract_s(void **state) {
    fixture *f = *state;
    const dl_variant adam = chosen(f, "optimizer: {adam: {}}"), sgd = chosen(f, "optimizer: {sgd: {}}");
    dl_op_desc desc;
    assert_true(dl_optimizer_base_rate(&adam) == 0.001);
    assert_int_equal(dl_optimizer_slots(&adam), 2);
    assert_int_equal(dl_optimizer_describe(&adam, 128, 10, &desc), DL_OK);
    assert_true(desc.attr.u.adam.beta_1 == 0.9 && desc.attr.u.adam.beta_2 == 0.999);
    assert_true(desc.attr.u.adam.epsilon == 1e-7 && desc.attr.u.adam.weight_decay == 0);
    assert_true(desc.attr.u.adam.capacity == 128);

    assert_true(dl_optimizer_base_rate(&sgd) == 0.01);
    assert_int_equal(dl_optimizer_slots(&sgd), 0);
    assert_int_equal(dl_optimizer_describe(&sgd, 64, 10, &desc), DL_OK);
    assert_true(desc.attr.u.sgd.momentum == 0 && desc.attr.u.sgd.weight_decay == 0);
    assert_false(desc.attr.u.sgd.nesterov);
    assert_false(slot(&desc, "v").present);
}

static void momentum_takes_a_slot(void **state) {
    fixture *f = *state;
    const dl_variant sgd = chosen(
        f, "optimizer: {sgd: {learning_rate: 0.5, momentum: 0.9, nesterov: true, weight_decay: 1e-4}}");
    dl_op_desc desc;
    assert_int_equal(dl_optimizer_check(&sgd, &f->diagnostics), DL_OK);
    assert_int_equal(f->diagnostics.n_errors, 0);
    assert_int_equal(dl_optimizer_slots(&sgd), 1);
    assert_string_equal(dl_optimizer_of(&sgd)->slot[0].name, "momentum");
    assert_true(dl_optimizer_base_rate(&sgd) == 0.5);
    assert_int_equal(dl_optimizer_describe(&sgd, 64, 777, &desc), DL_OK);
    assert_int_equal(dl_op_check(&desc), DL_OK);
    assert_true(slot(&desc, "v").present && slot(&desc, "v").shape.dim[0] == 777);
    assert_true(slot(&desc, "w").present && slot(&desc, "g").present);
    assert_true(desc.attr.u.sgd.momentum == 0.9 && desc.attr.u.sgd.nesterov);
    assert_true(desc.attr.u.sgd.weight_decay == 1e-4 && desc.attr.u.sgd.capacity == 64);
}

static void rmsprop_takes_the_slots_it_needs(void **state) {
    fixture *f = *state;
    static const struct {
        const char *text;
        int n;
        const char *slot[3];
    } cases[] = {
        {"optimizer: rmsprop", 1, {"square"}},
        {"optimizer: {rmsprop: {centered: true}}", 2, {"square", "mean"}},
        {"optimizer: {rmsprop: {momentum: 0.9}}", 2, {"square", "momentum"}},
        {"optimizer: {rmsprop: {momentum: 0.9, centered: true}}", 3, {"square", "mean", "momentum"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dl_variant rmsprop = chosen(f, cases[i].text);
        dl_op_desc desc;
        assert_int_equal(dl_optimizer_slots(&rmsprop), cases[i].n);
        for (int s = 0; s < cases[i].n; s++) {
            assert_string_equal(dl_optimizer_slot_at(&rmsprop, s)->name, cases[i].slot[s]);
        }
        assert_int_equal(dl_optimizer_describe(&rmsprop, 64, 77, &desc), DL_OK);
        assert_int_equal(dl_op_check(&desc), DL_OK);
        assert_true(desc.attr.u.rmsprop.rho == 0.9 && desc.attr.u.rmsprop.epsilon == 1e-7);
        assert_true(dl_optimizer_base_rate(&rmsprop) == 0.001);
    }
}

static void nesterov_without_momentum_is_a_mistake(void **state) {
    fixture *f = *state;
    const dl_variant sgd = chosen(f, "optimizer: {sgd: {nesterov: true}}");
    assert_int_equal(dl_optimizer_check(&sgd, &f->diagnostics), DL_OK);
    assert_int_equal(f->diagnostics.n_errors, 1);
    assert_non_null(strstr(f->said.data, "test.yaml:1:"));
    assert_non_null(strstr(f->said.data, "nesterov needs a momentum"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_is_complete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(defaults_are_the_contract_s, set_up, tear_down),
        cmocka_unit_test_setup_teardown(momentum_takes_a_slot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rmsprop_takes_the_slots_it_needs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nesterov_without_momentum_is_a_mistake, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
