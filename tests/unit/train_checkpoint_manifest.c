/* What is wrong in a manifest whose digest is right: named, each by its place. */
#define _GNU_SOURCE
#include "data_support.h"
#include "train/checkpoint/checkpoint_private.h"

#define ZEROS "00000000000000000000000000000000"

static const char good[] =
    "{\"format\":1,\"step\":7,\"epoch\":1,\"samples\":9,\"ranks\":2,\"config_digest\":\"c\",\"data_digest\":\"d\","
    "\"versions\":{\"a\":\"b\"},\"state\":{\"x\":[1.5,null]},"
    "\"files\":[{\"name\":\"part-00000.h5\",\"bytes\":9000,\"digest\":\"" ZEROS "\",\"blocks\":[\"" ZEROS
    "\"]},"
    "{\"name\":\"part-00001.h5\",\"bytes\":1048577,\"digest\":\"" ZEROS "\",\"blocks\":[\"" ZEROS
    "\",\"" ZEROS "\"]}],"
    "\"tensors\":[{\"name\":\"/a/b\",\"dtype\":\"float32\",\"shape\":[4,4],\"slices\":["
    "{\"file\":\"part-00000.h5\",\"path\":\"/a/b\",\"offset\":[0,0],\"shape\":[4,1]},"
    "{\"file\":\"part-00001.h5\",\"path\":\"/a/b\",\"offset\":[0,1],\"shape\":[4,3]}]},"
    "{\"name\":\"/c\",\"dtype\":\"int64\",\"shape\":[],\"slices\":["
    "{\"file\":\"part-00001.h5\",\"path\":\"/c\",\"offset\":[],\"shape\":[]}]}]";

/* The text `from` of the good one replaced by `to`, and what must be said of it. */
static const struct {
    const char *from, *to, *message;
} wrong[] = {
    {"\"format\":1", "\"format\":2", "is of format 2, this program reads format 1"},
    {"\"format\":1", "\"format\":\"1\"", "format must be a whole number"},
    {"\"format\":1,", "", "format must be a whole number"},
    {"\"step\":7", "\"step\":-7", "step is -7, not from 0"},
    {"\"step\":7", "\"step\":7.0", "step must be a whole number"},
    {"\"step\":7", "\"step\":99999999999999999999", "is damaged"},
    {"\"step\":7", "\"step\":7,\"step\":7", "duplicate"},
    {"\"ranks\":2", "\"ranks\":3", "2 files of 3 ranks"},
    {"\"ranks\":2", "\"ranks\":0", "ranks is 0"},
    {"\"ranks\":2", "\"ranks\":2,\"more\":1", "keys that format 1 does not know"},
    {"\"config_digest\":\"c\"", "\"config_digest\":null", "config_digest must be a string"},
    {"{\"a\":\"b\"}", "{\"a\":1}", "versions.a must be a string"},
    {"\"state\":{\"x\":[1.5,null]}", "\"state\":[]", "state must be an object"},
    {"part-00000.h5\",\"bytes\"", "../part-00000.h5\",\"bytes\"", "files[0].name is not part-NNNNN.h5"},
    {"part-00000.h5\",\"bytes\"", "part-0.h5\",\"bytes\"", "files[0].name is not part-NNNNN.h5"},
    {"part-00000.h5\",\"bytes\"", "part-00001.h5\",\"bytes\"", "files[1] is not in order"},
    {"\"bytes\":9000", "\"bytes\":0", "files[0].bytes is 0"},
    {"\"bytes\":9000", "\"bytes\":2000000", "the digests of files[0] are not those of 2000000 bytes"},
    {"\"bytes\":9000", "\"bytes\":9007199254740993", "files[0].bytes is 9007199254740993"},
    {"\"digest\":\"" ZEROS, "\"digest\":\"A" ZEROS, "files[0].digest is too long"},
    {"\"blocks\":[\"" ZEROS "\"]}", "\"blocks\":[\"g\"]}", "the digests of files[0]"},
    {"\"blocks\":[\"" ZEROS "\"]}", "\"blocks\":[1]}", "the digests of files[0]"},
    {"\"name\":\"/a/b\"", "\"name\":\"a/b\"", "tensors[0].name is not a name"},
    {"\"name\":\"/a/b\"", "\"name\":\"/a/../b\"", "tensors[0].name is not a name"},
    {"\"name\":\"/a/b\"", "\"name\":\"/a//b\"", "tensors[0].name is not a name"},
    {"\"name\":\"/a/b\"", "\"name\":\"/a/b\\n\"", "tensors[0].name is not a name"},
    {"\"name\":\"/a/b\"", "\"name\":\"/c\"", "tensors[1] is not in bytewise order"},
    {"\"name\":\"/a/b\"", "\"name\":\"/d\"", "tensors[1] is not in bytewise order"},
    {"float32", "float31", "tensors[0].dtype 'float31' is unknown"},
    {"[4,4]", "[4,-4]", "tensors[0].shape[1] must be a whole number from 0"},
    {"[4,4]", "[4,4.0]", "tensors[0].shape[1] must be a whole number"},
    {"[4,4]", "[4,4,1,1,1,1,1]", "tensors[0].shape has more than 6 dimensions"},
    {"[4,4]", "[16777216,16777217]", "tensors[0].shape is too large"},
    {"[4,4]", "[281474976710656,281474976710656]", "tensors[0].shape is too large"},
    {"[4,4]", "[4,5]", "the slices of /a/b have 16 of its 20 elements"},
    {"[4,4]", "[4,3]", "tensors[0].slices[1] does not lie in the tensor"},
    {"[4,4]", "[16]", "tensors[0].slices[0] does not lie in the tensor"},
    {"\"offset\":[0,1]", "\"offset\":[0,0]", "slices 0 and 1 of /a/b overlap"},
    {"\"offset\":[0,1]", "\"offset\":[0]", "tensors[0].slices[1] does not lie"},
    {"\"offset\":[0,1]", "\"offset\":[0,281474976710656]", "tensors[0].slices[1] does not lie"},
    {"\"offset\":[0,1]", "\"offset\":[0,9223372036854775807]", "tensors[0].slices[1].offset[1] must be"},
    {"\"shape\":[4,3]", "\"shape\":[4,2]", "the slices of /a/b have 12 of its 16 elements"},
    {"{\"file\":\"part-00000.h5\",\"path\"", "{\"file\":\"part-00002.h5\",\"path\"",
     "slices[0].file is none of its files"},
    {"\"path\":\"/c\"", "\"path\":\"/../c\"", "tensors[1].slices[0].path is not a path"},
    {"\"path\":\"/c\"", "\"path\":\"/c\",\"more\":[]", "tensors[1].slices[0] has keys"},
    {"\"dtype\":\"int64\",\"shape\":[],\"slices\":[", "\"dtype\":\"int64\",\"shape\":[],\"slices\":[[],",
     "tensors[1].slices[0] must be an object"},
    {"{\"x\":[1.5,null]}", "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
     "nested deeper than 32"},
    {"{\"x\":[1.5,null]}", "{\"x\":NaN}", "is damaged"},
};

/* Ends a manifest as it must end. */
static void seal(dl_text *text) {
    char digest[DL_DIGEST_TEXT_BYTES];
    dl_digest_of(text->data, text->size, digest);
    assert_ok(dl_text_append(text, ",\"digest\":\"%s\"}\n", digest));
}

static void the_good_one(void **state) {
    (void)state;
    dl_text text = {0};
    dl_checkpoint *c = NULL;
    assert_ok(dl_text_append(&text, "%s", good));
    seal(&text);
    assert_ok(dl_checkpoint_manifest_parse("m", text.data, text.size, &c));
    assert_int_equal(dl_checkpoint_about_of(c)->samples, 9);
    assert_int_equal(dl_checkpoint_n_tensors(c), 2);
    assert_int_equal(dl_checkpoint_n_bytes(c), 1057577);
    dl_checkpoint_close(&c);
    dl_text_free(&text);
}

static void wrong_ones(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *at = strstr(good, wrong[i].from);
        dl_text text = {0};
        dl_checkpoint *c = NULL;
        assert_non_null(at);
        assert_ok(dl_text_append(&text, "%.*s%s%s", (int)(at - good), good, wrong[i].to,
                                 at + strlen(wrong[i].from)));
        seal(&text);
        assert_error(dl_checkpoint_manifest_parse("m", text.data, text.size, &c), DL_ERR_CORRUPT,
                     wrong[i].message);
        assert_null(c);
        dl_text_free(&text);
    }
}

/* Slices beyond what a check of each against each may take. */
static void too_many_slices(void **state) {
    (void)state;
    dl_text text = {0};
    dl_checkpoint *c = NULL;
    const char *at = strstr(good, "{\"name\":\"/c\"");
    assert_ok(dl_text_append(&text, "%.*s{\"name\":\"/b\",\"dtype\":\"uint8\",\"shape\":[5000],\"slices\":[",
                             (int)(at - good), good));
    for (int i = 0; i < 5000; i++) {
        assert_ok(dl_text_append(
            &text, "%s{\"file\":\"part-00000.h5\",\"path\":\"/b\",\"offset\":[%d],\"shape\":[1]}",
            i > 0 ? "," : "", i));
    }
    assert_ok(dl_text_append(&text, "]},%s", at));
    seal(&text);
    assert_error(dl_checkpoint_manifest_parse("m", text.data, text.size, &c), DL_ERR_CORRUPT,
                 "more than 4096 slices");
    dl_text_free(&text);
}

static void names(void **state) {
    (void)state;
    static const char *const parts[] = {
        "part-0.h5",      "part-000000.h5", "part-99999999.h5", "part-00000.h",
        "part-00000.h5x", "part-65536.h5",  "xpart-00000.h5",   ""};
    static const char *const steps[] = {
        "step-1",        "step-000000001", "step--0000001",        "step-00000001x",
        "step-0000000a", "step-",          "step-00000001.aside-1"};
    int64_t step = 0;
    assert_true(dl_checkpoint_is_part("part-00000.h5") && dl_checkpoint_is_part("part-65535.h5"));
    assert_true(dl_checkpoint_parse_step("step-00000012", &step) && step == 12);
    assert_true(dl_checkpoint_parse_step("step-123456789012", &step) && step == 123456789012);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        assert_false(dl_checkpoint_is_part(parts[i]));
    }
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_false(dl_checkpoint_parse_step(steps[i], &step));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_good_one),
        cmocka_unit_test(wrong_ones),
        cmocka_unit_test(too_many_slices),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
