/* Trees: what YAML becomes, places, limits, mistakes of syntax. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/node.h"

typedef struct fixture {
    dl_pool *pool;
    dl_text out;
    dl_diagnostics diagnostics;
    dl_node *root;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(dl_pool_create(&f->pool), DL_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    dl_pool_destroy(&f->pool);
    dl_text_free(&f->out);
    free(f);
    return 0;
}

static void parse_bytes(fixture *f, const char *text, size_t n_bytes) {
    f->diagnostics = (dl_diagnostics){.out = &f->out};
    dl_text_clear(&f->out);
    assert_int_equal(dl_text_append(&f->out, "%s", ""), DL_OK);
    assert_int_equal(dl_tree_parse("a.yaml", text, n_bytes, f->pool, &f->diagnostics, &f->root), DL_OK);
}

static void parse(fixture *f, const char *text) {
    parse_bytes(f, text, strlen(text));
}

static dl_node *get(dl_node *map, const char *key) {
    dl_node *node = dl_node_get(map, key);
    assert_non_null(node);
    return node;
}

static void assert_place(dl_place place, int line, int column) {
    assert_int_equal(place.line, line);
    assert_int_equal(place.column, column);
}

static void test_values_and_places(void **state) {
    fixture *f = *state;
    parse(f, "a: 1\nb:\n  - 'x'\n  - ü: \"y\\n\"\nc: {d: ~, e: }\nf: |\n  text\n");
    assert_int_equal(f->diagnostics.n_errors, 0);
    assert_string_equal(get(f->root, "a")->text, "1");
    assert_false(get(f->root, "a")->quoted);
    assert_place(get(f->root, "a")->key_place, 1, 1);
    assert_place(get(f->root, "a")->place, 1, 4);
    const dl_node *list = get(f->root, "b");
    assert_int_equal(list->n_children, 2);
    assert_true(list->child[0]->quoted);
    assert_place(list->child[0]->place, 3, 5);
    assert_string_equal(get(list->child[1], "ü")->text, "y\n");
    assert_place(get(list->child[1], "ü")->place, 4, 8);
    assert_string_equal(get(get(f->root, "c"), "d")->text, "");
    assert_string_equal(get(get(f->root, "c"), "e")->text, "");
    assert_place(get(get(f->root, "c"), "e")->place, 5, 11);
    assert_string_equal(get(f->root, "f")->text, "text\n");
}

static void test_flow_pairs(void **state) {
    fixture *f = *state;
    parse(f, "layers: [embedding: {n: 1}, lstm: {units: 2}]\n");
    const dl_node *list = get(f->root, "layers");
    assert_int_equal(list->n_children, 2);
    assert_int_equal(list->child[1]->kind, DL_NODE_MAP);
    assert_place(list->child[1]->place, 1, 29);
    assert_string_equal(get(get(list->child[1], "lstm"), "units")->text, "2");
}

static void test_empty_and_byte_order_mark(void **state) {
    fixture *f = *state;
    parse(f, "");
    assert_int_equal(f->root->n_children, 0);
    parse(f, "# only a comment\n");
    assert_int_equal(f->root->n_children, 0);
    parse(f, "---\n");
    assert_int_equal(f->root->n_children, 0);
    parse(f, "\xef\xbb\xbf"
             "a: 1\n");
    assert_place(get(f->root, "a")->place, 1, 4);
    assert_int_equal(f->diagnostics.n_errors, 0);
}

static void test_aliases_are_copies(void **state) {
    fixture *f = *state;
    parse(f, "a: &x {b: 1}\nc: *x\n");
    dl_node *a = get(f->root, "a"), *c = get(f->root, "c");
    assert_ptr_not_equal(a, c);
    assert_ptr_not_equal(get(a, "b"), get(c, "b"));
    assert_string_equal(get(c, "b")->text, "1");
    assert_place(c->place, 2, 4);
}

static void assert_mistake(fixture *f, const char *text, const char *expected) {
    parse(f, text);
    assert_string_equal(f->out.data, expected);
}

static void test_mistakes(void **state) {
    fixture *f = *state;
    assert_mistake(f, "a:\n\tb: 1\n",
                   "a.yaml:2:1: error: a tab indents here; YAML wants blanks\n\tb: 1\n^\n");
    assert_null(f->root);
    assert_mistake(f, "a: [1,\n  2\n", "a.yaml:1:4: error: this '[' is never closed\na: [1,\n   ^\n");
    assert_mistake(f, "a: 'x\n", "a.yaml:1:4: error: this quote is never closed\na: 'x\n   ^\n");
    assert_mistake(f, "a: *b\n", "a.yaml:1:4: error: alias '*b' has no anchor '&b' above it\na: *b\n   ^\n");
    assert_mistake(f, "a: &b [*b]\n",
                   "a.yaml:1:8: error: alias '*b' stands inside its own anchor\na: &b [*b]\n       ^\n");
    assert_mistake(
        f, "a: 1\n---\nb: 2\n",
        "a.yaml:2:1: error: a second document begins here; a configuration is one document\n---\n^\n");
    assert_mistake(f, "? [a]\n: 1\n", "a.yaml:1:3: error: a key must be plain text\n? [a]\n  ^\n");
    assert_mistake(
        f, "a: 1\r\nb: x: y\r\n",
        "a.yaml:2:5: error: a second ': ' in one line; put quotes around the text\nb: x: y\n    ^\n");
}

static void test_mistakes_that_keep_the_tree(void **state) {
    fixture *f = *state;
    assert_mistake(f, "a: 1\nb: 2\na: 3\n",
                   "a.yaml:3:1: error: key 'a' is given twice; the first is in line 1\na: 3\n^\n");
    assert_int_equal(f->root->n_children, 2);
    assert_string_equal(get(f->root, "a")->text, "1");
    assert_mistake(f, "a: !!int 1\n", "a.yaml:1:4: error: YAML tags are not allowed\na: !!int 1\n   ^\n");
    assert_string_equal(get(f->root, "a")->text, "1");
}

static void test_bytes_that_are_not_text(void **state) {
    fixture *f = *state;
    assert_mistake(f, "a: \xff\n",
                   "a.yaml:1:4: error: byte 0xFF is not UTF-8; save the file as UTF-8\na: ?\n   ^\n");
    assert_mistake(f, "a: \xc0\xaf\n",
                   "a.yaml:1:4: error: byte 0xC0 is not UTF-8; save the file as UTF-8\na: ??\n   ^\n");
    assert_mistake(
        f, "a: \x1b[31m\n",
        "a.yaml:1:4: error: control character U+001B; only text is allowed here\na: ?[31m\n   ^\n");
    parse_bytes(f, "a: 1\0b", 6);
    assert_string_equal(
        f->out.data,
        "a.yaml:1:5: error: control character U+0000; only text is allowed here\na: 1?b\n    ^\n");
}

static void repeat(dl_text *text, const char *part, int n) {
    for (int i = 0; i < n; i++) {
        assert_int_equal(dl_text_append(text, "%s", part), DL_OK);
    }
}

static void test_depth(void **state) {
    fixture *f = *state;
    dl_text text = {0};
    assert_int_equal(dl_text_append(&text, "a: "), DL_OK);
    repeat(&text, "[", 63);
    repeat(&text, "]", 63);
    parse(f, text.data);
    assert_int_equal(f->diagnostics.n_errors, 0);
    dl_text_clear(&text);
    assert_int_equal(dl_text_append(&text, "a: "), DL_OK);
    repeat(&text, "[", 64);
    repeat(&text, "]", 64);
    parse(f, text.data);
    assert_int_equal(f->diagnostics.n_errors, 1);
    assert_non_null(strstr(f->out.data, "a.yaml:1:67: error: nested deeper than 64 levels"));
    dl_text_free(&text);
}

static void test_alias_bomb(void **state) {
    fixture *f = *state;
    dl_text text = {0};
    assert_int_equal(dl_text_append(&text, "a: &a [x, x, x, x, x, x, x, x, x, x]\n"), DL_OK);
    for (char c = 'b'; c <= 'j'; c++) {
        assert_int_equal(dl_text_append(&text, "%c: &%c [", c, c), DL_OK);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(dl_text_append(&text, "%s*%c", i == 0 ? "" : ", ", c - 1), DL_OK);
        }
        assert_int_equal(dl_text_append(&text, "]\n"), DL_OK);
    }
    parse(f, text.data);
    assert_int_equal(f->diagnostics.n_errors, 1);
    assert_non_null(strstr(f->out.data, "error: aliases stand for more than 10000 values"));
    dl_text_free(&text);
}

static void test_size(void **state) {
    fixture *f = *state;
    dl_text text = {0};
    repeat(&text, "# 0123456789012\n", 65536);
    assert_int_equal(text.size, 1 << 20);
    parse(f, text.data);
    repeat(&text, "#", 1);
    assert_int_equal(dl_tree_parse("a.yaml", text.data, text.size, f->pool, &f->diagnostics, &f->root),
                     DL_ERR_USAGE);
    assert_string_equal(dl_error_last()->message, "a.yaml is larger than 1048576 bytes");
    dl_text_free(&text);
}

static void test_long_lines_are_cut(void **state) {
    fixture *f = *state;
    dl_text text = {0};
    assert_int_equal(dl_text_append(&text, "a: "), DL_OK);
    repeat(&text, "x", 300);
    assert_int_equal(dl_text_append(&text, ": y "), DL_OK);
    repeat(&text, "z", 300);
    parse(f, text.data);
    assert_int_equal(f->diagnostics.n_errors, 1);
    assert_true(f->out.size < 400);
    const char *caret = strchr(f->out.data, '^');
    assert_non_null(caret);
    const char *below = caret;
    while (below[-1] != '\n') {
        below--;
    }
    const char *shown = below - 1;
    while (shown[-1] != '\n') {
        shown--;
    }
    assert_memory_equal(shown + (caret - below), ": y z", 5);
    dl_text_free(&text);
}

static void test_missing_file(void **state) {
    fixture *f = *state;
    f->diagnostics = (dl_diagnostics){.out = &f->out};
    assert_int_equal(dl_tree_load("configs/mnist_cn.yaml", f->pool, &f->diagnostics, &f->root), DL_ERR_USAGE);
    assert_string_equal(dl_error_last()->message,
                        "there is no file configs/mnist_cn.yaml; did you mean configs/mnist_cnn.yaml?");
    assert_int_equal(dl_tree_load("configs", f->pool, &f->diagnostics, &f->root), DL_ERR_USAGE);
}

static void override(fixture *f, const char *text) {
    f->diagnostics = (dl_diagnostics){.out = &f->out};
    dl_text_clear(&f->out);
    assert_int_equal(dl_tree_override(f->root, text, f->pool, &f->diagnostics), DL_OK);
}

static void test_overrides(void **state) {
    fixture *f = *state;
    parse(f, "a: {b: 1}\nlist: [{x: 1}, {x: 2}]\nopt: adam\n");
    override(f, "a.b=2");
    assert_string_equal(get(get(f->root, "a"), "b")->text, "2");
    assert_place(get(get(f->root, "a"), "b")->place, 1, 5);
    override(f, "new.deep.key=[1, 2]");
    assert_int_equal(get(get(get(f->root, "new"), "deep"), "key")->n_children, 2);
    override(f, "list.1.x=7");
    assert_string_equal(get(get(f->root, "list")->child[1], "x")->text, "7");
    override(f, "opt.sgd.momentum=0.9");
    assert_string_equal(get(get(get(f->root, "opt"), "sgd"), "momentum")->text, "0.9");
    override(f, "a.b=");
    assert_string_equal(get(get(f->root, "a"), "b")->text, "");
    override(f, "a.b=x=y");
    assert_string_equal(get(get(f->root, "a"), "b")->text, "x=y");
}

static void test_override_mistakes(void **state) {
    fixture *f = *state;
    parse(f, "list: [1, 2]\n");
    override(f, "list.2=3");
    assert_string_equal(
        f->out.data,
        "command line:1:6: error: '2' is no entry of a list of 2; they are counted from 0\nlist.2=3\n     ^\n");
    override(f, "a..b=3");
    assert_string_equal(f->out.data,
                        "command line:1:3: error: a key is missing; write KEY.PATH=VALUE\na..b=3\n  ^\n");
    override(f, "a={b: 1");
    assert_string_equal(f->out.data, "command line:1:3: error: this '{' is never closed\na={b: 1\n  ^\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_and_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flow_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_and_byte_order_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(test_aliases_are_copies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistakes_that_keep_the_tree, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_that_are_not_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alias_bomb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overrides, setup, teardown),
        cmocka_unit_test_setup_teardown(test_override_mistakes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
