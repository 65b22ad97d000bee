/* From a file and overrides to a checked configuration. */
#include "config/config.h"

#include "base/tensor.h"
#include "config/expand.h"

#include <inttypes.h>
#include <string.h>

static const char example_name[] = "built-in example";

/* A tree being checked, and what became of it. */
typedef struct check {
    const dl_node *root;
    dl_config *config;
    dl_diagnostics *diagnostics;
} check;

/* The place of root.section.key, of the section, or of the file: as near as there is one. */
static dl_place place_of(const check *c, const char *section, const char *key) {
    const dl_node *map = section == NULL ? c->root : dl_node_get(c->root, section);
    if (map == NULL) {
        return c->root->place;
    }
    const dl_node *node = dl_node_get(map, key);
    if (node != NULL) {
        return node->place;
    }
    return map->key == NULL ? map->place : map->key_place;
}

static bool is_file_name(const char *name) {
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL && strlen(name) <= 200;
}

/* One number stands for all channels, beside a list of n. */
static void spread(dl_float_list *list, int n) {
    if (list->n != 1) {
        return;
    }
    for (; list->n < n; list->n++) {
        list->value[list->n] = list->value[0];
    }
}

static dl_status check_data(const check *c) {
    dl_data_config *data = &c->config->data;
    const dl_int_list *shape = &c->config->model.input.shape;
    dl_diagnostics *d = c->diagnostics;
    if (data->path != NULL && data->path[0] == '\0') {
        DL_RETURN_IF_ERROR(
            dl_diagnose(d, place_of(c, "data", "path"), "path is empty; give the folder of the shards"));
    }
    const dl_float_list *list[] = {&data->mean, &data->std};
    const char *const name[] = {"mean", "std"};
    for (int i = 0; i < 2; i++) {
        const int64_t channels = shape->n > 0 ? shape->value[shape->n - 1] : 0;
        if (list[i]->n > 1 && channels > 0 && list[i]->n != channels) {
            DL_RETURN_IF_ERROR(dl_diagnose(d, place_of(c, "data", name[i]),
                                           "%s has %d numbers, but model.input.shape has %" PRId64
                                           " channel%s",
                                           name[i], list[i]->n, channels, channels == 1 ? "" : "s"));
        }
    }
    for (int i = 0; i < data->std.n; i++) {
        if (!(data->std.value[i] > 0)) {
            DL_RETURN_IF_ERROR(dl_diagnose(d, place_of(c, "data", "std"), "std must be above 0"));
            break;
        }
    }
    spread(&data->mean, data->std.n);
    spread(&data->std, data->mean.n);
    return DL_OK;
}

/* A sample's numbers can be counted. */
static dl_status check_sample(const check *c) {
    const dl_int_list *list = &c->config->model.input.shape;
    dl_shape shape = {.n_dims = list->n};
    char text[DL_SHAPE_TEXT_BYTES];
    for (int i = 0; i < list->n; i++) {
        shape.dim[i] = dl_config_is_open(list->value[i]) ? 1 : list->value[i];
    }
    return dl_shape_check(&shape) == DL_OK
               ? DL_OK
               : dl_diagnose(c->diagnostics, c->config->input_place,
                             "a sample of shape %s has more than 2^48 numbers", dl_shape_text(&shape, text));
}

/* A text: a sample is one window. */
static dl_status check_text(const check *c) {
    const dl_config *config = c->config;
    const dl_int_list *shape = &config->model.input.shape;
    if (config->model.input.dtype == 0 || shape->n == 0) {
        return DL_OK;
    }
    if (shape->n != 1 || dl_config_is_open(shape->value[0])) {
        return dl_diagnose(c->diagnostics, config->input_place,
                           "with dtype tokens the shape is one number: how many tokens a sample has");
    }
    if (config->data.window != DL_WORD(0) && config->data.window != 0 &&
        config->data.window != shape->value[0]) {
        return dl_diagnose(c->diagnostics, place_of(c, "data", "window"),
                           "window is %" PRId64 ", but model.input.shape is [%" PRId64 "]; leave window out",
                           config->data.window, shape->value[0]);
    }
    return DL_OK;
}

static dl_status check_train(const check *c) {
    const dl_train_config *train = &c->config->train;
    if (train->batch_size > 0 && train->accumulate > train->batch_size) {
        DL_RETURN_IF_ERROR(dl_diagnose(c->diagnostics, place_of(c, "train", "accumulate"),
                                       "accumulate (%" PRId64 ") must not be above batch_size (%" PRId64 ")",
                                       train->accumulate, train->batch_size));
    }
    if (train->loss_scale > 0 && train->loss_scale < 1) {
        DL_RETURN_IF_ERROR(
            dl_diagnose(c->diagnostics, place_of(c, "train", "loss_scale"),
                        "loss_scale %g would make gradients smaller; write 1 or more, or 0 for "
                        "the automatic one",
                        train->loss_scale));
    }
    return DL_OK;
}

static dl_status check_parallel(const check *c) {
    if (c->config->parallel.pipeline > 1) {
        return dl_diagnose(c->diagnostics, place_of(c, "parallel", "pipeline"),
                           "the pipeline axis has size 1 today; write 1 or leave it out");
    }
    if (c->config->parallel.tensor > 1 && c->config->reproducible) {
        return dl_diagnose(c->diagnostics, place_of(c, "parallel", "tensor"),
                           "ranks that share layers add their sums in another order than one rank does; with "
                           "reproducible: true write 1 or leave it out");
    }
    return DL_OK;
}

/* What no single option can see. A value that did not fit its option is zero here. */
static dl_status check_all(const check *c) {
    const dl_config *config = c->config;
    dl_diagnostics *d = c->diagnostics;
    if (!is_file_name(config->name)) {
        DL_RETURN_IF_ERROR(
            dl_diagnose(d, place_of(c, NULL, "name"),
                        "'%.60s' cannot be the name of a run: it names a folder, so it has no '/' and does "
                        "not begin with '.'",
                        config->name));
    }
    DL_RETURN_IF_ERROR(check_sample(c));
    DL_RETURN_IF_ERROR(check_text(c));
    DL_RETURN_IF_ERROR(check_data(c));
    DL_RETURN_IF_ERROR(check_train(c));
    return check_parallel(c);
}

/* The file's name without folder and ending. */
static dl_status stem_of(const char *path, dl_pool *pool, char **out) {
    const char *slash = strrchr(path, '/');
    DL_RETURN_IF_ERROR(dl_pool_strdup(pool, slash == NULL ? path : slash + 1, out));
    char *dot = strrchr(*out, '.');
    if (dot != NULL && dot != *out) {
        *dot = '\0';
    }
    return DL_OK;
}

/* Defaults that depend on other values. */
static dl_status complete(dl_config *config, const dl_node *root, const char *path, dl_pool *pool) {
    const dl_node *data = dl_node_get(root, "data"), *model = dl_node_get(root, "model");
    config->file = path == NULL ? example_name : path;
    config->model_place = model == NULL ? root->place : model->key_place;
    const dl_node *input = model == NULL ? NULL : dl_node_get(model, "input");
    const dl_node *shape = input == NULL ? NULL : dl_node_get(input, "shape");
    config->input_place = shape == NULL ? config->model_place : shape->place;
    if (dl_node_get(data, "path") != NULL && dl_node_get(data, "make") == NULL) {
        config->data.make = 0; /* a mistyped path must not be filled with made data */
    }
    if (config->name == NULL || (config->name[0] == '\0' && dl_node_get(root, "name") == NULL)) {
        char *stem = NULL;
        DL_RETURN_IF_ERROR(stem_of(path == NULL ? "mnist_cnn" : path, pool, &stem));
        config->name = stem;
    }
    if (config->run.dir == NULL || config->run.dir[0] == '\0') {
        char *dir = NULL;
        DL_RETURN_IF_ERROR(dl_pool_printf(pool, &dir, "runs/%s", config->name));
        config->run.dir = dir;
    }
    return DL_OK;
}

/* For checks that others make (src/model/scoring.c). */
static void note_places(const check *c) {
    dl_config_places *places = &c->config->places;
    const dl_node *train = dl_node_get(c->root, "train"), *checkpoint = dl_node_get(c->root, "checkpoint");
    const dl_node *stopping = train == NULL ? NULL : dl_node_get(train, "early_stopping");
    const dl_node *monitor = stopping == NULL ? NULL : dl_node_get(stopping, "monitor");
    places->loss = place_of(c, "train", "loss");
    places->label_smoothing = place_of(c, "train", "label_smoothing");
    places->metrics = place_of(c, "train", "metrics");
    places->metrics_given = train != NULL && dl_node_get(train, "metrics") != NULL;
    places->best = place_of(c, "checkpoint", "best");
    places->best_given = checkpoint != NULL && dl_node_get(checkpoint, "best") != NULL;
    places->tensor = place_of(c, "parallel", "tensor");
    places->monitor = monitor == NULL ? place_of(c, "train", "early_stopping") : monitor->place;
}

static dl_status load_tree(const char *path, const char *const *overrides, int n_overrides, dl_pool *pool,
                           dl_diagnostics *diagnostics, dl_node **root) {
    if (path == NULL) {
        const char *text = dl_config_example();
        DL_RETURN_IF_ERROR(dl_tree_parse(example_name, text, strlen(text), pool, diagnostics, root));
    } else {
        DL_RETURN_IF_ERROR(dl_tree_load(path, pool, diagnostics, root));
    }
    for (int i = 0; i < n_overrides && *root != NULL; i++) {
        DL_RETURN_IF_ERROR(dl_tree_override(*root, overrides[i], pool, diagnostics));
    }
    return *root == NULL ? DL_OK : dl_model_expand(*root, pool, diagnostics);
}

dl_status dl_config_load(const char *path, const char *const *overrides, int n_overrides,
                         const dl_option *table, dl_pool *pool, dl_diagnostics *diagnostics,
                         dl_config **out) {
    *out = NULL;
    dl_node *root = NULL;
    dl_config *config = NULL;
    DL_RETURN_IF_ERROR(load_tree(path, overrides, n_overrides, pool, diagnostics, &root));
    if (root == NULL) {
        return dl_diagnostics_finish(diagnostics);
    }
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, 1, sizeof *config, &config));
    DL_RETURN_IF_ERROR(dl_options_read(table, root, root->place, config, pool, diagnostics));
    DL_RETURN_IF_ERROR(complete(config, root, path, pool));
    const check c = {.root = root, .config = config, .diagnostics = diagnostics};
    note_places(&c);
    DL_RETURN_IF_ERROR(check_all(&c));
    DL_RETURN_IF_ERROR(dl_diagnostics_finish(diagnostics));
    *out = config;
    return DL_OK;
}

dl_status dl_config_print(const dl_config *config, const dl_option *table, dl_text *out) {
    return dl_options_print(table, config, 0, out);
}
