/* Option tables: reading by type, messages, printing back, the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/option.h"

typedef struct wheel {
    int64_t spokes;
} wheel;

static const dl_option wheel_options[] = {
    {.name = "spokes",
     .type = DL_TYPE_INT,
     .offset = offsetof(wheel, spokes),
     .fallback = "32",
     .min = 1,
     .max = 64,
     .doc = "number of spokes"},
    DL_OPTION_END,
};
static const dl_option no_options[] = {DL_OPTION_END};
static const dl_variant_kind wire = {"wire", "a wheel with spokes", wheel_options, sizeof(wheel)};
static const dl_variant_kind disc = {"disc", "a wheel without", no_options, 1};
static const dl_variant_kind *const wheels[] = {&wire, &disc, NULL};

typedef struct lamp {
    bool on;
    double watt;
} lamp;

typedef struct bicycle {
    bool bell;
    int64_t gears, size;
    double weight;
    const char *owner;
    int frame;
    dl_int_list tyres;
    dl_float_list ratios;
    dl_int_list extras;
    lamp lamp;
    dl_variant wheel;
    const dl_node *notes, *parts;
} bicycle;

static const char *const frames[] = {"steel", "aluminium", "ref:strict", NULL};
static const char *const extras[] = {"basket", "mudguard", NULL};
static const char *const size_words[] = {"auto", NULL};
static const char *const tyre_words[] = {"none", "solid", NULL};

static const dl_option lamp_options[] = {
    {.name = "on", .type = DL_TYPE_BOOL, .offset = offsetof(lamp, on), .fallback = "false", .doc = "shining"},
    {.name = "watt",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(lamp, watt),
     .fallback = "2.4",
     .max = 6,
     .doc = "power"},
    DL_OPTION_END,
};

#define AT(field) .offset = offsetof(bicycle, field)
static const dl_option table[] = {
    {.name = "bell", .type = DL_TYPE_BOOL, AT(bell), .fallback = "true", .doc = "rings"},
    {.name = "gears", .type = DL_TYPE_INT, AT(gears), .min = 1, .max = 30, .doc = "how many"},
    {.name = "size",
     .type = DL_TYPE_INT,
     AT(size),
     .fallback = "auto",
     .min = 1,
     .max = 100,
     .words = size_words,
     .doc = "in inches"},
    {.name = "weight", .type = DL_TYPE_FLOAT, AT(weight), .fallback = "12.5", .doc = "in kilograms"},
    {.name = "owner", .type = DL_TYPE_TEXT, AT(owner), .fallback = "", .doc = "who rides it"},
    {.name = "frame",
     .type = DL_TYPE_CHOICE,
     AT(frame),
     .fallback = "steel",
     .words = frames,
     .doc = "material"},
    {.name = "tyres",
     .type = DL_TYPE_INTS,
     AT(tyres),
     .fallback = "28",
     .min = 10,
     .max = 60,
     .min_items = 1,
     .max_items = 2,
     .words = tyre_words,
     .doc = "front and rear"},
    {.name = "ratios", .type = DL_TYPE_FLOATS, AT(ratios), .fallback = "[1.0, 0.1]", .doc = "of the gears"},
    {.name = "extras",
     .type = DL_TYPE_WORDS,
     AT(extras),
     .fallback = "[]",
     .words = extras,
     .doc = "mounted"},
    {.name = "lamp",
     .type = DL_TYPE_GROUP,
     AT(lamp),
     .fallback = "",
     .group = lamp_options,
     .doc = "the light"},
    {.name = "wheel",
     .type = DL_TYPE_VARIANT,
     AT(wheel),
     .fallback = "wire",
     .variants = wheels,
     .doc = "kind"},
    {.name = "notes", .type = DL_TYPE_NODE, AT(notes), .fallback = "", .doc = "anything"},
    {.name = "parts",
     .type = DL_TYPE_NODE,
     AT(parts),
     .fallback = "[]",
     .variants = wheels,
     .entry = "layer",
     .doc = "spare wheels"},
    DL_OPTION_END,
};

typedef struct fixture {
    dl_pool *pool;
    dl_text out;
    dl_diagnostics diagnostics;
    bicycle b;
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

static void read_text(fixture *f, const char *text) {
    dl_node *root = NULL;
    f->diagnostics = (dl_diagnostics){.out = &f->out};
    f->b = (bicycle){0};
    dl_text_clear(&f->out);
    assert_int_equal(dl_text_append(&f->out, "%s", ""), DL_OK);
    assert_int_equal(dl_tree_parse("a", text, strlen(text), f->pool, &f->diagnostics, &root), DL_OK);
    assert_non_null(root);
    assert_int_equal(dl_options_read(table, root, root->place, &f->b, f->pool, &f->diagnostics), DL_OK);
}

static void test_defaults(void **state) {
    fixture *f = *state;
    read_text(f, "gears: 3\n");
    assert_int_equal(f->diagnostics.n_errors, 0);
    assert_true(f->b.bell);
    assert_int_equal(f->b.gears, 3);
    assert_true(f->b.size == DL_WORD(0));
    assert_true(f->b.weight == 12.5);
    assert_string_equal(f->b.owner, "");
    assert_int_equal(f->b.frame, 0);
    assert_int_equal(f->b.tyres.n, 1);
    assert_int_equal(f->b.tyres.word, -1);
    assert_int_equal(f->b.tyres.value[0], 28);
    assert_int_equal(f->b.ratios.n, 2);
    assert_int_equal(f->b.extras.n, 0);
    assert_true(f->b.lamp.watt == 2.4);
    assert_ptr_equal(f->b.wheel.kind, &wire);
    assert_int_equal(((const wheel *)f->b.wheel.values)->spokes, 32);
    assert_null(f->b.notes);
    assert_int_equal(f->b.parts->n_children, 0);
}

static void test_given(void **state) {
    fixture *f = *state;
    read_text(f,
              "gears: 7\nsize: 26\nweight: 1e-3\nowner: 007\nframe: ref:strict\ntyres: [28, 32]\nratios: 3\n"
              "extras: [mudguard, basket]\nlamp: {on: true}\nwheel: {wire: {spokes: 36}}\nnotes: {x: [1]}\n"
              "parts: [disc, wire: {spokes: 3}]\nbell: false\n");
    assert_int_equal(f->diagnostics.n_errors, 0);
    assert_false(f->b.bell);
    assert_int_equal(f->b.size, 26);
    assert_true(f->b.weight == 1e-3);
    assert_string_equal(f->b.owner, "007");
    assert_int_equal(f->b.frame, 2);
    assert_int_equal(f->b.tyres.n, 2);
    assert_int_equal(f->b.ratios.n, 1);
    assert_int_equal(f->b.extras.value[0], 1);
    assert_true(f->b.lamp.on);
    assert_true(f->b.lamp.watt == 2.4);
    assert_int_equal(((const wheel *)f->b.wheel.values)->spokes, 36);
    assert_int_equal(f->b.wheel.place.line, 10);
    assert_int_equal(f->b.wheel.place.column, 9);
    assert_int_equal(f->b.notes->kind, DL_NODE_MAP);
    read_text(f, "gears: 1\ntyres: solid\nwheel: disc\n");
    assert_int_equal(f->b.tyres.word, 1);
    assert_ptr_equal(f->b.wheel.kind, &disc);
}

/* Each of these one-line maps (gears: 1 is added) has this one mistake. */
static void test_mistakes(void **state) {
    static const char *const cases[][2] = {
        {"bell: yes", "1:7: error: bell must be true or false, but it is 'yes'; write true"},
        {"bell: off", "1:7: error: bell must be true or false, but it is 'off'; write false"},
        {"bell: 'true'", "1:7: error: bell must be true or false, but it is the text 'true'"},
        {"size: ten", "1:7: error: size must be a whole number from 1 to 100, or auto, but it is 'ten'"},
        {"size: 101", "1:7: error: size must be a whole number from 1 to 100, or auto, but it is '101'"},
        {"size: 1_0", "1:7: error: size must be a whole number from 1 to 100, or auto, but it is '1_0'"},
        {"size: 1.5", "1:7: error: size must be a whole number from 1 to 100, or auto, but it is '1.5'"},
        {"size: '5'",
         "1:7: error: size must be a whole number from 1 to 100, or auto, but it is the text '5'; take the "
         "quotes away"},
        {"size: aoto",
         "1:7: error: size must be a whole number from 1 to 100, or auto, but it is 'aoto'; did you mean "
         "'auto'?"},
        {"size: ", "1:1: error: size must be a whole number from 1 to 100, or auto, but it is nothing"},
        {"size: [1]", "1:7: error: size must be a whole number from 1 to 100, or auto, but it is a list"},
        {"weight: {}", "1:9: error: weight must be a number, but it is a map"},
        {"weight: 0x10", "1:9: error: weight must be a number, but it is '0x10'"},
        {"weight: .inf", "1:9: error: weight must be a number, but it is '.inf'"},
        {"weight: 1e999", "1:9: error: weight must be a number, but it is '1e999'"},
        {"owner: [a]", "1:8: error: owner must be text, but it is a list"},
        {"owner: ~", "1:8: error: owner must be text, but it is nothing"},
        {"frame: stel",
         "1:8: error: frame must be steel, aluminium or ref:strict, but it is 'stel'; did you mean "
         "'steel'?"},
        {"tyres: [28, x]",
         "1:13: error: tyres must be 1 or 2 whole numbers from 10 to 60, or none or solid, but here is "
         "'x'"},
        {"tyres: [20, 20, 20]",
         "1:8: error: tyres must be 1 or 2 whole numbers from 10 to 60, or none or solid, but "
         "here are 3"},
        {"tyres: []",
         "1:8: error: tyres must be 1 or 2 whole numbers from 10 to 60, or none or solid, but here are 0"},
        {"ratios: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]",
         "1:9: error: ratios has 17 entries; at most 16 are possible"},
        {"extras: [basket, horn]",
         "1:18: error: extras must be a list out of basket, mudguard, but here is 'horn'"},
        {"extras: [basket, basket]", "1:18: error: basket is listed twice in extras"},
        {"lamp: on", "1:7: error: lamp must be a map of keys, but it is 'on'"},
        {"lamp: {wat: 2}", "1:8: error: unknown key 'wat' in lamp; did you mean 'watt'?"},
        {"lamp: {volume: 2}", "1:8: error: unknown key 'volume' in lamp; known keys: on, watt"},
        {"lamp: {watt: 7}", "1:14: error: watt must be a number from 0 to 6, but it is '7'"},
        {"wheel: wood", "1:8: error: unknown wheel 'wood'; known ones: wire, disc"},
        {"wheel: {dics: {}}", "1:9: error: unknown wheel 'dics'; did you mean 'disc'?"},
        {"wheel: {}", "1:8: error: the name of a known wheel belongs here, not an empty map"},
        {"wheel: {wire: {}, disc: {}}",
         "1:19: error: one wheel belongs here, but there are two: 'wire' and 'disc'"},
        {"wheel: {wire: , spokes: 3}",
         "1:17: error: 'spokes' stands beside 'wire'; indent it further to make it an "
         "option of that wheel"},
        {"wheel: {wire: {spokes: 0}}",
         "1:24: error: spokes must be a whole number from 1 to 64, but it is '0'"},
        {"parts: {wire: {}}",
         "1:8: error: parts must be a list, each entry a name with its options, but it is a map"},
        {"parts: [wood]", "1:9: error: unknown layer 'wood'; known ones: wire, disc"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200], expected[300];
        (void)snprintf(text, sizeof text, "%s\ngears: 1\n", cases[i][0]);
        (void)snprintf(expected, sizeof expected, "a:%s\n%s\n", cases[i][1], cases[i][0]);
        read_text(f, text);
        if (strncmp(f->out.data, expected, strlen(expected)) != 0 || f->diagnostics.n_errors != 1) {
            fail_msg("%s gives\n%sexpected\n%s", cases[i][0], f->out.data, expected);
        }
    }
}

static void test_missing_and_several(void **state) {
    fixture *f = *state;
    read_text(f, "bells: true\nsize: x\n");
    assert_string_equal(
        f->out.data,
        "a:1:1: error: unknown key 'bells'; did you mean 'bell'?\nbells: true\n^\n"
        "a:2:7: error: size must be a whole number from 1 to 100, or auto, but it is 'x'\nsize: x\n"
        "      ^\n"
        "a:1:1: error: key 'gears' is missing\nbells: true\n^\n");
    assert_int_equal(f->diagnostics.n_errors, 3);
    assert_int_equal(dl_diagnostics_finish(&f->diagnostics), DL_ERR_USAGE);
    assert_true(dl_error_last()->reported);
}

static void test_one_mistake_of_an_alias_is_said_once(void **state) {
    fixture *f = *state;
    read_text(f, "gears: 1\nparts: [wire: &x {spokes: 0}, wire: *x]\n");
    assert_int_equal(f->diagnostics.n_errors, 1);
    assert_int_equal(f->diagnostics.n_calls, 2);
}

static void test_a_variant_with_a_mistake_has_no_kind(void **state) {
    fixture *f = *state;
    read_text(f, "gears: 1\nwheel: {wire: {spokes: none}}\n");
    assert_null(f->b.wheel.kind);
}

static void test_print_reads_back(void **state) {
    fixture *f = *state;
    read_text(
        f,
        "gears: 7\nweight: 0.1\nowner: \"a: \\\"b\\\" \\u2028 ü #\"\nratios: [0.30000000000000004, 1e-7, 5e-324]\n"
        "tyres: none\nparts: [disc, wire: {spokes: 3}]\nnotes: {x: [1, 'a b', ~], 'y z': {}}\n"
        "wheel: {wire: {spokes: 36}}\nextras: basket\n");
    assert_string_equal(f->out.data, "");
    dl_text first = {0}, second = {0};
    assert_int_equal(dl_options_print(table, &f->b, 0, &first), DL_OK);
    read_text(f, first.data);
    assert_string_equal(f->out.data, "");
    assert_string_equal(f->b.owner, "a: \"b\" \u2028 ü #");
    assert_true(f->b.ratios.value[0] == 0.1 + 0.2);
    assert_int_equal(dl_options_print(table, &f->b, 0, &second), DL_OK);
    assert_string_equal(first.data, second.data);
    assert_non_null(strstr(first.data, "\n  - wire: {spokes: 3}\n"));
    assert_non_null(strstr(first.data, "wheel:\n  wire:\n    spokes: 36\n"));
    assert_non_null(strstr(first.data, "weight: 0.1\n"));
    assert_non_null(strstr(first.data, "tyres: none\n"));
    for (const dl_option *option = table; option->name != NULL; option++) {
        char key[64];
        (void)snprintf(key, sizeof key, "%s:", option->name);
        assert_non_null(strstr(first.data, key));
    }
    dl_text_free(&first);
    dl_text_free(&second);
}

static void test_reference(void **state) {
    fixture *f = *state;
    dl_text_clear(&f->out);
    assert_int_equal(dl_options_reference(table, 0, &f->out), DL_OK);
    assert_non_null(strstr(f->out.data, "gears: a whole number from 1 to 30; required\n    how many\n"));
    assert_non_null(
        strstr(f->out.data, "size: a whole number from 1 to 100, or auto; default auto\n    in inches\n"));
    assert_non_null(strstr(f->out.data, "  watt: a number from 0 to 6; default 2.4\n      power\n"));
    assert_non_null(
        strstr(f->out.data, "  wire: a wheel with spokes\n    spokes: a whole number from 1 to 64"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_given, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_and_several, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_mistake_of_an_alias_is_said_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_variant_with_a_mistake_has_no_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_print_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reference, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
