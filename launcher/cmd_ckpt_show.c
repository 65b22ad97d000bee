#define _GNU_SOURCE
#include "launcher/ckpt_paths.h"
#include "launcher/command.h"

#include <inttypes.h>
#include <stdio.h>

/* --- for programs --- */

static json_t *json_of_tensor(dl_checkpoint_tensor tensor) {
    json_t *shape = json_array();
    for (int i = 0; i < tensor.shape.n_dims; i++) {
        (void)json_array_append_new(shape, json_integer(tensor.shape.dim[i]));
    }
    return json_pack("{s:s, s:s, s:o}", "name", tensor.name, "dtype", dl_dtype_name(tensor.dtype), "shape",
                     shape);
}

static json_t *json_of(const char *path, const dl_checkpoint *c, bool with_tensors) {
    const dl_checkpoint_about *about = dl_checkpoint_about_of(c);
    json_t *all = json_pack(
        "{s:s, s:I, s:I, s:I, s:i, s:i, s:I, s:i, s:s, s:s}", "path", path, "step", (json_int_t)about->step,
        "epoch", (json_int_t)about->epoch, "samples", (json_int_t)about->samples, "ranks", about->ranks,
        "files", dl_checkpoint_n_files(c), "bytes", (json_int_t)dl_checkpoint_n_bytes(c), "n_tensors",
        dl_checkpoint_n_tensors(c), "config_digest", about->config_digest, "data_digest", about->data_digest);
    if (all == NULL || !with_tensors) {
        return all;
    }
    json_t *tensors = json_array();
    for (int i = 0; i < dl_checkpoint_n_tensors(c); i++) {
        (void)json_array_append_new(tensors, json_of_tensor(dl_checkpoint_tensor_at(c, i)));
    }
    (void)json_object_set_new(all, "versions", json_deep_copy(about->versions));
    (void)json_object_set_new(all, "state", json_deep_copy(about->state));
    (void)json_object_set_new(all, "tensors", tensors);
    return all;
}

/* --- for people --- */

static dl_status print_line(const char *path, const dl_checkpoint *c) {
    char bytes[32];
    const dl_checkpoint_about *about = dl_checkpoint_about_of(c);
    return dl_ckpt_printed(printf("%s  step %" PRId64 ", epoch %" PRId64 ", %d rank%s, %s bytes\n", path,
                                  about->step, about->epoch, about->ranks, about->ranks == 1 ? "" : "s",
                                  dl_thousands(dl_checkpoint_n_bytes(c), bytes)));
}

static dl_status print_tensors(const dl_checkpoint *c) {
    char shape[DL_SHAPE_TEXT_BYTES];
    for (int i = 0; i < dl_checkpoint_n_tensors(c); i++) {
        const dl_checkpoint_tensor tensor = dl_checkpoint_tensor_at(c, i);
        DL_RETURN_IF_ERROR(dl_ckpt_printed(printf("  %-48s %s %s\n", tensor.name, dl_dtype_name(tensor.dtype),
                                                  dl_shape_text(&tensor.shape, shape))));
    }
    return DL_OK;
}

/* --- both --- */

/* Shows checkpoint i; of one that cannot be opened what is wrong with it. */
static dl_status show(const dl_ckpt_paths *paths, int i, json_t *list) {
    char path[PATH_MAX];
    dl_checkpoint *c = NULL;
    DL_RETURN_IF_ERROR(dl_ckpt_paths_at(paths, i, path));
    dl_status status = dl_checkpoint_open(path, &c);
    if (status == DL_ERR_CORRUPT && !paths->single) {
        const char *why = dl_error_last()->message;
        if (list == NULL) {
            return dl_ckpt_printed(printf("%s  damaged: %s\n", path, why));
        }
        (void)json_array_append_new(list, json_pack("{s:s, s:s}", "path", path, "damage", why));
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(status);
    if (list != NULL) {
        (void)json_array_append_new(list, json_of(path, c, paths->single));
    } else {
        status = print_line(path, c);
        if (status == DL_OK && paths->single) {
            status = print_tensors(c);
        }
    }
    dl_checkpoint_close(&c);
    return status;
}

static dl_status show_all(const dl_arguments *arguments, const dl_ckpt_paths *paths) {
    json_t *list = dl_arguments_flag(arguments, "json") != NULL ? json_array() : NULL;
    dl_status status = DL_OK;
    for (int i = 0; i < paths->n && status == DL_OK; i++) {
        status = show(paths, i, list);
    }
    if (status == DL_OK && list != NULL) {
        return dl_ckpt_print_json(
            json_pack("{s:s, s:o}", "path", arguments->positional[0], "checkpoints", list));
    }
    json_decref(list);
    if (status == DL_OK && paths->n == 0) {
        status = dl_ckpt_printed(printf("%s has no checkpoint\n", arguments->positional[0]));
    }
    return status;
}

static dl_status run(const dl_arguments *arguments) {
    return dl_ckpt_paths_do(arguments, show_all);
}

const dl_command dl_command_ckpt_show = {
    .name = "ckpt show",
    .usage = "PATH [--json]",
    .doc = "say what checkpoints there are, and what is in one",
    .help =
        "PATH is a run, its folder of checkpoints, or one checkpoint; of one the tensors are listed. Manifests\n"
        "and sizes of files are checked; `dltrain ckpt verify` reads every byte. With --json: {\"path\",\n"
        "\"checkpoints\": [{\"path\", \"step\", \"epoch\", \"samples\", \"ranks\", \"files\", \"bytes\",\n"
        "\"n_tensors\", \"config_digest\", \"data_digest\"}]}, of one also \"versions\", \"state\" and\n"
        "\"tensors\"; damaged ones are {\"path\", \"damage\"}.",
    .flags =
        (const dl_flag[]){
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
