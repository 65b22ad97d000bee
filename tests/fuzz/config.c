/* Arbitrary bytes as a configuration: parsed, overridden, checked against the whole table; what is accepted
 * must print to something that is accepted again and prints the same. */
#include "config/config.h"
#include "model/augment.h"
#include "model/model.h"
#include "model/scoring.h"
#include "optim/optim.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* What the input comes to. */
typedef struct outcome {
    dl_pool *pool;
    const dl_option *table;
    dl_diagnostics diagnostics;
    dl_node *root;
    dl_config config;
} outcome;

static void need(bool condition) {
    if (!condition) {
        abort();
    }
}

/* True when it has no mistakes. */
static bool check(outcome *o, const char *text, size_t n_bytes, const char *override) {
    need(dl_pool_create(&o->pool) == DL_OK);
    const dl_config_kinds kinds = {.optimizers = dl_optimizer_kinds(),
                                   .schedules = dl_schedule_kinds(),
                                   .layers = dl_layer_variants(),
                                   .augmentations = dl_augmentation_variants(),
                                   .losses = dl_loss_variants(),
                                   .metrics = dl_metric_variants()};
    need(dl_config_table(&kinds, o->pool, &o->table) == DL_OK);
    if (dl_tree_parse("fuzz", text, n_bytes, o->pool, &o->diagnostics, &o->root) != DL_OK ||
        o->root == NULL) {
        return false;
    }
    if (override != NULL) {
        need(dl_tree_override(o->root, override, o->pool, &o->diagnostics) == DL_OK);
    }
    need(dl_options_read(o->table, o->root, o->root->place, &o->config, o->pool, &o->diagnostics) == DL_OK);
    return o->diagnostics.n_errors == 0;
}

static void print(const outcome *o, dl_text *out) {
    need(dl_options_print(o->table, &o->config, 0, out) == DL_OK);
}

static void check_fixed_point(const outcome *first) {
    dl_text once = {0}, twice = {0}, messages = {0};
    print(first, &once);
    outcome again = {.diagnostics = {.out = &messages}};
    need(check(&again, once.data, once.size, NULL));
    print(&again, &twice);
    need(strcmp(once.data, twice.data) == 0);
    dl_pool_destroy(&again.pool);
    dl_text_free(&once);
    dl_text_free(&twice);
    dl_text_free(&messages);
}

/* The first line, when it is like one, is an override too. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    const char *text = (const char *)bytes;
    char override[256] = "";
    const char *end = memchr(text, '\n', n_bytes);
    if (end != NULL && (size_t)(end - text) < sizeof override &&
        memchr(text, '=', (size_t)(end - text)) != NULL) {
        memcpy(override, text, (size_t)(end - text));
        n_bytes -= (size_t)(end - text);
        text = end;
    }
    dl_text messages = {0};
    outcome o = {.diagnostics = {.out = &messages}};
    if (check(&o, text, n_bytes, override[0] == '\0' ? NULL : override)) {
        check_fixed_point(&o);
    }
    dl_pool_destroy(&o.pool);
    dl_text_free(&messages);
    return 0;
}
