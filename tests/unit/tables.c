/* Every entry of every table says what it is: what --help, the reference and messages are made of. A row
 * without its text fails here; a row of operations without conformance or gradient case fails in
 * tests/conformance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "datasets/dataset.h"
#include "kernels/backend.h"
#include "model/augment.h"
#include "model/layer.h"
#include "model/scoring.h"
#include "optim/optim.h"

#include <ctype.h>
#include <string.h>

enum { MAX_ENTRIES = 1000 };

static int n_entries;

/* `text` is a line of words. */
static void assert_says(const char *what, const char *name, const char *text) {
    if (text == NULL || strlen(text) < 4 || strchr(text, '\n') != NULL || isspace((unsigned char)text[0])) {
        fail_msg("%s '%s' has no help text of one line", what, name);
    }
    n_entries++;
}

static void assert_kinds(const char *what, const dl_variant_kind *const *kinds);

static void assert_options(const char *owner, const dl_option *options) {
    for (const dl_option *each = options; each->name != NULL; each++) {
        assert_true(n_entries < MAX_ENTRIES);
        assert_says(owner, each->name, each->doc);
        for (const dl_option *other = options; other != each; other++) {
            assert_string_not_equal(other->name, each->name);
        }
        if (each->type == DL_TYPE_GROUP) {
            assert_options(each->name, each->group);
        } else if (each->type == DL_TYPE_VARIANT) {
            assert_kinds(each->name, each->variants);
        } else if (each->type == DL_TYPE_CHOICE || each->type == DL_TYPE_WORDS) {
            assert_non_null(each->words);
        }
    }
}

static void assert_kinds(const char *what, const dl_variant_kind *const *kinds) {
    assert_non_null(kinds[0]);
    for (int i = 0; kinds[i] != NULL; i++) {
        assert_says(what, kinds[i]->name, kinds[i]->doc);
        assert_options(kinds[i]->name, kinds[i]->options);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(kinds[i]->name, kinds[j]->name);
        }
    }
}

/* The table of all keys: what `dltrain help config` prints. */
static void every_option_says_what_it_is(void **state) {
    (void)state;
    dl_pool *pool = NULL;
    const dl_option *table = NULL;
    const dl_variant_kind *layers[64] = {NULL};
    int n_layers = 0;
    for (const dl_layer_kind *const *each = dl_layer_kinds(); *each != NULL; each++) {
        assert_true(n_layers < 63);
        layers[n_layers++] = &(*each)->variant;
    }
    assert_int_equal(dl_pool_create(&pool), DL_OK);
    const dl_config_kinds kinds = {.optimizers = dl_optimizer_kinds(),
                                   .schedules = dl_schedule_kinds(),
                                   .layers = layers,
                                   .augmentations = dl_augmentation_variants(),
                                   .losses = dl_loss_variants(),
                                   .metrics = dl_metric_variants()};
    assert_int_equal(dl_config_table(&kinds, pool, &table), DL_OK);
    n_entries = 0;
    assert_options("config", table);
    assert_kinds("layer", layers);
    assert_kinds("loss", kinds.losses);
    assert_kinds("metric", kinds.metrics);
    assert_true(n_entries > 60);
    dl_pool_destroy(&pool);
}

static bool has_option(const dl_option *options, const char *name) {
    while (options->name != NULL && strcmp(options->name, name) != 0) {
        options++;
    }
    return options->name != NULL;
}

static void every_layer_has_the_common_options(void **state) {
    (void)state;
    for (const dl_layer_kind *const *each = dl_layer_kinds(); *each != NULL; each++) {
        assert_true(has_option((*each)->variant.options, "name"));
        assert_true(has_option((*each)->variant.options, "from"));
        assert_true(has_option((*each)->variant.options, "trainable"));
        assert_true(has_option((*each)->variant.options, "learning_rate_factor"));
        assert_true((*each)->build != NULL && (*each)->min_inputs >= 1);
        assert_true((*each)->max_inputs >= (*each)->min_inputs);
    }
}

static void assert_data_options(const char *name, const dl_data_option *options) {
    for (; options != NULL && options->name != NULL; options++) {
        assert_true(options->value_name != NULL && options->value_name[0] != '\0');
        assert_says(name, options->name, options->doc);
    }
}

static bool is_configurable(const char *maker) {
    for (const char *const *each = dl_config_makers; *each != NULL; each++) {
        if (strcmp(*each, maker) == 0) {
            return true;
        }
    }
    return false;
}

static void every_data_kind_says_what_it_is(void **state) {
    (void)state;
    for (const dl_maker *const *each = dl_makers(); *each != NULL; each++) {
        assert_says("maker", (*each)->name, (*each)->doc);
        assert_ptr_equal(dl_maker_find((*each)->name), *each);
        assert_true((*each)->train.n_samples > 0 && (*each)->make != NULL);
        assert_true(is_configurable((*each)->name));
        assert_data_options((*each)->name, (*each)->options);
    }
    for (const dl_importer *const *each = dl_importers(); *each != NULL; each++) {
        assert_says("importer", (*each)->name, (*each)->doc);
        assert_says("importer", (*each)->name, (*each)->usage);
        assert_ptr_equal(dl_importer_find((*each)->name), *each);
        assert_data_options((*each)->name, (*each)->options);
        assert_true((*each)->import != NULL && (*each)->min_inputs <= (*each)->max_inputs);
    }
}

static void every_backend_says_what_it_is(void **state) {
    (void)state;
    for (const dl_backend *const *each = dl_backends(); *each != NULL; each++) {
        assert_says("backend", (*each)->name, (*each)->doc);
        assert_ptr_equal(dl_backend_find((*each)->name), *each);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_says_what_it_is),
        cmocka_unit_test(every_layer_has_the_common_options),
        cmocka_unit_test(every_data_kind_says_what_it_is),
        cmocka_unit_test(every_backend_says_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
