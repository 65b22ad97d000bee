/* dltrain check: what a configuration is, before anything is taken. */
#include "base/text.h"
#include "launcher/device_check.h"
#include "launcher/program_json.h"
#include "launcher/report.h"
#include "launcher/setup.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const double mebi = 1024.0 * 1024.0;

/* Bytes of a layer's output for one batch on this rank. */
static double output_mebibytes(const dl_session *session, const dl_layer *layer) {
    const dl_plan *plan = session->plan;
    const double samples = (double)plan->program[0]->local_samples / plan->options.accumulate;
    return samples * (double)dl_shape_elements(&layer->output_shape) * sizeof(float) / mebi;
}

/* --- for people --- */

static dl_status print_layers(const dl_session *session, dl_text *out) {
    const dl_model *model = session->model;
    char shape[DL_SHAPE_TEXT_BYTES], number[32];
    DL_RETURN_IF_ERROR(dl_text_append(out, "%-24s %-16s %-18s %14s %12s %10s\n", "layer", "kind",
                                      "output shape", "parameters", "MFLOP/sample", "MiB/batch"));
    for (int i = 0; i < model->n_layers; i++) {
        const dl_layer *layer = &model->layer[i];
        DL_RETURN_IF_ERROR(dl_text_append(out, "%-24s %-16s %-18s %14s %12.3f %10.2f%s\n", layer->name,
                                          layer->kind, dl_shape_text(&layer->output_shape, shape),
                                          dl_thousands(layer->n_parameters, number),
                                          layer->forward_flops / 1e6, output_mebibytes(session, layer),
                                          layer->trainable || layer->n_parameters == 0 ? "" : "  frozen"));
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "%s parameters", dl_thousands(model->table.n_total, number)));
    DL_RETURN_IF_ERROR(
        dl_text_append(out, ", %s trainable; a training step of %" PRId64 " samples is %.2f GFLOP\n",
                       dl_thousands(model->table.n_trainable, number), session->config->train.batch_size,
                       dl_model_training_flops(model) * (double)session->config->train.batch_size / 1e9));
    return DL_OK;
}

static dl_status print_memory(const dl_session *session, dl_text *out) {
    dl_memory_item items[DL_CONSOLE_MEMORY_ITEMS];
    const int n = dl_report_memory(session, items);
    double total = 0.0;
    DL_RETURN_IF_ERROR(dl_text_append(out, "memory per rank, MiB:"));
    for (int i = 0; i < n; i++) {
        total += (double)items[i].n_bytes / mebi;
        DL_RETURN_IF_ERROR(dl_text_append(out, "%s %s %.1f", i > 0 ? "," : "", items[i].name,
                                          (double)items[i].n_bytes / mebi));
    }
    return dl_text_append(out, "; total %.1f\n", total);
}

static dl_status print_report(const dl_session *session, bool program, dl_text *out) {
    DL_RETURN_IF_ERROR(print_layers(session, out));
    DL_RETURN_IF_ERROR(print_memory(session, out));
    if (session->data_unknown) {
        DL_RETURN_IF_ERROR(
            dl_text_append(out,
                           "data: there is no data set in '%s' that fits this input; the model was "
                           "checked on its own\n",
                           session->config->data.path));
    }
    for (int i = 0; program && i < session->plan->n_programs; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "\n"));
        DL_RETURN_IF_ERROR(dl_program_print(session->plan, session->plan->program[i], out));
    }
    return DL_OK;
}

/* --- for programs --- */

static json_t *json_of_layers(const dl_session *session) {
    json_t *layers = json_array();
    for (int i = 0; i < session->model->n_layers; i++) {
        const dl_layer *layer = &session->model->layer[i];
        json_t *shape = json_array();
        for (int d = 0; d < layer->output_shape.n_dims; d++) {
            (void)json_array_append_new(shape, json_integer(layer->output_shape.dim[d]));
        }
        (void)json_array_append_new(
            layers, json_pack("{s:s, s:s, s:o, s:I, s:b, s:f, s:f}", "name", layer->name, "kind", layer->kind,
                              "output_shape", shape, "parameters", (json_int_t)layer->n_parameters,
                              "trainable", layer->trainable, "mflop", layer->forward_flops / 1e6, "mib",
                              output_mebibytes(session, layer)));
    }
    return layers;
}

static json_t *json_of_memory(const dl_session *session) {
    dl_memory_item items[DL_CONSOLE_MEMORY_ITEMS];
    const int n = dl_report_memory(session, items);
    json_t *memory = json_object();
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        total += items[i].n_bytes;
        (void)json_object_set_new(memory, items[i].name, json_integer((json_int_t)items[i].n_bytes));
    }
    (void)json_object_set_new(memory, "total", json_integer((json_int_t)total));
    return memory;
}

/* Names of what was estimated. */
static json_t *json_of_estimates(const dl_device_memory *memory) {
    json_t *names = json_array();
    for (int s = 0; s < DL_N_STORAGES; s++) {
        if (memory->estimated[s]) {
            (void)json_array_append_new(names, json_string(dl_storage_name((dl_storage)s)));
        }
    }
    if (memory->context_estimated) {
        (void)json_array_append_new(names, json_string("context"));
    }
    return names;
}

/* Memory of a GPU that is not here; `estimated` names what only a driver can tell and none was asked. */
static dl_status add_device(const dl_device_check *check, json_t *report) {
    const dl_gpu_spec *gpu = check->gpu;
    const dl_device_memory *memory = &check->memory;
    json_t *bytes = json_object();
    for (int s = 0; s < DL_N_STORAGES; s++) {
        if (memory->storage[s] > 0 || s == DL_STORE_WORKSPACE) {
            (void)json_object_set_new(bytes, dl_storage_name((dl_storage)s),
                                      json_integer((json_int_t)memory->storage[s]));
        }
    }
    (void)json_object_set_new(bytes, "context", json_integer((json_int_t)memory->context));
    (void)json_object_set_new(bytes, "total", json_integer((json_int_t)memory->total));
    json_t *added = json_pack(
        "{s:{s:s, s:s, s:I, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f}, s:o, s:s, s:o, s:b, s:I, s:I}", "device",
        "name", gpu->name, "full_name", gpu->full_name, "memory_bytes", (json_int_t)check->capacity,
        "compute_capability", gpu->capability, "multiprocessors", gpu->multiprocessors, "boost_mhz",
        gpu->boost_megahertz, "gb_per_s", gpu->bandwidth, "tflops_float32", gpu->tflops_f32, "tflops_tf32",
        gpu->tflops_tf32, "tflops_bfloat16", gpu->tflops_16, "watts", gpu->watts, "memory_bytes", bytes,
        "workspace", memory->estimated[DL_STORE_WORKSPACE] ? "estimated" : "asked", "estimated",
        json_of_estimates(memory), "fits", memory->total <= check->capacity, "largest_batch",
        (json_int_t)check->largest_batch, "batch_step", (json_int_t)check->step);
    const bool made = added != NULL && json_object_update(report, added) == 0;
    json_decref(added);
    DL_RETURN_ERROR_IF(!made, DL_ERR_MEMORY, "cannot make the JSON report");
    return DL_OK;
}

static dl_status print_json(const dl_session *session, const dl_device_check *device, bool program,
                            dl_text *out) {
    const dl_config *config = session->config;
    json_t *report = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "name", config->name, "backend",
        session->device->backend->name, "ranks", (json_int_t)dl_session_ranks(session), "batch_size",
        (json_int_t)config->train.batch_size, "parameters", (json_int_t)session->model->table.n_total,
        "trainable", (json_int_t)session->model->table.n_trainable, "mflop_per_sample",
        dl_model_training_flops(session->model) / 1e6, "layers", json_of_layers(session), "memory",
        json_of_memory(session));
    const dl_status added = report == NULL || device == NULL ? DL_OK : add_device(device, report);
    if (report != NULL && program) {
        (void)json_object_set_new(report, "programs", dl_programs_json(session->plan));
    }
    char *text =
        report == NULL || added != DL_OK ? NULL : json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(10));
    json_decref(report);
    DL_RETURN_ERROR_IF(text == NULL, DL_ERR_MEMORY, "cannot make the JSON report");
    const dl_status status = dl_text_append(out, "%s\n", text);
    free(text);
    return status;
}

/* `gpu` NULL: of the configuration's own backend. */
static dl_status report(dl_setup *setup, const dl_arguments *arguments, int n_ranks, const dl_gpu_spec *gpu,
                        dl_text *out) {
    dl_session *session = NULL;
    dl_device_check device;
    const bool json = dl_arguments_flag(arguments, "json") != NULL;
    const bool program = dl_arguments_flag(arguments, "program") != NULL;
    const dl_session_options dry = {
        .n_ranks = n_ranks, .n_threads = 1, .training = true, .as_gpu = gpu != NULL};
    dl_status status = dl_setup_session(setup, &dry, &session);
    if (status == DL_OK && gpu != NULL) {
        status = dl_device_check_run(setup, n_ranks, session, gpu, &device);
    }
    if (status == DL_OK) {
        status = json ? print_json(session, gpu != NULL ? &device : NULL, program, out)
                      : print_report(session, program, out);
    }
    if (status == DL_OK && gpu != NULL && !json) {
        status = dl_device_check_print(&device, out);
    }
    dl_session_close(&session);
    return status;
}

static dl_status check(dl_setup *setup, const dl_arguments *arguments, dl_text *out) {
    int64_t n_ranks = 0;
    const char *device = dl_arguments_flag(arguments, "device");
    const dl_gpu_spec *gpu = NULL;
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "np", 1, 1 << 20, 0, &n_ranks));
    const char *path = arguments->positional[0];
    DL_RETURN_IF_ERROR(dl_setup_load(path, arguments->override, arguments->n_overrides, NULL, setup));
    if (device != NULL) {
        DL_RETURN_IF_ERROR(dl_device_check_find(device, &gpu));
        setup->config->backend = DL_BACKEND_REF; /* plain layouts, as on a GPU */
    }
    return report(setup, arguments, (int)n_ranks, gpu, out);
}

static dl_status run(const dl_arguments *arguments) {
    dl_setup setup = {0};
    dl_text out = {0};
    dl_status status = check(&setup, arguments, &out);
    if (status == DL_OK && fwrite(out.data, 1, out.size, stdout) != out.size) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "cannot write to stdout");
    }
    dl_text_free(&out);
    dl_setup_release(&setup);
    return status;
}

static const dl_flag flags[] = {
    {"np", "N", "as rank 0 of N ranks (default: as many as `parallel` asks for, else 1)"},
    {"device", "GPU",
     "for a GPU that need not be here (h200, h100, a100, ...): its memory, and the largest batch"},
    {"program", NULL, "the list of instructions of every kind of step, too"},
    {"json", NULL, "print one JSON object instead; memory in bytes"},
    {NULL, NULL, NULL},
};

const dl_command dl_command_check = {
    .name = "check",
    .usage = "CONFIG [KEY.PATH=VALUE ...] [--np N] [--device GPU] [--program] [--json]",
    .doc = "check a configuration and show its layers, parameters, work and memory; takes nothing",
    .help =
        "--device compiles for plain layouts, as a GPU has them, and needs none: parameters, gradients, states and\n"
        "activations are exact; what only a driver can tell (workspace, copies of LSTM weights, context) is\n"
        "estimated and called so, unless one of that GPU was asked before (DLTRAIN_GPU_ANSWERS names a file of\n"
        "its answers). The largest batch is the largest multiple of ranks x accumulate that fits.",
    .flags = flags,
    .takes_overrides = true,
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
